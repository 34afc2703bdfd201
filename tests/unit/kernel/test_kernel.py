"""The kernel's sysctls and what containers need of it: controls and remediation, on readings made by hand."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Blocked, Command, Context
from deploys.core.control import Severity, State, judge
from deploys.core.policy import Policy, Waiver
from deploys.core.policy_file import load_policy
from deploys.kernel import sysctls as kernel_sysctls
from deploys.kernel.boot_parameters import BootRow
from deploys.kernel.controls import CONTROLS
from deploys.kernel.rules import KernelRules
from deploys.kernel.sysctl_files import PATHS
from deploys.kernel.sysctls import SysctlRow
from deploys.subjects import SUBJECTS
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.core.system import System
from facts.core.units import SYSCTL, Idle
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.kernel.packages import Reboot
from facts.kernel.sysctls import Sysctls
from tests.support.hosts import beside
from tests.support.kernel_host import (
    DOCKER,
    FORWARD,
    KERNEL,
    OURS,
    SUBJECT,
    SYSTEM,
    applied,
    planned,
    policy_of,
    survey_of,
    sysctls_of,
    verdict_of,
    written,
)

DMESG = "kernel.dmesg_restrict"
FILE = "/etc/sysctl.d/50-x.conf"

SYSCTLS = {
    "agree": (DMESG, 1, "1", {FILE: f"{DMESG}=1\n"}, State.PASS, "on disk and live"),
    "wrong everywhere": (DMESG, 1, "0", {FILE: f"{DMESG}=0\n"}, State.FAIL, f"{FILE} sets it to 0 at boot"),
    "not on disk": (DMESG, 1, "1", {}, State.FAIL, "nothing on disk sets it"),
    "not live": (DMESG, 1, "0", {FILE: f"{DMESG}=1\n"}, State.FAIL, "live it is 0"),
    "overridden by a later file": (
        DMESG, 1, "1", {OURS: f"{DMESG}=1\n", "/etc/sysctl.d/zz.conf": f"{DMESG}=0\n"},
        State.FAIL, "/etc/sysctl.d/zz.conf sets it to 0 at boot",
    ),
    "not in this kernel": (DMESG, 1, None, {}, State.NOT_APPLICABLE, "has no"),
    "not declared": (DMESG, None, "0", {}, State.NOT_APPLICABLE, "does not set"),
    "a file cannot be read": (DMESG, 1, "1", {FILE: Unknown("refused")}, State.UNKNOWN, "refused"),
    "stricter is fine": (
        "kernel.yama.ptrace_scope", 1, "2", {FILE: "kernel.yama.ptrace_scope=2\n"}, State.PASS, "on disk and live",
    ),
    "laxer is not": (
        "kernel.yama.ptrace_scope", 2, "1", {FILE: "kernel.yama.ptrace_scope=1\n"}, State.FAIL, "sets it to 1",
    ),
    "alike": (
        "kernel.unprivileged_bpf_disabled", 1, "2", {FILE: "kernel.unprivileged_bpf_disabled=1\n"}, State.PASS, "live",
    ),
    "no way back but a reboot": (
        "kernel.unprivileged_bpf_disabled", 0, "1", {FILE: "kernel.unprivileged_bpf_disabled=0\n"},
        State.PENDING_REBOOT, "until",
    ),
    "the strictest number is the smallest": (
        "kernel.oops_limit", 100, "1", {FILE: "kernel.oops_limit=1\n"}, State.PASS, "on disk and live",
    ),
    "no limit is not the smallest one": (
        "kernel.warn_limit", 100, "0", {FILE: "kernel.warn_limit=100\n"}, State.FAIL, "live it is 0",
    ),
    "a greater limit is laxer": (
        "kernel.oops_limit", 100, "10000", {FILE: "kernel.oops_limit=100\n"}, State.FAIL, "live it is 10000",
    ),
    "no other kernel, though one was allowed": (
        "kernel.kexec_load_disabled", 0, "1", {FILE: "kernel.kexec_load_disabled=1\n"}, State.PASS, "on disk and live",
    ),
    "fewer keys than are allowed": ("kernel.sysrq", 438, "0", {FILE: "kernel.sysrq=0\n"}, State.PASS, "live"),
    "other keys than are allowed": ("kernel.sysrq", 438, "64", {FILE: "kernel.sysrq=438\n"}, State.FAIL, "live it is"),
    "written in hexadecimal": ("kernel.sysrq", 438, "438", {FILE: "kernel.sysrq = 0x01b6\n"}, State.PASS, "live"),
    "a greater number is not always stricter": (
        "fs.suid_dumpable", 0, "2", {FILE: "fs.suid_dumpable=0\n"}, State.FAIL, "live it is 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SYSCTLS)
def test_sysctl(case: str) -> None:
    key, declared, live, files, state, words = SYSCTLS[case]
    reading = replace(KERNEL, sysctls=sysctls_of({} if live is None else {key: live}, files))  # type: ignore[arg-type]
    verdict = verdict_of(f"kernel.sysctl.{key}", survey_of(reading), sysctls={key: declared})
    assert (verdict.state, words in verdict.reason) == (state, True), verdict.reason


def test_a_key_that_cannot_be_read_is_unknown_and_a_container_has_no_kernel_of_its_own() -> None:
    unreadable = replace(KERNEL, sysctls=Sysctls({"a.b": "1"}, {DMESG: "Permission denied"}, ()))
    id_, rules = f"kernel.sysctl.{DMESG}", {"sysctls": {DMESG: 1}}
    assert verdict_of(id_, survey_of(unreadable), **rules).state is State.UNKNOWN
    assert verdict_of(id_, survey_of(Unknown("no answer")), **rules).state is State.UNKNOWN
    inside = survey_of(system=replace(SYSTEM, container="systemd-nspawn"))
    assert verdict_of(id_, inside, **rules).state is State.NOT_APPLICABLE


def test_a_reboot_is_pending_only_where_that_is_known() -> None:
    def state(reboot: Reboot | Unknown) -> State:
        return verdict_of(
            "kernel.reboot-needed", survey_of(replace(KERNEL, reboot=reboot)), running="newest-installed"
        ).state

    assert state(Reboot(False, "newest")) is State.PASS
    assert state(Reboot(True, "older")) is State.PENDING_REBOOT
    assert state(Unknown("dpkg is missing")) is State.UNKNOWN
    assert verdict_of("kernel.reboot-needed", survey_of()).state is State.NOT_APPLICABLE


NO_DOCKER = replace(DOCKER, installed=False)
STOPPED = replace(DOCKER, running=False)
CIS = "/etc/sysctl.d/60-cis.conf"

FORWARDING = {
    "docker set it": ("1", {}, DOCKER, State.PASS),
    "a file sets it off": ("1", {CIS: f"{FORWARD}=0\n"}, DOCKER, State.FAIL),
    "off live": ("0", {}, DOCKER, State.FAIL),
    "docker is not running": ("0", {}, STOPPED, State.NOT_APPLICABLE),
    "docker is not running and a file sets it off": ("0", {CIS: f"{FORWARD}=0\n"}, STOPPED, State.FAIL),
    "no docker": ("0", {CIS: f"{FORWARD}=0\n"}, NO_DOCKER, State.NOT_APPLICABLE),
    "docker not known": ("0", {}, Unknown("no answer"), State.UNKNOWN),
    "docker perhaps running": ("0", {}, replace(DOCKER, running=Unknown("hangs")), State.UNKNOWN),
}


@pytest.mark.parametrize("case", FORWARDING)
def test_forwarding(case: str) -> None:
    live, files, docker, state = FORWARDING[case]
    survey = survey_of(replace(KERNEL, sysctls=sysctls_of({FORWARD: live}, dict(files))), docker)
    assert verdict_of("kernel.forwarding", survey, forwarding=True).state is state


def test_overlay() -> None:
    def state(**changed: Any) -> State:
        return verdict_of("kernel.overlay", survey_of(replace(KERNEL, **changed)), overlay=True).state

    assert state() is State.PASS
    assert state(modules=(), builtin=("overlay",)) is State.PASS
    assert state(modules=()) is State.PASS  # not loaded, and nothing keeps it from it
    assert state(blocked={"overlay": "/etc/modprobe.d/cis.conf: install"}) is State.FAIL
    assert state(modules=Unknown("no /proc/modules")) is State.UNKNOWN


NS, CLONE = "user.max_user_namespaces", "kernel.unprivileged_userns_clone"

NAMESPACES = {
    "allowed": ({NS: "500"}, {}, False, State.PASS),
    "off live": ({NS: "0"}, {}, False, State.FAIL),
    "off at boot": ({NS: "500"}, {CIS: f"{NS}=0\n"}, False, State.FAIL),
    "for root only": ({NS: "500", CLONE: "0"}, {}, False, State.PASS),
    "for root only, with rootless containers": ({NS: "500", CLONE: "0"}, {}, True, State.FAIL),
    "rootless, off at boot": ({NS: "500", CLONE: "1"}, {CIS: f"{CLONE}=0\n"}, True, State.FAIL),
    "not in this kernel": ({}, {}, False, State.FAIL),
}


@pytest.mark.parametrize("case", NAMESPACES)
def test_user_namespaces(case: str) -> None:
    live, files, rootless, state = NAMESPACES[case]
    survey = survey_of(replace(KERNEL, sysctls=sysctls_of(dict(live), dict(files))))
    assert verdict_of("kernel.user-namespaces", survey, user_namespaces=True, rootless=rootless).state is state


@pytest.mark.parametrize("rule", ["overlay", "user_namespaces"])
@pytest.mark.parametrize(("engines", "state"), [((), State.NOT_APPLICABLE), (("podman",), State.FAIL)])
def test_what_any_engine_needs_is_judged_where_there_is_one(rule: str, engines: tuple[str, ...], state: State) -> None:
    blocked = replace(KERNEL, sysctls=sysctls_of({NS: "0"}), blocked={"overlay": "/etc/modprobe.d/cis.conf: install"})
    there = beside(NO_DOCKER, also=engines)
    survey = Survey({Kernel: blocked, Docker: NO_DOCKER, Containers: there, System: SYSTEM})
    verdict = verdict_of(f"kernel.{rule.replace('_', '-')}", survey, **{rule: True})
    assert verdict.state is state
    assert engines or "no container engine is installed" in verdict.reason


ALL, DEFAULT = "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"
FILTER_PATHS = (ALL.replace(".", "/"), DEFAULT.replace(".", "/"))

RP_FILTER = {
    "loose": (2, "2", "0", {CIS: f"{ALL}=2\n"}, False, State.PASS),
    "the greater counts": (2, "0", "2", {CIS: f"{ALL}=0\n{DEFAULT}=2\n"}, False, State.PASS),
    "strict satisfies loose": (2, "1", "1", {CIS: f"{ALL}=1\n"}, False, State.PASS),
    "strict on an overlay network": (2, "1", "1", {CIS: f"{ALL}=1\n"}, True, State.FAIL),
    "strict declared, on an overlay network": (1, "2", "2", {CIS: f"{ALL}=2\n"}, True, State.PASS),
    "off": (2, "0", "0", {}, False, State.FAIL),
    "loose live only": (2, "2", "2", {}, False, State.FAIL),
    "a comment behind the value": (2, "2", "2", {CIS: f"{ALL} = 1  # strict, see ticket 4711\n"}, False, State.PASS),
    "no number lives": (2, "x", "2", {CIS: f"{ALL}=2\n"}, False, State.UNKNOWN),
    "loose does not satisfy strict": (1, "2", "2", {CIS: f"{ALL}=2\n"}, False, State.FAIL),
}


@pytest.mark.parametrize("case", RP_FILTER)
def test_rp_filter(case: str) -> None:
    declared, every, default, files, overlay, state = RP_FILTER[case]
    kernel = replace(KERNEL, sysctls=sysctls_of({ALL: every, DEFAULT: default}, dict(files)))
    kernel = replace(kernel, modules=("vxlan",) if overlay else ())
    assert verdict_of("kernel.rp-filter", survey_of(kernel), rp_filter=declared).state is state


LIVE = {
    "kernel.dmesg_restrict": "0", "kernel.kexec_load_disabled": "0", "kernel.yama.ptrace_scope": "2",
    "kernel.unprivileged_bpf_disabled": "2", "fs.suid_dumpable": "2", FORWARD: "1", ALL: "0", DEFAULT: "1", NS: "500",
}  # fmt: skip
RULES: dict[str, Any] = {
    "sysctls": {
        "kernel.kexec_load_disabled": 1,
        "kernel.dmesg_restrict": 1,
        "kernel.yama.ptrace_scope": 1,
        "kernel.unprivileged_bpf_disabled": 1,
        "fs.suid_dumpable": 0,
        "kernel.io_uring_disabled": 1,
    },
    "forwarding": True,
    "user_namespaces": True,
    "rp_filter": 2,
}

FOREIGN: dict[str, dict[str, str]] = {
    "nothing": {},
    "forwarding off": {CIS: f"{FORWARD}=0\n"},
    "user namespaces off": {CIS: f"{NS} = 0\n"},
    "a later file": {"/etc/sysctl.d/zz.conf": "kernel.dmesg_restrict=0\n"},
    "a later file that says the same": {"/etc/sysctl.d/zz.conf": "kernel.dmesg_restrict=1\n"},
    "a later glob": {"/usr/lib/sysctl.d/zz.conf": "net.ipv4.conf.*.rp_filter=1\n"},
    "a stricter file": {CIS: "kernel.yama.ptrace_scope=3\n"},
    "our file, older": {OURS: "kernel.dmesg_restrict = 1\n"},
    "our file, and now a later one": {OURS: "kernel.dmesg_restrict = 1\n", "/etc/sysctl.d/zz.conf": f"{DMESG}=0\n"},
}


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize("case", FOREIGN)
def test_one_run_converges_and_the_next_does_nothing(case: str, overlay: bool) -> None:
    modules = ("overlay", "vxlan") if overlay else ("overlay",)
    before = replace(KERNEL, sysctls=sysctls_of(LIVE, dict(FOREIGN[case])), modules=modules)
    policy = policy_of(**RULES)
    changes = planned(survey_of(before), policy)
    assert changes
    after = applied(before, changes)
    assert [f.control.id for f in judge(CONTROLS, survey_of(after), policy) if not f.state.holds] == []
    assert planned(survey_of(after), policy) == []
    theirs = {file.path: file.text for file in after.sysctls.files if file.path not in PATHS}
    assert theirs == {path: text for path, text in FOREIGN[case].items() if path not in PATHS}


def test_the_drop_in_one_way_settings_last_and_nothing_weakened() -> None:
    files = {CIS: f"kernel.yama.ptrace_scope=3\n{FORWARD}=0\n"}
    changes = planned(survey_of(replace(KERNEL, sysctls=sysctls_of(LIVE, dict(files)))), policy_of(**RULES))
    lines = [line for line in written(changes).text.splitlines() if not line.startswith("#")]
    assert lines[0] == f"{FORWARD} = 1"
    assert set(lines[-3:]) == {
        "kernel.kexec_load_disabled = 1",
        "kernel.unprivileged_bpf_disabled = 1",
        "kernel.yama.ptrace_scope = 3",  # theirs, stricter than ours
    }
    assert "kernel.io_uring_disabled" not in written(changes).text  # this kernel has none


def test_live_values_only_where_they_do_not_hold_and_an_undo_that_cannot_fail_on_one_way_settings() -> None:
    command = next(c for c in planned(survey_of(replace(KERNEL, sysctls=sysctls_of(LIVE))), policy_of(**RULES))
                   if isinstance(c, Command))  # fmt: skip
    puts = [line for line in command.script.splitlines() if line.startswith("put ")]
    assert puts[-1] == "put kernel/kexec_load_disabled 1"
    assert not any("ptrace_scope" in put or "bpf_disabled" in put for put in puts)  # they are strict enough
    assert "put fs/suid_dumpable 2" in command.undo
    assert "kexec_load_disabled stays 1 until a reboot" in command.undo
    assert "put kernel/kexec_load_disabled" not in command.undo


def test_the_live_script_fails_where_a_value_does_not_take(tmp_path: Path) -> None:
    command = next(c for c in planned(survey_of(replace(KERNEL, sysctls=sysctls_of(LIVE))), policy_of(**RULES))
                   if isinstance(c, Command))  # fmt: skip
    for path in ("kernel/dmesg_restrict", "kernel/kexec_load_disabled", "fs/suid_dumpable", *FILTER_PATHS):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("7\n")

    def run(script: str) -> subprocess.CompletedProcess[str]:
        local = script.replace("/proc/sys/", f"{tmp_path}/")
        return subprocess.run(["sh", "-c", local], capture_output=True, text=True, check=False)

    assert run(command.script).returncode == 0
    assert (tmp_path / "kernel/dmesg_restrict").read_text() == "1\n"
    assert run(command.undo).returncode == 0
    assert (tmp_path / "kernel/dmesg_restrict").read_text() == "0\n"
    assert (tmp_path / "kernel/kexec_load_disabled").read_text() == "1\n"
    (tmp_path / "fs/suid_dumpable").unlink()
    (tmp_path / "fs/suid_dumpable").mkdir()
    refused = run(command.script)
    assert refused.returncode != 0
    assert "fs/suid_dumpable does not take 0" in refused.stdout


def test_a_name_that_none_of_ours_comes_after_is_told_and_not_done() -> None:
    files = {"/etc/sysctl.d/~last.conf": "kernel.dmesg_restrict=0\n"}
    changes = planned(survey_of(replace(KERNEL, sysctls=sysctls_of(LIVE, dict(files)))), policy_of(**RULES))
    assert [type(change) for change in changes] == [Blocked]
    assert "~last.conf" in changes[0].why  # type: ignore[attr-defined]


def test_unknown_and_waived_are_no_reason_to_write() -> None:
    policy = policy_of(sysctls={DMESG: 1})
    assert (
        planned(survey_of(replace(KERNEL, sysctls=sysctls_of({DMESG: "0"}, {FILE: Unknown("refused")}))), policy) == []
    )
    assert planned(survey_of(Unknown("no answer")), policy) == []
    waiver = Waiver(control=f"kernel.sysctl.{DMESG}", reason="r", owner="o", until=date.max)
    waived = Policy("test", policy.rules, (waiver,))
    assert planned(survey_of(replace(KERNEL, sysctls=sysctls_of({DMESG: "0"}))), waived) == []


@pytest.mark.parametrize("rival", [False, True])
@pytest.mark.parametrize("state", [State.UNKNOWN, State.WAIVED])
def test_what_is_unknown_or_waived_stays_as_it_is_written(state: State, rival: bool) -> None:
    """Another key fails, and the file is written anew for it."""
    ptrace, name = "kernel.yama.ptrace_scope", PATHS[1] if rival else OURS
    files: dict[str, str | Unknown] = {name: f"{FORWARD} = 1\n{ptrace} = 1\n"}
    if rival:  # which our file outdoes by its name
        files["/etc/sysctl.d/99-zzzz.conf"] = f"{ptrace} = 0\n"
    survey = survey_of(replace(KERNEL, sysctls=sysctls_of({DMESG: "0", ptrace: "0", FORWARD: "1"}, files)))
    policy = policy_of(sysctls={DMESG: 1, ptrace: 2})
    findings = {finding.control.id: finding for finding in judge(CONTROLS, survey, policy)}
    for id_ in (f"kernel.sysctl.{ptrace}", "kernel.forwarding"):
        findings[id_] = replace(findings[id_], verdict=replace(findings[id_].verdict, state=state))
    changes = list(SUBJECT.plan(Context(survey, policy, findings)))
    file = written(changes)
    assert file.path == name
    assert [f"{key} = 1" in file.text for key in (ptrace, FORWARD, DMESG)] == [True, True, True]
    assert ptrace not in "".join(change.script for change in changes if isinstance(change, Command))


def test_rows_are_refused_when_malformed() -> None:
    with pytest.raises(ValueError, match="no reference"):
        SysctlRow(key="a.b", title="t", severity=Severity.LOW, why="w", references=())
    with pytest.raises(ValueError, match="key, title and why"):
        SysctlRow(key="a.b", title=" ", severity=Severity.LOW, why="w", references=("KSPP",))
    with pytest.raises(ValueError, match="are needed"):
        BootRow(name="x", values=(), title="t", severity=Severity.LOW, why="w", references=("KSPP",))
    assert len(kernel_sysctls.BY_KEY) == len(kernel_sysctls.ROWS)
    assert not set(kernel_sysctls.RESOLVED) & set(kernel_sysctls.BY_KEY)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"sysctls": {"kernel.dmsg_restrict": 1}}, "did you mean kernel.dmesg_restrict"),
        ({"sysctls": {"net.ipv4.ip_forward": 0}}, "see `forwarding`"),
        ({"sysctls": {"user.max_user_namespaces": 0}}, "see `user_namespaces`"),
        ({"sysctls": {"kernel.modules_disabled": 1}}, "keeps the overlay"),
        ({"sysctls": {"kernel.sysrq": True}}, "valid integer"),
        ({"sysctls": {"kernel.core_pattern": "core\nkernel.sysrq = 1"}}, "pattern"),
        ({"boot_parameters": ["slab_nomerg"]}, "did you mean slab_nomerge"),
        ({"boot_parameters": ["lockdown=none"]}, "does not know lockdown=none"),
        ({"rp_filter": 3}, "0, 1 or 2"),
        ({"rootless": True, "sysctls": {"kernel.unprivileged_userns_clone": 0}}, "rootless"),
    ],
)
def test_a_policy_that_is_wrong_is_refused(rules: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KernelRules(**rules)


@pytest.mark.parametrize("name", ["baseline", "strict"])
def test_the_policies_hold_themselves(name: str) -> None:
    rules = load_policy(name, SUBJECTS)[KernelRules]
    assert rules.value("kernel.dmesg_restrict") == "1"
    assert (rules.value("kernel.io_uring_disabled") == "1") is (name == "strict")
    assert (rules.word("lockdown") is not None) is (name == "strict")


def test_sysctls_on_disk_count_only_where_a_boot_applies_them() -> None:
    masked = Idle(SYSCTL, "masked", f"/etc/systemd/system/{SYSCTL}")
    reading = replace(KERNEL, sysctls=sysctls_of({DMESG: "1"}, {FILE: f"{DMESG}=1\n"}))
    host, rules = survey_of(reading, system=replace(SYSTEM, idle={SYSCTL: masked})), {"sysctls": {DMESG: 1}}
    verdict = verdict_of(f"kernel.sysctl.{DMESG}", host, **rules)
    assert verdict.state is State.FAIL
    assert "is masked" in verdict.reason
    assert "the policy wants 1 (kernel.sysctls)" in verdict.reason
    change = planned(host, policy_of(**rules))[0]
    assert isinstance(change, Command)
    assert (change.script, change.controls) == (f"systemctl unmask {SYSCTL}", (f"kernel.sysctl.{DMESG}",))
