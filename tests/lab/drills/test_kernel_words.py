"""Boot parameters that may keep a kernel from booting, on a real host: a boot that fails leaves nothing of them, one
that is well keeps them, and modules without a signature block them."""

from __future__ import annotations

import json
import lzma
from base64 import b64decode
from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run, settle_boot
from tests.lab.machine.kernels import early

VARIANT = "stock"
WORD = "lockdown=integrity"
# A kernel that cannot be booted with it.
PANICS = "read -r line </proc/cmdline; case $line in *lockdown=*) echo c >/proc/sysrq-trigger ;; esac\n"
MODULE = "/lib/modules/$(uname -r)/kernel/drivers/net/dummy.ko.xz"

pytestmark = [pytest.mark.lab, pytest.mark.drill]


@pytest.fixture
def policy(tmp_path: Path) -> tuple[str, str]:
    """Every policy is JSON, too."""
    path = tmp_path / "policy.yml"
    path.write_text(json.dumps({"kernel": {"boot_parameters": ["slab_nomerge", WORD]}}))
    return ("--data", f"policy={path}")


def grubenv(vm: Vm) -> str:
    return vm.ssh("grub-editenv /boot/grub/grubenv list").stdout


def without_signature(module: bytes) -> bytes:
    """The signature stands at the end: its length before the last magic words."""
    end = len(module) - len(b"~Module signature appended~\n")
    assert module[end:].startswith(b"~Module signature")
    return module[: end - 12 - int.from_bytes(module[end - 4 : end], "big")]


def state(result: Result) -> str:
    return result.states()["kernel.boot.lockdown"]


@pytest.mark.on("debian13")
def test_a_boot_that_fails_leaves_nothing_and_one_that_is_well_keeps_them(fresh: Vm, policy: tuple[str, str]) -> None:
    menu = fresh.ssh("cat /boot/grub/grub.cfg").stdout
    release = fresh.ssh("uname -r").stdout.strip()
    fresh.ssh(f"cp /boot/initrd.img-{release} /var/tmp/initrd")
    early(fresh, release, PANICS)
    first = run(fresh, "harden.py", *policy)
    assert (first.code, state(first)) == (0, "pending-reboot"), first.out + first.err
    assert "lockdown=" not in fresh.ssh("cat /boot/grub/grub.cfg /etc/default/grub.d/*").stdout
    assert run(fresh, "harden.py", *policy).host()["changes"] == []
    fresh.reboot()  # panics, and reboots by itself after half a minute
    assert "lockdown=" not in fresh.ssh("cat /proc/cmdline").stdout
    assert "slab_nomerge" in fresh.ssh("cat /proc/cmdline").stdout
    settle_boot(fresh)
    drift = run(fresh, "drift.py", *policy)
    assert state(drift) == "fail"
    assert "(boot: the boot that had them did not get as far" in drift.reason("kernel.boot.lockdown")
    again = run(fresh, "harden.py", *policy)
    assert "accept=retry" in again.out
    assert again.host()["changes"] == []
    assert "lockdown" not in grubenv(fresh)

    fresh.ssh(f"cp /var/tmp/initrd /boot/initrd.img-{release} && sync")
    retried = run(fresh, "harden.py", *policy, "--data", "accept=retry")
    assert state(retried) == "pending-reboot", retried.out
    fresh.reboot()
    settle_boot(fresh)
    drift = run(fresh, "drift.py", *policy)
    assert (drift.code, drift.not_holding()) == (0, {}), drift.out
    assert f"hullproof={WORD}" in grubenv(fresh).splitlines()
    fresh.reboot()
    assert run(fresh, "drift.py", *policy).not_holding() == {}, "and the boot after that one"
    for made in fresh.ssh("ls -r /var/lib/hullproof/journal | grep '^2'").stdout.split():
        undone = run(fresh, "rollback.py", *policy, "--data", f"run={made}")
        assert undone.host()["status"] == "ok", undone.out + undone.err
    assert "lockdown" not in grubenv(fresh)
    assert fresh.ssh("cat /boot/grub/grub.cfg").stdout == menu


@pytest.mark.on("debian13")
def test_an_unsigned_module_blocks_them(fresh: Vm, policy: tuple[str, str], tmp_path: Path) -> None:
    unsigned = tmp_path / "dummy.ko"
    unsigned.write_bytes(without_signature(lzma.decompress(b64decode(fresh.ssh(f"base64 {MODULE}").stdout))))
    fresh.put(unsigned, "/var/tmp/dummy.ko")
    fresh.ssh("insmod /var/tmp/dummy.ko")
    assert "dummy" in fresh.ssh("grep '(.*E.*)' /proc/modules").stdout
    harden = run(fresh, "harden.py", *policy)
    assert state(harden) == "fail"
    assert "so it would reject them: dummy" in harden.out
    assert "lockdown" not in grubenv(fresh)
    assert "lockdown" not in fresh.ssh("cat /boot/grub/grub.cfg /etc/default/grub.d/*").stdout
    fresh.ssh("rmmod dummy && modprobe dummy")
    assert state(run(fresh, "harden.py", *policy)) == "pending-reboot", "signed, as the distribution ships it"
