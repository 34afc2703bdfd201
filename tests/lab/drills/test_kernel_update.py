"""A real kernel update, from the release's kernel to the security suite's, and every way in which it can go wrong.

Each drill begins with two containers that run under the old kernel, one that Docker starts at boot and one that it
does not; and ends with both running, under the kernel that the drill is about.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, executions, fingerprint, finish, start
from tests.lab.machine.kernels import THERE, early, offer

VARIANT = "stock"
STATE = "/var/lib/hullproof/boot"
TRIAL = "/etc/hullproof/trial"
DEADLINE = 600
# A process that ends when it is told to: one that does not is waited for, 90 s at each shutdown.
RUNS = "lab/busybox:1 sh -c 'trap exit TERM; sleep 1000000000 & wait'"

pytestmark = [pytest.mark.lab, pytest.mark.drill]


@pytest.fixture(scope="module")
def new(vm: Vm, distribution: str) -> str:
    """The release that apt offers from now on; two containers run."""
    release = offer(vm, distribution)
    vm.ssh(  # without the parser Docker 20.10 starts no container
        "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends apparmor >/dev/null &&"
        f"docker run -d --restart unless-stopped --name kept {RUNS} && docker run -d --name plain {RUNS}",
        timeout=300,
    )
    vm.save("offered")
    return release


@pytest.fixture
def offered(vm: Vm, new: str) -> Vm:
    """The old kernel runs, and the new one is offered."""
    vm.load("offered")
    return vm


@pytest.fixture(scope="module")
def installed_once(vm: Vm, new: str, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The new kernel is installed with `reboot: never`, once for all tests that begin there."""
    vm.load("offered")
    done = harden(vm, policy(tmp_path_factory.mktemp("never"), reboot="never"))
    vm.save("installed")
    return done


@pytest.fixture
def installed(vm: Vm, installed_once: Result) -> Vm:
    vm.load("installed")
    return vm


def policy(folder: Path, **rules: object) -> Path:
    """A policy about kernels alone; every policy is JSON, too."""
    path = folder / "policy.yml"
    kernel = {"running": "newest-installed", "update": "security", "keep": 2, "deadline": DEADLINE} | rules
    path.write_text(json.dumps({"kernel": kernel}))
    return path


def harden(vm: Vm, path: Path, *options: str, deploy: str = "harden.py") -> Result:
    return finish(*start(vm.inventory(), deploy, "--data", f"policy={path}", *options), minutes=40)


def runs(vm: Vm) -> str:
    return vm.ssh("uname -r").stdout.strip()


def containers(vm: Vm) -> set[str]:
    return set(vm.ssh("docker ps --format '{{.Names}}'").stdout.split())


def saved(vm: Vm) -> str:
    return vm.ssh("grub-editenv list | sed -n 's/^saved_entry=//p'").stdout.strip()


def assert_on(vm: Vm, release: str) -> None:
    assert (runs(vm), containers(vm)) == (release, {"kept", "plain"})
    assert release in saved(vm)
    assert vm.ssh(f"ls {TRIAL} 2>/dev/null; grub-editenv list | grep next_entry= || :").stdout.strip() in (
        "",
        "next_entry=",
    )


def test_never_installs_and_reboots_nothing(vm: Vm, installed_once: Result, installed: Vm, new: str) -> None:
    assert installed_once.host()["status"] == "ok", installed_once.out + installed_once.err
    assert installed_once.states()["kernel.update"] == "pass"
    assert installed_once.states()["kernel.reboot-needed"] == "pending-reboot"
    assert f"{new}" in installed_once.reason("kernel.reboot-needed")
    assert installed_once.code == 0
    assert runs(vm) != new
    assert containers(vm) == {"kept", "plain"}
    assert saved(vm) == "", "GRUB's own default is left as it was"


def test_an_update_is_planned_then_done_confirmed_and_undone(offered: Vm, new: str, tmp_path: Path) -> None:
    vm, old = offered, runs(offered)
    path = policy(tmp_path, reboot="now")
    untouched = fingerprint(vm)
    dry = finish(*start(vm.inventory(), "harden.py", "--data", f"policy={path}", "--dry", yes=False))
    assert fingerprint(vm) == untouched
    for words in ("the host reboots, because", "stop and start again: kept, plain", "on trial"):
        assert words in dry.out, dry.out

    done = harden(vm, path)
    assert done.code == 0, done.out + done.err
    assert_on(vm, new)
    assert done.not_holding() == {}
    assert "result=confirmed" in vm.ssh(f"cat {STATE}/last").stdout

    untouched, started = fingerprint(vm), executions(vm)
    again = harden(vm, path)
    assert executions(vm) - started == 2, "one execution for harden, one for asking"
    assert (again.code, again.host()["changes"]) == (0, [])
    assert fingerprint(vm) == untouched

    undone = harden(vm, path, deploy="rollback.py")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert old in saved(vm)
    assert runs(vm) == new, "an undo does not reboot"
    vm.reboot()
    assert runs(vm) == old
    assert "kept" in containers(vm)


def test_what_was_installed_before_is_booted_and_kept_though_the_controller_dies(
    installed: Vm, new: str, tmp_path: Path
) -> None:
    said = "/var/tmp/said"
    drain = {
        "before": f"docker stop plain && echo before >{said}",
        "after": f"docker ps --format {{{{.Names}}}} >>{said}",
    }
    path = policy(tmp_path, reboot="now", drain=drain)
    process, _ = start(installed.inventory(), "harden.py", "--data", f"policy={path}")
    # The host goes down while this waits.
    installed.ssh(f"until ls {TRIAL}/armed; do sleep 0.5; done", check=False, timeout=1200)
    process.kill()
    process.wait()
    end = time.monotonic() + 2 * DEADLINE
    while "result=" not in (ended := installed.answers(f"cat {STATE}/last") or ""):
        assert time.monotonic() < end, "the host came to no end by itself"
        time.sleep(5)
    assert "result=confirmed" in ended
    assert_on(installed, new)
    assert sorted(installed.ssh(f"cat {said}").stdout.split()) == ["before", "kept", "plain"], (
        "and in between it was gone"
    )
    done = harden(installed, path)
    assert (done.code, done.host()["changes"], done.not_holding()) == (0, [], {}), done.out + done.err


ANEW = f"""\
[Unit]
Requires=docker.service
After=docker.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/docker run -d --name anew {RUNS}
ExecStop=/usr/bin/docker rm -f anew
[Install]
WantedBy=multi-user.target
"""


def test_a_container_that_a_unit_makes_anew_at_each_boot_is_not_missed(installed: Vm, new: str, tmp_path: Path) -> None:
    installed.ssh("cat >/etc/systemd/system/anew.service && systemctl -q enable --now anew", input=ANEW, timeout=300)
    before = installed.ssh("docker ps -q --no-trunc --filter name=anew").stdout
    done = harden(installed, policy(tmp_path, reboot="now"))
    assert done.code == 0, done.out + done.err
    assert (runs(installed), containers(installed)) == (new, {"kept", "plain", "anew"})
    assert installed.ssh("docker ps -q --no-trunc --filter name=anew").stdout != before


def assert_went_back(vm: Vm, path: Path, old: str, gate: str) -> None:
    """A run boots the new kernel; the host is on the old one again by itself, and says why."""
    done = harden(vm, path)
    assert done.code == 1, done.out + done.err
    assert f"failed its boot health check ({gate}" in str(done.host()["error"]), done.host()["error"]
    assert_on(vm, old)
    assert done.states()["kernel.reboot-needed"] == "fail"
    assert f"({gate}" in done.reason("kernel.reboot-needed")


def test_a_kernel_whose_initial_ram_disk_lacks_a_driver_comes_back(installed: Vm, new: str, tmp_path: Path) -> None:
    early(installed, new, "for f in /lib/modules/*/kernel/drivers/block/virtio_blk.ko*; do : >$f; done\n")
    assert_went_back(installed, policy(tmp_path, reboot="now"), runs(installed), "boot")


def test_a_kernel_that_panics_comes_back_and_is_not_tried_again(installed: Vm, new: str, tmp_path: Path) -> None:
    early(installed, new, "echo c >/proc/sysrq-trigger\n")
    path = policy(tmp_path, reboot="now")
    assert_went_back(installed, path, runs(installed), "boot")
    boot = installed.boot_id()
    again = harden(installed, path)
    assert "accept=kernel-retry" in again.out, again.out
    assert again.host()["changes"] == []
    assert installed.boot_id() == boot


def test_a_kernel_under_which_docker_does_not_start_is_left(installed: Vm, new: str, tmp_path: Path) -> None:
    old, unit = runs(installed), "/etc/systemd/system/docker.service.d/kernel.conf"
    installed.ssh(
        f"mkdir -p $(dirname {unit}) && cat >{unit} && systemctl daemon-reload",
        input=f"[Service]\nExecStartPre=/bin/sh -c '[ $(uname -r) = {old} ]'\n",
    )
    assert_went_back(installed, policy(tmp_path, reboot="now", deadline=180), old, "engine")


EMERGENCY = """\
[Unit]
DefaultDependencies=no
After=systemd-remount-fs.service
Before=local-fs.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '[ $(uname -r) = {old} ] || {{ mount -t tmpfs none /var/lib/hullproof; false; }}'
[Install]
RequiredBy=local-fs.target
"""


def test_a_kernel_whose_boot_ends_in_emergency_mode_without_var_is_left(
    installed: Vm, new: str, tmp_path: Path
) -> None:
    old = runs(installed)
    unit = EMERGENCY.format(old=old)
    installed.ssh("cat >/etc/systemd/system/emergency-drill.service && systemctl -q enable emergency-drill", input=unit)
    assert_went_back(installed, policy(tmp_path, reboot="now", deadline=180), old, "disk")


def test_an_initial_ram_disk_that_was_cut_short_is_not_booted(installed: Vm, new: str, tmp_path: Path) -> None:
    old, boot = runs(installed), installed.boot_id()
    installed.ssh(f"truncate -s 200000 /boot/initrd.img-{new}")
    done = harden(installed, policy(tmp_path, reboot="now"))
    assert done.code == 1
    assert "not rebooted" in str(done.host()["error"]), done.host()["error"]
    assert (runs(installed), installed.boot_id()) == (old, boot)
    assert containers(installed) == {"kept", "plain"}


@pytest.mark.on("debian12")
def test_power_lost_while_the_kernel_is_installed(offered: Vm, new: str, tmp_path: Path) -> None:
    vm, old = offered, runs(offered)
    path = policy(tmp_path, reboot="now")
    process, _ = start(vm.inventory(), "harden.py", "--data", f"policy={path}")
    begun = f"ls /boot/vmlinuz-{new} /boot/vmlinuz-{new}.dpkg-new 2>/dev/null | grep -q ."
    vm.ssh(f"until {begun}; do sleep 0.2; done", timeout=1200)
    process.kill()
    process.wait()
    vm.power_cut()
    vm.boot(timeout=900)
    assert runs(vm) == old
    vm.ssh("timeout 400 sh -c 'until docker ps; do sleep 2; done' && docker start plain", timeout=500)
    done = harden(vm, path)
    assert (done.code, done.not_holding()) == (0, {}), done.out + done.err
    assert_on(vm, new)


@pytest.mark.on("debian12")
def test_a_full_boot_is_told_and_nothing_is_installed(offered: Vm, tmp_path: Path) -> None:
    offered.ssh("fallocate -l $(($(df --output=avail -B1 / | tail -n 1) - 20000000)) /var/tmp/full")
    done = harden(offered, policy(tmp_path, reboot="now"))
    assert "MB free" in done.out, done.out
    assert done.host()["changes"] == []


@pytest.mark.on("debian12")
def test_a_held_kernel_is_left_alone_and_named(offered: Vm, tmp_path: Path) -> None:
    offered.ssh("apt-mark hold linux-image-cloud-amd64")
    done = harden(offered, policy(tmp_path, reboot="now"))
    assert done.states()["kernel.update"] == "fail"
    assert "linux-image-cloud-amd64 is held" in done.reason("kernel.update")
    assert "apt-mark unhold linux-image-cloud-amd64" in done.out
    assert done.host()["changes"] == []


@pytest.mark.on("debian12")
def test_old_lists_are_refreshed_before_anything_is_believed(offered: Vm, tmp_path: Path) -> None:
    offered.ssh(f"rm -rf {THERE}/* && apt-get -qq update 2>/dev/null; touch -d '9 days ago' /var/lib/apt/lists")
    done = harden(offered, policy(tmp_path, reboot="never"))
    assert "could not be refreshed" in str(done.host()["error"]), "a suite that is gone is an error, not an answer"
