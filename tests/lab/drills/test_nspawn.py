"""Machines of systemd-nspawn: how systemd starts them is declared, put in force, proved from within, watched, and
rolled back, while machines that run go on, and what they hold stays.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facts.engines.nspawn.nspawn import DROP_IN
from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
MEMORY = 64 << 20
POLICY = f"""\
nspawn: {{user_namespace: pick, settings: "no", capabilities: [MKNOD, NET_RAW, SYS_PTRACE],
  refused_calls: [unshare, "@keyring", io_uring_setup], no_new_privileges: true, private_network: true, pids: 50,
  memory: {MEMORY}, machines: []}}
"""
RELOAD = "systemctl daemon-reload"
# Somebody's own start of machines, in the host's network.
OWN = "/etc/systemd/system/systemd-nspawn@.service.d/10-own.conf"
START = """\
[Service]
ExecStart=
ExecStart=systemd-nspawn --quiet --keep-unit --boot --link-journal=try-guest -U --settings=override --machine=%i
"""
BESIDE = "/var/lib/machines/old.nspawn"
INSTANCE = "/etc/systemd/system/systemd-nspawn@old.service.d"
TRUSTED, KEPT = "/etc/systemd/nspawn", "/root/kept.nspawn"
# What is done to the host, by the control that names it, and a word of the reason.
BREAKS = (
    ("user-namespace", f"sed -i 's/ -U / /' {DROP_IN}; {RELOAD}", "the host's own ids"),
    ("settings", f"sed -i 's/--settings=no/--settings=override/' {DROP_IN}; {RELOAD}", "--settings is override"),
    ("capabilities", f"sed -i 's/CAP_MKNOD,//' {DROP_IN}; {RELOAD}", "machines keep MKNOD"),
    ("refused-calls", f"sed -i 's/--system-call-filter=~unshare//' {DROP_IN}; {RELOAD}", "may make unshare"),
    ("no-new-privileges", f"sed -i 's/privileges=yes/privileges=no/' {DROP_IN}; {RELOAD}", "--no-new-privileges is no"),
    ("private-network", f"sed -i 's/--network-veth//' {DROP_IN}; {RELOAD}", "share the host's network"),
    ("pids", f"sed -i 's/TasksMax=.*/TasksMax=infinity/' {DROP_IN}; {RELOAD}", "TasksMax of machines is infinity"),
    ("memory", f"sed -i '/MemorySwapMax/d' {DROP_IN}; {RELOAD}", "swap without a limit"),
    ("machines", f"mkdir -p {INSTANCE}; printf '[Service]\\nTasksMax=infinity\\n' >{INSTANCE}/own.conf; {RELOAD}",
     "TasksMax=infinity of old"),
    ("machines", f"sed -i 's/--settings=no/--settings=override/' {DROP_IN}; {RELOAD}; mv {TRUSTED} {KEPT}; "
     f"printf '[Exec]\\nOOMScoreAdjust=-1000\\nLimitNPROC=infinity\\n' >{BESIDE}",
     f"OOMScoreAdjust=-1000 of old ({BESIDE}:2), LimitNPROC=infinity of old ({BESIDE}:3)"),
    ("files", f"printf '[Exec]\\nNoNewPrivilegs=yes\\n' >{BESIDE}", "[Exec] has no NoNewPrivilegs="),
)  # fmt: skip
MEND = (f"rm -rf {INSTANCE} {BESIDE}; [ ! -e {KEPT} ] || mv {KEPT} {TRUSTED}; "
        f"cp -p /root/kept.conf {DROP_IN}; {RELOAD}")  # fmt: skip

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str, accept: str = "", policy: str = POLICY) -> Result:
    path: Path = vm.folder / "nspawn.yml"
    path.write_text(policy)
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}", *options)


def make(vm: Vm, name: str) -> None:
    """A machine whose first process does whatever the file /do says, and ends when it is told to (SIGRTMIN+3); with a
    .nspawn file that weakens all of it."""
    at = f"/var/lib/machines/{name}"
    work = "mv /do /doing && { sh /doing; echo status $?; } >/out.new 2>&1; mv /out.new /out"
    script = f"#!/bin/sh\ntrap 'exit 0' 37\nwhile :; do [ ! -e /do ] || {{ {work}; }}; sleep 0.3; done\n"
    vm.ssh(f"mkdir -p {at}/usr {at}/sbin {at}/etc; tar -xf /var/lib/lab/busybox.tar -C {at}; rm -f {at}/sbin/init")
    vm.ssh(f"cat >{at}/sbin/init <<'EOF'\n{script}EOF\nchmod +x {at}/sbin/init; echo ID=lab >{at}/etc/os-release")
    vm.ssh(f"echo kept >{at}/data; mkdir -p {TRUSTED}")
    weak = "[Exec]\\nPrivateUsers=no\\nCapability=all\\nNoNewPrivileges=no\\n[Files]\\nBind=/root/secret\\n"
    vm.ssh(f"printf '{weak}' >{TRUSTED}/{name}.nspawn; mkdir -p {at}/root")


def inside(vm: Vm, name: str, command: str) -> str:
    """What the machine's first process says of a command, and after that the status with which it ended."""
    at = f"/var/lib/machines/{name}"
    vm.ssh(f"rm -f {at}/out; cat >{at}/do.new <<'EOF'\n{command}\nEOF\nmv {at}/do.new {at}/do")
    return vm.ssh(f"for n in $(seq 400); do grep -qs ^status {at}/out && break; sleep 0.5; done; cat {at}/out",
                  timeout=300).stdout  # fmt: skip


def attacks(vm: Vm, name: str) -> dict[str, bool]:
    """What a machine that systemd starts can do. Nothing is written to what it opens."""
    status = inside(vm, name, "cat /proc/self/status /proc/self/uid_map")
    words = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {
        "reads a file of root's": "secret in it" in inside(vm, name, "cat /root/secret"),
        "has the host's ids": "4294967295" in status,
        "makes a user namespace": "status 0" in inside(vm, name, "unshare -U true"),
        "may make device nodes": int(words["CapBnd"], 16) & 1 << 27 != 0,
        "has raw sockets": int(words["CapBnd"], 16) & 1 << 13 != 0,
        "may gain privileges": words["NoNewPrivs"].strip() == "0",
        "reaches what listens on the host alone": "here" in inside(vm, name, "nc -w 9 127.0.0.1 7777 </dev/null"),
        "forks 100 times": "fork" not in inside(vm, name, "for n in $(seq 100); do sleep 5 & done"),
        "takes 200 MB": "209715200" in inside(vm, name, "head -c 200m /dev/zero | tail -c 200m | wc -c"),
    }


def begin(vm: Vm, name: str) -> None:
    vm.ssh(f"systemctl start systemd-nspawn@{name}.service", timeout=300)


def test_before_a_machine_can_do_all_of_it(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends systemd-container 2>&1", timeout=900)
    vm.ssh("echo secret in it >/root/secret; chmod 600 /root/secret")
    vm.ssh("systemd-run -q systemd-socket-activate --listen=127.0.0.1:7777 --inetd --accept echo here")
    vm.ssh(f"mkdir -p {Path(OWN).parent}; cat >{OWN}; {RELOAD}", input=START)
    for name in ("old", "new"):
        make(vm, name)
    begin(vm, "old")
    assert all(attacks(vm, "old").values()), attacks(vm, "old")


def test_what_machines_would_lose_waits_for_a_word(vm: Vm) -> None:
    harden = deploy(vm, "harden.py")
    assert harden.states()["nspawn.settings"] == "fail"
    assert "nspawn-settings" in harden.out
    assert "Bind=/root/secret of new" in " ".join(harden.out.split())


def test_after_a_new_one_can_do_none_and_what_ran_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py", accept="nspawn-settings,nspawn-limits")
    assert {k: v for k, v in harden.not_holding().items() if k.startswith("nspawn.")} == {}, harden.out
    story["run"] = harden.report["run"]["id"]
    assert "those that run keep what they have, but for limits" in " ".join(harden.out.split())
    begin(vm, "new")
    assert not any(attacks(vm, "new").values()), attacks(vm, "new")
    still = attacks(vm, "old")
    assert {name for name, done in still.items() if not done} <= {"forks 100 times", "takes 200 MB"}, still
    vm.ssh(f"cp -p {DROP_IN} /root/kept.conf")


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    again = deploy(vm, "harden.py", accept="nspawn-settings,nspawn-limits")
    assert again.host()["changes"] == [], again.out


def test_what_systemd_does_not_know_is_refused_and_the_old_drop_in_stays(vm: Vm) -> None:
    for call in ("@nonsense", "unshar"):
        worse = POLICY.replace("unshare,", f'unshare, "{call}",')
        harden = deploy(vm, "harden.py", accept="nspawn-settings,nspawn-limits", policy=worse)
        assert harden.states()["nspawn.refused-calls"] == "fail", harden.out
        assert "the new file was refused, the old one stays" in " ".join((harden.out + harden.err).split())
        assert call in harden.out + harden.err
    assert vm.ssh(f"cmp {DROP_IN} /root/kept.conf").stdout == ""


@pytest.mark.parametrize(("control", "script", "word"), BREAKS)
def test_what_is_broken_is_named(vm: Vm, control: str, script: str, word: str) -> None:
    vm.ssh(script)
    drift = deploy(vm, "drift.py")
    assert drift.states()[f"nspawn.{control}"] == "fail", drift.out
    assert word in drift.reason(f"nspawn.{control}")
    vm.ssh(MEND)


def test_harden_puts_a_changed_option_right(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"sed -i 's/--settings=no/--settings=override/; s/TasksMax=.*/TasksMax=999/' {DROP_IN}; {RELOAD}")
    again = deploy(vm, "harden.py", accept="nspawn-settings,nspawn-limits")
    story["again"] = again.report["run"]["id"]
    assert {k for k in again.not_holding() if k.startswith("nspawn.")} == set(), again.out


def test_a_rollback_starts_machines_as_before(vm: Vm, story: dict[str, Any]) -> None:
    back = run(vm, "rollback.py", "--data", f"run={story['again']}")
    assert back.host()["status"] == "ok", back.out + back.err
    vm.ssh(f"cp -p /root/kept.conf {DROP_IN}")
    back = run(vm, "rollback.py", "--data", f"run={story['run']}")
    assert back.host()["status"] == "ok", back.out + back.err
    assert vm.ssh(f"ls {DROP_IN} 2>/dev/null", check=False).stdout == ""
    assert "kept" in inside(vm, "new", "cat /data")
    assert "kept" in inside(vm, "old", "cat /data")
    vm.ssh("machinectl terminate new; sleep 3", check=False, timeout=120)
    begin(vm, "new")
    assert all(attacks(vm, "new").values()), attacks(vm, "new")
