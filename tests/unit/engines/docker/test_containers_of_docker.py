"""What Docker's containers got when they started, and what a restart gives them: profile and filter."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploys.apparmor.controls import AppArmorRules
from deploys.containers.rules import ContainersRules
from deploys.core.change import Activate, Blocked, Change, Context
from deploys.core.control import Finding, State, judge
from deploys.engines.docker.daemon import RESTART
from deploys.run import planning
from deploys.seccomp.controls import SeccompRules
from deploys.seccomp.profile import TEXT
from facts.apparmor import AppArmor
from facts.containers import NO_BUNDLE, Containers
from facts.core.reading import Unknown
from facts.core.system import System, SystemReading
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.lsm import Lsm, LsmReading
from facts.seccomp import OURS, ProfileFile, Seccomp, SeccompReading
from tests.support.apparmor import BARE, CLOCK, apparmor, kernel
from tests.support.hosts import beside, container, docker, judged, listed, whole

SUBJECT = whole("containers")
OPEN = {"defaultAction": "SCMP_ACT_ALLOW"}
FILTER = json.loads(TEXT) | {"archMap": []}
URING = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["io_uring_setup"], "action": "SCMP_ACT_ALLOW"}]}
BUILTIN = {"SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"]}
UNCONFINED = {"keys": {"seccomp-profile": "unconfined"}, "info": {"SecurityOptions": []}}
GONE = Unknown("gone")


def context(
    *boxes: tuple[dict[str, Any], Any],
    keys: Any = None,
    info: Any = BUILTIN,
    profile: Any = "builtin",
    armor: Any = None,
    files: Any = (),
    live: str = "apparmor",
    accept: str = "",
) -> Context:
    """A host with containers `web0`, `web1`, …: for each what was asked of Docker, and what its files show."""
    asked = [container(f"web{number}", **options) for number, (options, _) in enumerate(boxes)]
    shown = [replace(seen, id=row.id, name=row.name) for row, (_, seen) in zip(asked, boxes, strict=True)]
    host = docker(keys, info=info, containers=tuple(asked))
    files = {OURS: ProfileFile(None, None)} | dict(files)
    system = SystemReading("debian", (), "13", "", "x86_64", "h", 0, CLOCK, True, None)
    readings = {
        Docker: host,
        Containers: beside(host, *shown),
        AppArmor: armor or apparmor(),
        Seccomp: SeccompReading(("errno",), (), (), "x86_64", "6.12.1", files, 100),
        Lsm: LsmReading((live,), 1, "none", False, False),
        Kernel: kernel(),
        System: system,
    }
    rules = ContainersRules(unfiltered=[], unconfined=[])
    return judged(SUBJECT, rules, readings, accept, SeccompRules(profile=profile), AppArmorRules(enabled=True))


def seen(filter: Any = FILTER, **of_process: Any) -> Any:
    return replace(listed("", "docker", **of_process), filter=filter)


def finding(where: Context, name: str) -> Finding:
    return where.findings[f"containers.{name}"]


def changes(where: Context) -> list[Change]:
    return list(SUBJECT.plan(where))


PLAIN: dict[str, Any] = {}
OWN = {"security_opt": (f"seccomp={json.dumps(OPEN)}",)}


@pytest.mark.parametrize(
    ("boxes", "host", "want", "says"),
    [
        ([], {}, State.PASS, "no container is running"),
        ([(PLAIN, seen())], {}, State.PASS, "1 running container was checked"),
        ([(PLAIN, seen(seccomp=0))], {}, State.PENDING_RESTART, "web0 has no seccomp filter"),
        ([(PLAIN, seen(seccomp=0))], UNCONFINED, State.FAIL, "web0 has no seccomp filter"),
        ([({"privileged": True}, seen(seccomp=0))], {}, State.FAIL, "web0 has no seccomp filter"),
        ([({"security_opt": ("seccomp=unconfined",)}, seen(seccomp=0))], {}, State.FAIL, "web0 has no"),
        ([(OWN, seen(OPEN))], {}, State.FAIL, "web0 has a seccomp filter that allows acct"),
        ([(OWN, seen())], {}, State.PASS, ""),
        # live-restore kept it through the daemon's restart: 2 in /proc, and yet everything is open
        ([(PLAIN, seen(OPEN))], {}, State.PENDING_RESTART, "web0 has a seccomp filter that allows acct"),
        ([(PLAIN, seen(None))], {}, State.PENDING_RESTART, "without a seccomp filter of its own"),
        ([(PLAIN, seen(URING))], {}, State.PASS, ""),
        (
            [(PLAIN, seen(URING))],
            {"keys": {"seccomp-profile": OURS}, "profile": "hullproof", "files": {OURS: ProfileFile(TEXT, 50)}},
            State.PENDING_RESTART,
            "io_uring_setup",
        ),
        ([(PLAIN, seen(URING))], {"profile": "hullproof"}, State.FAIL, "io_uring_setup"),
        ([(OWN, seen(URING))], {"profile": "hullproof"}, State.PASS, ""),
        ([(PLAIN, seen({"syscalls": [3]}))], {}, State.UNKNOWN, "unexpected form"),
        ([(PLAIN, seen(NO_BUNDLE))], {}, State.UNKNOWN, "web0: its bundle was not found"),
        ([(PLAIN, replace(seen(), process=GONE))], {}, State.UNKNOWN, "web0: gone"),
        ([(PLAIN, replace(seen(), process=GONE)), (PLAIN, seen(seccomp=0))], {}, State.PENDING_RESTART, "web1 has no"),
    ],
)
def test_filters(boxes: Any, host: dict[str, Any], want: State, says: str) -> None:
    found = finding(context(*boxes, **host), "seccomp")
    assert found.state is want, found.verdict.reason
    assert says in found.verdict.reason


LATE = (PLAIN, seen(label="unconfined"))
PRIVILEGED = ({"privileged": True}, seen(label="unconfined"))
ASKED = ({"security_opt": ("apparmor=unconfined",)}, seen(label="unconfined"))
OFF = apparmor(enabled=False, profiles={})


@pytest.mark.parametrize(
    ("boxes", "host", "want", "says"),
    [
        ([], {}, State.PASS, "no container is running"),
        ([(PLAIN, seen()), (PLAIN, seen(label="mine (enforce)"))], {}, State.PASS, "2 running containers were checked"),
        ([PRIVILEGED], {}, State.FAIL, "web0 is not confined"),
        ([ASKED], {}, State.FAIL, "web0 is not confined by an AppArmor profile (unconfined)"),
        ([(PLAIN, seen(label="x (complain)"))], {}, State.FAIL, "(x (complain))"),
        ([LATE], {}, State.PENDING_RESTART, "started before the engine had its present defaults"),
        ([(PLAIN, seen(label=""))], {}, State.PENDING_RESTART, "web0 is not confined"),
        ([LATE], {"armor": BARE}, State.FAIL, "web0 is not confined"),
        ([LATE], {"armor": OFF, "live": "yama"}, State.PENDING_REBOOT, "the next boot mends that"),
        ([LATE, ASKED], {"armor": OFF, "live": "yama"}, State.FAIL, ""),
        ([(PLAIN, replace(seen(), process=GONE)), ASKED], {}, State.FAIL, "web1 is not confined"),
        ([(PLAIN, seen(label="system_u:system_r:spc_t:s0"))], {"live": "selinux"}, State.FAIL, "domain spc_t"),
    ],
)
def test_profiles(boxes: Any, host: dict[str, Any], want: State, says: str) -> None:
    found = finding(context(*boxes, **host), "confined")
    assert found.state is want, found.verdict.reason
    assert says in found.verdict.reason


@pytest.mark.parametrize(("box", "control"), [(LATE, "confined"), ((PLAIN, seen(OPEN)), "seccomp")])
def test_running_containers_are_started_again_only_where_accepted(box: Any, control: str) -> None:
    (blocked,) = changes(context(box))
    assert isinstance(blocked, Blocked)
    assert blocked.controls == (f"containers.{control}",)
    assert "web0" in blocked.what
    assert blocked.accepts == (RESTART,)
    (restart,) = changes(context(box, accept=RESTART))
    assert isinstance(restart, Activate)
    assert "web0" in restart.interrupts


def test_what_owners_asked_for_is_theirs() -> None:
    for accept in ("", RESTART):
        (blocked,) = planning.make([SUBJECT], context(PRIVILEGED, accept=accept)).blocked
        assert blocked.controls == ("containers.confined",)
        assert blocked.by_hand.startswith("whoever started the container recreates it")
    late, theirs = changes(context(ASKED, LATE, accept=RESTART))
    assert isinstance(late, Activate)
    assert isinstance(theirs, Blocked), "a restart mends the others alone"


def test_a_restart_is_no_way_while_the_daemons_own_filter_cannot_be_mended() -> None:
    (blocked,) = changes(context((PLAIN, seen(seccomp=0)), keys={"seccomp-profile": "unconfined"}, info=BUILTIN))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == (RESTART,), "the daemon gets another filter in the same run"


def test_nothing_starts_again_for_what_the_next_boot_mends() -> None:
    assert changes(context(LATE, armor=OFF, live="yama", accept=RESTART)) == []


def test_nothing_starts_again_where_a_start_confines_nothing() -> None:
    """AppArmor does not run in the kernel: containers would stop, and start as they are."""
    for armor in (apparmor(enabled=False, parser=None, profiles={}), apparmor(enabled=None, profiles={})):
        where = context(LATE, armor=armor, live="yama", accept=RESTART)
        assert finding(where, "confined").state is State.FAIL
        (blocked,) = changes(where)
        assert isinstance(blocked, Blocked)
        assert blocked.why.startswith("the kernel runs without AppArmor")
        assert blocked.controls == ("containers.confined",)


def test_a_profile_that_cannot_be_read_is_in_no_other_rules_way() -> None:
    where = context(
        (PLAIN, seen(OPEN, label="unconfined")),
        profile="hullproof",
        files={OURS: ProfileFile(Unknown("Permission denied"), None)},
        accept=RESTART,
    )
    others = judge(whole("seccomp").controls, where.survey, where.policy)
    where = replace(where, findings={**where.findings, **{each.control.id: each for each in others}})
    restart, blocked = sorted(changes(where), key=lambda change: isinstance(change, Blocked))
    assert isinstance(restart, Activate)
    assert isinstance(blocked, Blocked)
    assert "Permission denied" in blocked.why
    assert (restart.controls, blocked.controls) == (("containers.confined",), ("containers.seccomp",))
