"""How systemd starts machines: judged against the policy, what harden writes for it, and which machines differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from deploys.core import templates
from deploys.core.change import Blocked, Change, Context, Undoing, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.nspawn.controls import SUBJECT
from deploys.engines.nspawn.rules import NspawnRules
from facts.core.reading import Unknown
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines.nspawn import Nspawn
from facts.engines.nspawn.keys import KEYS
from facts.engines.nspawn.nspawn import DROP_IN, NspawnReading, Start, Word
from facts.engines.nspawn.trees import Tree

DEBIAN = "--quiet --keep-unit --boot --network-veth -U --settings=override --machine=hullproof-asks"
BESIDE, ETC = "/var/lib/machines/web.nspawn", "/etc/systemd/nspawn/web.nspawn"
OF_UNIT = "/etc/systemd/system/systemd-nspawn@web.service.d/own.conf"


def start(arguments: str = DEBIAN, **limits: int | None) -> Start:
    given: dict[str, int | None] = {"TasksMax": 16384, "MemoryMax": None, "MemorySwapMax": None}
    return Start(tuple(arguments.split()), given | limits)


def nspawn(begin: Start | Unknown | None = None, *words: Word, drop_in: str | None = None) -> NspawnReading:
    return NspawnReading(True, begin or start(), drop_in, words)


def word(key: str, value: str, path: str = ETC) -> Word:
    section = next((name for name, keys in KEYS.items() if key in keys), "Service")
    return Word("web", section, key, value, f"{path}:2")


def context(reading: NspawnReading, accept: str = "", **rules: Any) -> Context:
    host = Survey({Nspawn: reading})
    policy = Policy("p", {NspawnRules: NspawnRules(**rules)}, accept=frozenset(accept.split()))
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(reading: NspawnReading, name: str, **rules: Any) -> tuple[State, str]:
    finding = context(reading, **rules).findings[f"nspawn.{name}"]
    return finding.state, finding.verdict.reason


def written(changes: Iterable[Change]) -> str:
    (text,) = (change.text for change in changes if isinstance(change, WriteFile) and change.path == DROP_IN)
    return text


def after(changes: Iterable[Change], before: Start | None = None) -> NspawnReading:
    """As systemd reads the drop-in, beside the limits of before."""
    text = written(changes)
    (arguments,) = re.findall("^ExecStart=systemd-nspawn (.*)$", text, flags=re.MULTILINE)
    arguments = arguments.replace("%i", "hullproof-asks")
    limits = {name: int(value) for name, value in re.findall(r"^([A-Za-z]+Max)=(\d+)$", text, flags=re.MULTILINE)}
    return nspawn(start(arguments, **{**(before.limits if before else {}), **limits}), drop_in=text)


OWN = DEBIAN.replace("override", "trusted")
# The policy's key, what it says, a start that is right, one that is wrong, and a word of the reason for that.
CASES: dict[str, tuple[Any, Start, Start, str]] = {
    "user_namespace": ("pick", start(), start("--boot"), "the host's own ids"),
    "settings": ("trusted", start(OWN), start(), "--settings is override"),
    "capabilities": (["MKNOD", "BPF"], start("--drop-capability=CAP_MKNOD,CAP_NET_RAW"), start("--capability=all"),
                     "keep BPF, MKNOD"),
    "refused_calls": (["@keyring", "bpf"], start("--system-call-filter=~@keyring --system-call-filter=~bpf"),
                      start("--system-call-filter=~bpf"), "may make @keyring"),
    "no_new_privileges": (True, start("--no-new-privileges=yes"), start(), "is not given"),
    "private_network": (True, start(), start("--boot"), "share the host's network"),
    "pids": (100, start(TasksMax=99), start(), "TasksMax of machines is 16384"),
    "memory": (1 << 27, start(MemoryMax=1 << 26, MemorySwapMax=0), start(MemoryMax=1 << 26), "swap without a limit"),
}  # fmt: skip


@pytest.mark.parametrize("key", CASES)
def test_each_default_is_judged_and_put_right(key: str) -> None:
    wanted, right, wrong, said = CASES[key]
    control = key.replace("_", "-")
    assert found(nspawn(right), control, **{key: wanted})[0] is State.PASS
    state, reason = found(nspawn(wrong), control, **{key: wanted})
    assert (state, said in reason, f"(nspawn.{key})" in reason) == (State.FAIL, True, True), reason
    assert found(nspawn(wrong), control)[0] is State.NOT_APPLICABLE
    assert found(nspawn(Unknown("no")), control, **{key: wanted})[0] is State.UNKNOWN
    new = after(SUBJECT.plan(context(nspawn(wrong), **{key: wanted})), wrong)
    assert found(new, control, **{key: wanted})[0] is State.PASS
    assert list(SUBJECT.plan(context(new, **{key: wanted}))) == []


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ("--private-users=no", State.FAIL), ("--private-users=identity", State.FAIL), ("--private-users=0", State.FAIL),
        ("--private-users=1048576:65536", State.PASS), ("--private-users=pick", State.PASS),
    ],
)  # fmt: skip
def test_which_ids_are_a_machines_own(arguments: str, state: State) -> None:
    assert found(nspawn(start(arguments)), "user-namespace", user_namespace="pick")[0] is state


@pytest.mark.parametrize(
    ("path", "state"),
    [("/proc/1/ns/net", State.FAIL), ("/run/netns/../../proc/1/ns/net", State.FAIL), ("/run/netns/web", State.PASS)],
)
def test_a_namespace_of_networks_may_be_the_hosts(path: str, state: State) -> None:
    made = context(nspawn(start(f"--boot --network-namespace-path={path}")), private_network=True)
    assert made.findings["nspawn.private-network"].state is state
    assert [type(each) for each in SUBJECT.plan(made)] == [Blocked] * (state is State.FAIL)


def test_ids_that_are_no_ascii_number_are_no_ids() -> None:
    assert found(nspawn(start("--private-users=²")), "user-namespace", user_namespace="pick")[0] is State.FAIL


def test_a_lower_limit_of_memory_stays() -> None:
    text = written(SUBJECT.plan(context(nspawn(start(MemoryMax=1 << 26)), memory=1 << 27)))
    assert ("MemoryMax=" in text, "MemorySwapMax=0" in text) == (False, True)


def test_without_it_nothing_applies_and_nothing_is_planned() -> None:
    none = NspawnReading(False, Unknown("no"), None, ())
    made = context(none, **{key: case[0] for key, case in CASES.items()}, machines=[])
    assert {f.state for f in made.findings.values()} == {State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(made)) == []


def test_all_is_written_at_once_and_what_others_set_stays() -> None:
    given = start(f"--bind=/srv --system-call-filter=@clock {DEBIAN}")
    changes = list(SUBJECT.plan(context(nspawn(given), settings="no", refused_calls=["bpf"], pids=9)))
    assert written(changes).splitlines()[-2:] == [
        "ExecStart=systemd-nspawn --bind=/srv --quiet --keep-unit --boot --network-veth -U --settings=no "
        "--system-call-filter=@clock --system-call-filter=~bpf --machine=%i",
        "TasksMax=9",
    ]
    assert isinstance(changes[0], WriteFile)
    assert changes[0].validate == templates.text("engines/nspawn/validate.sh")
    assert "new containers --settings=no, --system-call-filter=@clock ~bpf, TasksMax=9" in changes[0].what
    assert "from a machine's next start on; those that run keep what they have, but for limits" in changes[0].what


@pytest.mark.parametrize(("filtered", "state"), [(False, State.FAIL), (Unknown("no"), State.UNKNOWN)])
def test_a_filter_that_the_environment_takes_away_is_none(filtered: bool | Unknown, state: State) -> None:
    right = replace(start("--system-call-filter=~bpf"), filtered=filtered)
    made = context(nspawn(right), refused_calls=["bpf"])
    assert made.findings["nspawn.refused-calls"].state is state
    assert [type(each) for each in SUBJECT.plan(made)] == [Blocked] * (state is State.FAIL)
    missing = nspawn(replace(right, arguments=("--boot",)))
    assert found(missing, "refused-calls", refused_calls=["bpf"])[0] is State.FAIL


def test_calls_in_one_word_are_none() -> None:
    """systemd-nspawn takes that for one call, which it does not know."""
    given = nspawn(start("--system-call-filter=~bpf,keyctl"))
    assert found(given, "refused-calls", refused_calls=["bpf"])[0] is State.FAIL


def test_a_call_that_is_allowed_by_name_is_no_longer() -> None:
    given = nspawn(start("--system-call-filter=bpf --system-call-filter=~bpf"))
    assert found(given, "refused-calls", refused_calls=["bpf"])[0] is State.FAIL
    assert "filter=bpf" not in written(SUBJECT.plan(context(given, refused_calls=["bpf"])))


@pytest.mark.parametrize(
    "more",
    ["/sbin/init", "-- /usr/bin/app", "--directory=/srv/hullproof/asks", "--setenv=A=b;c", "-Mweb", "--bind=a{b}"],
)
def test_a_start_that_cannot_be_written_again_stays_as_it_is(more: str) -> None:
    (blocked,) = SUBJECT.plan(context(nspawn(start(f"--boot --machine=hullproof-asks {more}")), settings="no"))
    assert isinstance(blocked, Blocked)
    assert (more.split()[0] in blocked.why, "systemd-nspawn@.service" in blocked.by_hand) == (True, True)


def test_what_comes_after_what_a_machine_starts_does_not_count() -> None:
    reading = nspawn(start("--boot /sbin/init --settings=no"))
    assert found(reading, "settings", settings="no")[0] is State.FAIL


# ------------------------------------------------------------------------------------------------ files of machines


@pytest.mark.parametrize(
    ("key", "value", "path", "mode", "state"),
    [
        ("PrivateUsers", "no", ETC, "override", State.FAIL),
        ("PrivateUsers", "no", ETC, "trusted", State.PASS),  # the start has -U, which counts before it
        ("Bind", "/srv", ETC, "trusted", State.FAIL),
        ("Bind", "/srv", BESIDE, "trusted", State.PASS),
        ("Bind", "/srv", ETC, "no", State.PASS),
        ("NoNewPrivileges", "no", ETC, "trusted", State.FAIL),
        ("NoNewPrivileges", "yes", ETC, "override", State.PASS),
        ("SystemCallFilter", "~bpf", ETC, "override", State.PASS),
        ("SystemCallFilter", "bpf", ETC, "override", State.FAIL),
        ("Capability", "all", BESIDE, "override", State.FAIL),
        ("VirtualEthernet", "no", ETC, "trusted", State.PASS),
        ("Boot", "yes", ETC, "override", State.PASS),
        ("TasksMax", "infinity", OF_UNIT, "no", State.FAIL),
        ("Description", "x", OF_UNIT, "no", State.PASS),
        ("MemoryMax", "", OF_UNIT, "no", State.FAIL),
        ("TasksMax", "", OF_UNIT, "no", State.FAIL),
        ("DeviceAllow", "", OF_UNIT, "no", State.PASS),
        ("Environment", '"A=b" SYSTEMD_SECCOMP=0', OF_UNIT, "no", State.FAIL),
        ("Environment", "LANG=C", OF_UNIT, "no", State.PASS),
        ("EnvironmentFile", "-/etc/own", OF_UNIT, "no", State.FAIL),
        ("Interface", "eth0", ETC, "override", State.FAIL),
        ("BindUser", "ops", ETC, "trusted", State.FAIL),
        ("OOMScoreAdjust", "-1000", ETC, "trusted", State.FAIL),
        ("OOMScoreAdjust", "-1000", OF_UNIT, "no", State.FAIL),
        ("OOMScoreAdjust", "500", ETC, "trusted", State.PASS),
        ("LimitNPROC", "infinity", ETC, "trusted", State.FAIL),
        ("LimitNOFILE", "1024:infinity", ETC, "trusted", State.FAIL),
        ("LimitNOFILE", "1024:infinity", OF_UNIT, "no", State.PASS),
        ("LimitNPROC", "64", ETC, "trusted", State.PASS),
        ("LimitCPU", "infinity", ETC, "trusted", State.PASS),
        ("BindReadOnly", "/run/docker.sock", ETC, "trusted", State.FAIL),
    ],
)
def test_a_machines_own_line_counts_where_the_start_leaves_it_a_say(
    key: str, value: str, path: str, mode: str, state: State
) -> None:
    reading = nspawn(start(DEBIAN.replace("override", mode)), word(key, value, path))
    says = found(reading, "machines", machines=[])
    assert (says[0], f"{key}={value} of web ({path}:2)" in says[1]) == (state, state is State.FAIL), says
    assert found(reading, "machines", machines=["web"])[0] is State.PASS
    assert [type(each) for each in SUBJECT.plan(context(reading, machines=[]))] == [Blocked] * (state is State.FAIL)


def test_machines_are_unknown_where_the_start_is() -> None:
    reading = nspawn(Unknown("no"), word("Bind", "/srv"))
    assert found(reading, "machines", machines=[])[0] is State.UNKNOWN


def test_what_machines_would_lose_has_to_be_accepted() -> None:
    reading = nspawn(start(), word("PrivateUsers", "no"), word("Bind", "/srv", BESIDE), word("Port", "80"))
    (blocked,) = SUBJECT.plan(context(reading, settings="trusted"))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("nspawn-settings",)
    assert f"PrivateUsers=no of web ({ETC}:2), Bind=/srv of web ({BESIDE}:2)" in blocked.why
    assert "Port" not in blocked.why
    assert "--settings=trusted" in written(SUBJECT.plan(context(reading, "nspawn-settings", settings="trusted")))


@pytest.mark.parametrize("tree", [Tree("web", "/var/lib/machines/web", 0, True), None])
def test_where_mounts_can_map_ids_files_keep_their_owners(tree: Tree | None) -> None:
    reading = replace(nspawn(start("--boot")), trees=(tree,) if tree else ())
    assert "--private-users=pick" in written(SUBJECT.plan(context(reading, user_namespace="pick")))


def test_machines_whose_files_would_get_other_owners_are_named_first() -> None:
    """The second has them already, and the third keeps what it has."""
    web, old, db = (Tree(name, f"/srv/{name}", owner, False) for name, owner in (("web", 0), ("old", 65536), ("db", 0)))
    for reading, accept, paths in (
        (replace(nspawn(start("--boot")), trees=(web, old)), "", "/srv/web"),
        (replace(nspawn(start(), word("PrivateUsers", "no")), trees=(web, db)), "nspawn-settings", "/srv/web"),
    ):
        wanted: dict[str, Any] = {"user_namespace": "pick", "settings": "trusted"}
        (blocked,) = SUBJECT.plan(context(reading, accept, **wanted))
        assert isinstance(blocked, Blocked)
        assert (blocked.accepts, blocked.why.rpartition(" in ")[2]) == (("nspawn-ids",), paths)
        assert written(SUBJECT.plan(context(reading, f"{accept} nspawn-ids", **wanted)))


@pytest.mark.parametrize(
    ("what", "words", "accept", "stays"),
    [
        ("--private-users=pick", (), "", "/srv/web"), ("--settings=no", (), "", ""),
        ("--settings=no", (word("PrivateUsers", "no"),), "", "/srv/web"),
        ("--private-users=pick", (), "nspawn-ids", ""),
    ],
)  # fmt: skip
def test_a_rollback_leaves_a_start_with_the_ids_that_files_have(
    what: str, words: tuple[Word, ...], accept: str, stays: str
) -> None:
    trees = (Tree("web", "/srv/web", 65536, False), Tree("db", "/srv/db", 0, False))
    made = context(replace(nspawn(None, *words), trees=trees), accept)
    entries = (JournalEntry("0", "nspawn", f"give new containers {what}", DROP_IN, True, False),)
    said = [each.stays.why for each in SUBJECT.undoing(Undoing(made, entries, {})) if each.stays]
    assert [why.rpartition(": ")[2] for why in said] == [stays] * bool(stays)


def test_limits_hold_for_machines_that_run_too_and_wait_for_a_word() -> None:
    up = replace(nspawn(), running=("web",))
    for made in (context(up, pids=9), context(up, memory=1 << 27)):
        (blocked,) = SUBJECT.plan(made)
        assert isinstance(blocked, Blocked)
        assert (blocked.accepts, "web" in blocked.why) == (("nspawn-limits",), True)
    assert "TasksMax=9" in written(SUBJECT.plan(context(up, "nspawn-limits", pids=9)))


def test_a_file_that_is_read_after_ours_is_said_to_be_there() -> None:
    good = after(SUBJECT.plan(context(nspawn(), pids=9)))
    later = replace(good, start=start(TasksMax=99))
    (blocked,) = SUBJECT.plan(context(later, pids=9))
    assert isinstance(blocked, Blocked)
    assert f"read after {DROP_IN}" in blocked.why


def test_a_file_that_counts_after_hullproofs_is_named_and_has_to_go() -> None:
    zzz = "/etc/systemd/system/systemd-nspawn@.service.d/zzz.conf"
    reading = replace(nspawn(start("--quiet --boot", TasksMax=None)), later={"ExecStart": zzz})
    state, reason = found(reading, "private-network", private_network=True)
    assert (state, f", as {zzz} counts after hullproof's file; the policy" in reason) == (State.FAIL, True)
    assert zzz not in found(reading, "pids", pids=50)[1], "that file sets no TasksMax"
    (blocked,) = SUBJECT.plan(context(reading, private_network=True))
    assert isinstance(blocked, Blocked)
    assert f"{zzz} is read after hullproof's file: remove it there" in blocked.why


@pytest.mark.parametrize(
    ("section", "key", "why"),
    [
        ("Exec", "NoNewPrivileges", ""),
        ("Exec", "LimitNPROC", ""),
        ("X-Mine", "Anything", ""),
        ("Exec", "NoNewPrivilegs", "x.nspawn:2: [Exec] has no NoNewPrivilegs="),
        ("Exec", "privateusers", "[Exec] has no privateusers="),
        ("Exce", "NoNewPrivileges", "there is no section [Exce]"),
        ("", "NoNewPrivileges", "NoNewPrivileges stands in no section"),
        ("Exec", "no form at all", "it has not the form KEY=VALUE"),
    ],
)
def test_a_line_that_systemd_nspawn_passes_over_is_named(section: str, key: str, why: str) -> None:
    line = Word("x", section, key, "yes", "/var/lib/machines/x.nspawn:2")
    reading = nspawn(None, line) if section else replace(nspawn(), stray=(line,))
    finding = context(reading).findings["nspawn.files"]
    assert (finding.state, why in finding.verdict.reason) == (State.FAIL if why else State.PASS, True)
    in_a_unit = replace(line, at="/etc/systemd/system/systemd-nspawn@x.service.d/x.conf:2")
    assert context(nspawn(None, in_a_unit)).findings["nspawn.files"].state is State.PASS
