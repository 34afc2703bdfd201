"""The containers of LXC that there are: which have the host's ids, and which lost what the default gave them."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.cgroups.controls import CgroupsRules
from deploys.core.change import Blocked, Context
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.lxc import filters
from deploys.engines.lxc.controls import SUBJECT
from deploys.engines.lxc.rules import LxcRules
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.lxc import Lxc
from facts.engines.lxc.containers import Made
from facts.engines.lxc.lxc import GUARDED, STRICT, LxcReading
from facts.lxc_files import Line
from facts.userns import SUBGID, SUBUID, Range, Userns, UsernsReading
from tests.support.lxc import beside

START = 0x7000_0000
COMMON, USERNS = "/usr/share/lxc/config/common.conf", "/usr/share/lxc/config/userns.conf"
FIVE = "2\ndenylist\nreject_force_umount\n[all]\nkexec_load errno 1\n"
OWN_IDS = (f"lxc.idmap=u 0 {START} 65536", f"lxc.idmap=g 0 {START} 65536")


def made(name: str, *lines: str | tuple[str, str]) -> Made:
    """A container of these lines: of its own file, or with the file that it includes."""
    path, rows = f"/var/lib/lxc/{name}/config", []
    for n, line in enumerate(lines, 1):
        file, text = (path, line) if isinstance(line, str) else line
        key, _, value = text.partition("=")
        rows.append(Line(key, value, f"{file}:{n}"))
    return Made(name, path, tuple(rows))


def context(
    *containers: Made, more: dict[str, Any] | None = None, ranges: Any = (), engines: tuple[str, ...] = (), **rules: Any
) -> Context:
    values: dict[str, Any] = dict.fromkeys(LxcReading.__dataclass_fields__, ())
    profiles = {STRICT: filters.TEXTS["strict"], GUARDED: filters.TEXTS["guarded"], "/five": FIVE, "/odd": "1\n5\n",
                "/more": "2\nallowlist\nread\n"}  # fmt: skip
    told = {"installed": True, "text": "", "drop_in": None, "usernet": None, "filters": profiles, "made": containers}
    told |= more or {}
    ids: dict[str, Any] = dict.fromkeys(UsernsReading.__dataclass_fields__, ())
    names = {"passwd": {"root": 0}, "group": {"root": 0}, "ranges": ranges}
    host = Survey({Lxc: LxcReading(**(values | told)), Userns: UsernsReading(**(ids | names)), **beside(*engines)})
    policy = Policy("p", {LxcRules: LxcRules(**rules), CgroupsRules: CgroupsRules()})
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(name: str, *containers: Made, **more: Any) -> tuple[State, str]:
    finding = context(*containers, **more).findings[f"lxc.{name}"]
    return finding.state, finding.verdict.reason


# ------------------------------------------------------------------------------------------------ ids


def test_containers_with_the_hosts_ids_are_named_running_or_not() -> None:
    state, reason = found("host-ids", made("web", "lxc.start.auto=1"), made("db"), made("own", *OWN_IDS), host_ids=[])
    assert state is State.FAIL
    assert reason == (
        "web (starts at boot): its root is the host's (no lxc.idmap), db: its root is the host's (no lxc.idmap); "
        "the policy names none that may (lxc.host_ids)"
    )


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        (OWN_IDS, State.PASS),
        (OWN_IDS[:1], State.FAIL),
        (("lxc.idmap=b 0 0 65536",), State.FAIL),
        (("lxc.idmap=b 0 100000 1000", "lxc.idmap=u 1000 1000 1", "lxc.idmap=b 1001 101001 64535"), State.PASS),
        ((*OWN_IDS, (USERNS, "lxc.idmap=")), State.FAIL),
    ],
)
def test_the_ids_of_root_are_those_that_count(lines: tuple[Any, ...], state: State) -> None:
    assert found("host-ids", made("web", *lines), host_ids=[])[0] is state


def test_those_that_the_policy_names_may_and_without_a_key_none_is_asked() -> None:
    assert found("host-ids", made("web"), host_ids=["web"])[0] is State.PASS
    assert found("host-ids", made("web"))[0] is State.NOT_APPLICABLE
    assert found("host-ids", made("web"), host_ids=[], more={"installed": False})[0] is State.NOT_APPLICABLE


def test_what_could_not_be_read_never_passes_and_hides_no_other() -> None:
    unread = Made("db", "/var/lib/lxc/db/config", Unknown("/x was not read"))
    assert found("host-ids", made("web", *OWN_IDS), unread, host_ids=[]) == (
        State.UNKNOWN, "db was not read: /x was not read",
    )  # fmt: skip
    state, reason = found("host-ids", unread, made("web"), host_ids=[])
    assert (state, "web: its root is the host's (no lxc.idmap), db was not read" in reason) == (State.FAIL, True)
    assert found("host-ids", host_ids=[], more={"made": Unknown("no")})[0] is State.UNKNOWN


def test_the_plan_says_which_lines_to_write_and_changes_nothing() -> None:
    (blocked,) = SUBJECT.plan(context(made("web"), host_ids=[]))
    assert isinstance(blocked, Blocked)
    assert blocked.controls == ("lxc.host-ids",)
    assert blocked.by_hand.startswith(f"give root these ids in {SUBUID} and {SUBGID}; stop the container, write ")
    lines = f"lxc.idmap = u 0 {START} 65536, lxc.idmap = g 0 {START} 65536 and lxc.rootfs.options = idmap=container"
    assert lines in blocked.by_hand


def test_ids_that_root_has_are_not_given_again_and_where_none_is_free_no_number_is_said() -> None:
    rows = tuple(Range(kind, START, 65536, "root", path) for kind, path in (("u", SUBUID), ("g", SUBGID)))
    (blocked,) = SUBJECT.plan(context(made("web"), host_ids=[], ranges=rows))
    assert isinstance(blocked, Blocked)
    assert blocked.by_hand.startswith("stop the container, write lxc.idmap")
    for ranges in ((Range("u", START, 0x1000_0000, "x", SUBUID),), Unknown("no")):
        (blocked,) = SUBJECT.plan(context(made("web"), host_ids=[], ranges=ranges))
        assert isinstance(blocked, Blocked)
        assert blocked.by_hand.startswith("give it lxc.idmap and lxc.rootfs.options = idmap=container, or name it")


def test_where_a_second_row_of_roots_would_stop_incus_none_is_advised() -> None:
    rows = tuple(Range(kind, START, 65536, "root", path) for kind, path in (("u", SUBUID), ("g", SUBGID)))
    big = (Range("u", 1_000_000, 1_000_000_000, "root", SUBUID),)
    for made_of in (
        context(made("web"), host_ids=[], engines=("incus",)),
        context(made("web"), host_ids=[], ranges=big),
    ):
        (blocked,) = SUBJECT.plan(made_of)
        assert isinstance(blocked, Blocked)
        assert blocked.by_hand.startswith("give it lxc.idmap and lxc.rootfs.options = idmap=container, or name it")
    (blocked,) = SUBJECT.plan(context(made("web"), host_ids=[], engines=("incus",), ranges=rows))
    assert isinstance(blocked, Blocked)
    assert blocked.by_hand.startswith("stop the container, write lxc.idmap"), "root has the row already"


# ------------------------------------------------------------------------------------------------ what is taken back


OURS = f"lxc.seccomp.profile={STRICT}"


@pytest.mark.parametrize(
    ("lines", "state", "word"),
    [
        ((OURS, (COMMON, "lxc.seccomp.profile=/five")), State.FAIL, f"the seccomp profile /five ({COMMON}:2) allows"),
        ((OURS, (COMMON, "lxc.seccomp.profile=")), State.FAIL, "containers have every system call"),
        ((OURS, "lxc.seccomp.profile=/more"), State.PASS, ""),
        ((OURS, "lxc.seccomp.profile=/odd"), State.UNKNOWN, "version 1"),
        ((OURS, (COMMON, "lxc.seccomp.profile=/five"), OURS), State.PASS, ""),
        ((f"lxc.seccomp.profile={GUARDED}", OURS), State.PASS, ""),
        (((COMMON, "lxc.seccomp.profile=/five"),), State.PASS, ""),
        (("lxc.cap.drop=mknod 39", (USERNS, "lxc.cap.drop=")), State.FAIL, f"({USERNS}:2) and gives back BPF, MKNOD"),
        (("lxc.cap.drop=mknod", "lxc.cap.keep=mknod bpf"), State.FAIL, "lxc.cap.keep is mknod bpf (/var"),
        (("lxc.cap.drop=mknod", (USERNS, "lxc.cap.drop="), "lxc.cap.drop=mknod"), State.PASS, ""),
        (("lxc.cap.drop=syslog", (USERNS, "lxc.cap.drop=")), State.PASS, ""),
        (((COMMON, "lxc.cap.drop=mknod"), (USERNS, "lxc.cap.drop=")), State.PASS, ""),
    ],
)
def test_what_a_container_lost_is_named(lines: tuple[Any, ...], state: State, word: str) -> None:
    says = found("weakened", made("web", *lines), weakened=[], capabilities=["MKNOD", "BPF"])
    assert (says[0], word in says[1]) == (state, True), says
    assert found("weakened", made("web", *lines), weakened=["web"])[0] is State.PASS


def test_what_is_lost_comes_back_by_hand() -> None:
    web = made("web", OURS, (COMMON, "lxc.seccomp.profile=/five"))
    (blocked,) = SUBJECT.plan(context(web, weakened=[]))
    assert isinstance(blocked, Blocked)
    assert (blocked.controls, "after what it includes" in blocked.by_hand) == (("lxc.weakened",), True)
