"""What LXC gives new containers: judged against the policy, what harden writes for it, and what a rollback leaves."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from deploys.cgroups.controls import CgroupsRules
from deploys.core.change import Blocked, Context, Undoing, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.lxc import settings, undo
from deploys.engines.lxc.controls import SUBJECT
from deploys.engines.lxc.defaults import DROP_IN_TEXT
from deploys.engines.lxc.rules import LxcRules
from facts.cgroups import Cgroups
from facts.core.reading import Unknown
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines.lxc import Lxc
from facts.engines.lxc.lxc import DEFAULT, DROP_IN, GUARDED, STRICT
from facts.userns import LXC_DEFAULT, SUBGID, SUBUID, Range, Userns
from tests.support.lxc import DEBIAN, MAP, ROWS, START, after, cgroups, context, found, lxc, userns, written

# The policy's key, what it says, lines that are right, lines that are wrong, and a word of the reason for those.
BIND = "lxc.mount.entry = /etc mnt none bind 0 0"
CASES: dict[str, tuple[Any, str, str, str]] = {
    "user_namespace": ("mapped", f"lxc.idmap = u {MAP}\nlxc.idmap = g {MAP}", f"lxc.idmap = u {MAP}", "the host's"),
    "capabilities": (["MKNOD", "BPF"], "lxc.cap.drop = mknod\nlxc.cap.drop = 39 syslog", "lxc.cap.drop = mknod", "BPF"),
    "confined": (True, "lxc.apparmor.profile = generated", "lxc.apparmor.profile = unconfined", "is unconfined (/etc"),
    "nesting": (False, "lxc.apparmor.allow_nesting = 0", "lxc.apparmor.allow_nesting = 1", "allow_nesting is 1"),
    "no_new_privileges": (True, "lxc.no_new_privs = 1", "lxc.no_new_privs = 0", "no_new_privs is 0"),
    "private": (True, "lxc.net.0.type = veth", BIND, "lxc.mount.entry is /etc mnt"),
    "pids": (100, "lxc.cgroup2.pids.max = 99", "lxc.cgroup2.pids.max = max", "pids.max is max"),
    "memory": (1 << 27, f"lxc.cgroup2.memory.max = {1 << 26}\nlxc.cgroup2.memory.swap.max = 0",
               f"lxc.cgroup2.memory.max = {1 << 26}", "swap without a limit"),
    "cpu_weight": (50, "lxc.cgroup2.cpu.weight = 50", "lxc.cgroup2.cpu.weight = 100", "cpu.weight is 100 (/etc"),
    "io_weight": (50, "lxc.cgroup2.io.weight = default 20", "lxc.cgroup2.pids.max = 1", "no line sets lxc.cgroup2.io."),
}  # fmt: skip


@pytest.mark.parametrize("key", CASES)
def test_each_default_is_judged_and_put_right(key: str) -> None:
    wanted, right, wrong, word = CASES[key]
    control = key.replace("_", "-")
    assert found(lxc(right), control, **{key: wanted})[0] is State.PASS
    state, reason = found(lxc(wrong), control, **{key: wanted})
    assert (state, word in reason, f"(lxc.{key})" in reason) == (State.FAIL, True, True), reason
    assert found(lxc(wrong), control)[0] is State.NOT_APPLICABLE
    assert found(lxc(wrong, lines=Unknown("no")), control, **{key: wanted})[0] is State.UNKNOWN
    changes = list(SUBJECT.plan(context(lxc(wrong), **{key: wanted})))
    if control == "private":
        assert [type(each) for each in changes] == [Blocked]
        return
    assert found(after(lxc(wrong), changes), control, **{key: wanted})[0] is State.PASS
    assert list(SUBJECT.plan(context(after(lxc(wrong), changes), **{key: wanted}))) == []


def test_without_lxc_nothing_applies_and_nothing_is_planned() -> None:
    made = context(lxc(installed=False), **{key: case[0] for key, case in CASES.items()}, usernet=[], seccomp="strict")
    assert {f.state for f in made.findings.values()} == {State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(made)) == []


def test_broken_lines_and_those_that_are_passed_over_are_named() -> None:
    broken = lxc(lines=Unknown("no"), broken=(f"{DEFAULT}:3: lxc.x is no key of LXC's",))
    assert found(broken, "settings") == (
        State.FAIL, f"lxc-create makes no container with this: {DEFAULT}:3: lxc.x is no key of LXC's",
    )  # fmt: skip
    assert found(lxc(ignored=(f"{DEFAULT}:1: lcx",)), "settings")[0] is State.FAIL
    assert found(lxc(), "settings")[0] is State.PASS


def test_lines_of_others_stay_and_the_block_comes_last() -> None:
    text = f"{DEBIAN}{settings.BEGIN}\nlxc.no_new_privs = 1\n{settings.END}\nlxc.start.auto = 1\n"
    block = f"{settings.BEGIN}\nlxc.cgroup2.pids.max = 9\nlxc.no_new_privs = 1\n{settings.END}\n"
    assert written(SUBJECT.plan(context(lxc(text), pids=9)))[DEFAULT] == f"{DEBIAN}lxc.start.auto = 1\n{block}"


def test_the_plan_says_what_goes_on() -> None:
    (change,) = SUBJECT.plan(context(lxc(), pids=9))
    assert isinstance(change, WriteFile)
    assert change.what == "have LXC give new containers cgroup2.pids.max=9; those that are there keep what they have"
    assert change.shared == "lines"


def test_a_file_that_is_not_there_is_made() -> None:
    (change,) = SUBJECT.plan(context(lxc(None), pids=9))
    assert isinstance(change, WriteFile)
    assert (change.before, change.mode) == (None, "0644")


# ------------------------------------------------------------------------------------------------ user namespaces


def test_ids_come_out_of_a_range_that_root_is_given_first() -> None:
    changes = list(SUBJECT.plan(context(lxc(), userns(()), user_namespace="mapped")))
    assert list(written(changes)) == [SUBUID, SUBGID, DEFAULT]
    assert written(changes)[SUBUID] == f"root:100000:65536\nops:1:2\nroot:{START}:65536\n", "root's others stay"
    assert written(changes)[SUBGID] == f"root:{START}:65536\n"
    assert f"lxc.idmap = u {MAP}\nlxc.idmap = g {MAP}\n" in written(changes)[DEFAULT]


def test_a_row_that_root_has_is_not_written_again() -> None:
    text = f"root:{START}:65536\nops:1:2\n"
    rows = replace(userns(), subuid=text, subgid=text)
    assert list(written(SUBJECT.plan(context(lxc(), rows, user_namespace="mapped")))) == [DEFAULT]


def test_a_range_of_roots_that_another_one_has_taken_is_not_used() -> None:
    theirs = Range("u", START, 65536, "ops", "/etc/subuid")
    changes = list(SUBJECT.plan(context(lxc(), userns((*ROWS, theirs)), user_namespace="mapped")))
    assert f"lxc.idmap = u 0 {START + 65536} 65536" in written(changes)[DEFAULT]


def test_where_no_range_is_free_nothing_is_written() -> None:
    taken = tuple(Range(kind, 0x7000_0000, 0x1000_0000, "x", "/etc/subuid") for kind in ("u", "g"))
    (blocked,) = SUBJECT.plan(context(lxc(), userns(taken), user_namespace="mapped"))
    assert isinstance(blocked, Blocked)


def test_ids_that_no_row_gives_fail_and_those_of_the_host_too() -> None:
    mapped = f"lxc.idmap = u {MAP}\nlxc.idmap = g {MAP}"
    state, reason = found(lxc(mapped), "user-namespace", ids=userns(ROWS[:1]), user_namespace="mapped")
    assert (state, "/etc/subgid does not give root the ids" in reason) == (State.FAIL, True)
    own = "lxc.idmap = b 0 0 65536"
    assert "own ids from 0 on" in found(lxc(own), "user-namespace", user_namespace="mapped")[1]
    assert "lxc.idmap =\nlxc.idmap = u" in written(SUBJECT.plan(context(lxc(own), user_namespace="mapped")))[DEFAULT]


# ------------------------------------------------------------------------------------------------ the others


def test_where_some_capabilities_are_kept_others_cannot_be_dropped() -> None:
    (blocked,) = SUBJECT.plan(context(lxc("lxc.cap.keep = mknod"), capabilities=["MKNOD"]))
    assert isinstance(blocked, Blocked)
    assert found(lxc("lxc.cap.keep = none"), "capabilities", capabilities=["MKNOD"])[0] is State.PASS


@pytest.mark.parametrize("line", [
    "lxc.net.0.type = none", "lxc.namespace.keep = net", "lxc.namespace.share.pid = web", "lxc.mount.auto = proc:rw",
    "lxc.cgroup2.devices.allow = a", "lxc.cgroup2.devices.allow = b *:* rwm", "lxc.cgroup.devices.allow = b 8:0 rwm",
    "lxc.cgroup2.devices.allow = c *:* rwm", "lxc.cgroup2.devices.allow = c 1:1 rwm",
    "lxc.mount.auto = cgroup-full:rw:force", "lxc.mount.fstab = /etc/lxc/fstab", "lxc.namespace.clone = pid mount",
    "lxc.mount.entry = /dev/sda1 mnt ext4 defaults 0 0", "lxc.mount.entry = etc mnt none rw,rbind 0 0",
])  # fmt: skip
def test_what_is_the_hosts_is_named(line: str) -> None:
    state, reason = found(lxc(line), "private", private=True)
    assert (state, line.partition(" ")[0] in reason) == (State.FAIL, True)


def test_what_lxcs_own_files_mount_is_no_finding() -> None:
    own = "lxc.mount.entry = /sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0"
    assert found(lxc(own), "private", private=True)[0] is State.PASS


@pytest.mark.parametrize("text", [
    "lxc.mount.auto = proc:rw\nlxc.mount.auto =", "lxc.net.0.type = none\nlxc.net.0.type = veth",
    "lxc.namespace.clone = cgroup ipc mount\nlxc.namespace.clone = net pid uts",
    "lxc.cgroup2.devices.allow = b *:* m\nlxc.cgroup2.devices.allow = c 1:3 rwm",
    "lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0",
])  # fmt: skip
def test_what_a_later_line_takes_back_or_gives_nothing_away_is_no_finding(text: str) -> None:
    assert found(lxc(text), "private", private=True)[0] is State.PASS


def test_a_namespace_of_users_that_is_not_cloned_is_missed_where_ids_are_mapped() -> None:
    text = f"lxc.namespace.clone = cgroup ipc mnt net pid uts\nlxc.idmap = u {MAP}"
    assert "leaves user the host's" in found(lxc(text), "private", private=True)[1]


@pytest.mark.parametrize(
    ("text", "put"),
    [
        ("lxc.apparmor.profile = lxc-container-default-with-mounting", "lxc.apparmor.profile = generated"),
        ("lxc.apparmor.profile = own\nlxc.apparmor.allow_incomplete = 1", "lxc.apparmor.allow_incomplete = 0"),
        ("lxc.apparmor.profile = unchanged\nlxc.apparmor.raw = mount,", ""),
    ],
)
def test_what_takes_a_profile_its_force_is_no_confinement(text: str, put: str) -> None:
    made = context(lxc(f"{text}\n"), confined=True)
    assert made.findings["lxc.confined"].state is State.FAIL
    block = written(SUBJECT.plan(made)).get(DEFAULT, "").partition(settings.BEGIN)[2]
    assert [line for line in block.splitlines() if line.startswith("lxc.")] == ([put] if put else [])
    denying = "lxc.apparmor.profile = generated\nlxc.apparmor.raw = deny mount,"
    assert found(lxc(denying), "confined", confined=True)[0] is State.PASS


@pytest.mark.parametrize("profile", ["lxc-container-default-with-nesting", "unconfined", "unchanged"])
def test_a_profile_that_lets_containers_nest_counts_whatever_else_is_said(profile: str) -> None:
    own = lxc(f"lxc.apparmor.profile = {profile}\nlxc.apparmor.allow_nesting = 0\n")
    made = context(own, nesting=False)
    assert f"lxc.apparmor.profile is {profile} (/etc" in made.findings["lxc.nesting"].verdict.reason
    changes = list(SUBJECT.plan(made))
    assert "lxc.apparmor.allow_nesting = 0\nlxc.apparmor.profile = generated\n" in written(changes)[DEFAULT]
    assert found(after(own, changes), "nesting", nesting=False)[0] is State.PASS
    (blocked,) = SUBJECT.plan(context(replace(own, parser=False), nesting=False))
    assert isinstance(blocked, Blocked)


def test_without_apparmor_its_rows_do_not_apply_and_without_its_parser_none_is_generated() -> None:
    for key, wanted in (("confined", True), ("nesting", False)):
        assert found(lxc(apparmor=False), key, **{key: wanted})[0] is State.NOT_APPLICABLE
        assert found(lxc(apparmor=Unknown("no")), key, **{key: wanted})[0] is State.UNKNOWN
    state, reason = found(lxc(parser=False), "confined", confined=True)
    assert (state, "apparmor_parser is not installed" in reason) == (State.FAIL, True)
    (blocked,) = SUBJECT.plan(context(lxc(parser=False), confined=True))
    assert isinstance(blocked, Blocked)


@pytest.mark.parametrize(
    ("own", "state", "put"),
    [
        ("64M", State.FAIL, ["memory.swap.max = 0"]), (str(1 << 26), State.FAIL, ["memory.swap.max = 0"]),
        ("64m\nlxc.cgroup2.memory.swap.max = 0", State.PASS, []), ("0x10", State.FAIL, []), ("²", State.FAIL, []),
        ("1G", State.FAIL, [f"memory.max = {1 << 27}", "memory.swap.max = 0"]),
    ],
)  # fmt: skip
def test_a_lower_limit_of_memory_stays_and_one_that_is_not_understood_too(
    own: str, state: State, put: list[str]
) -> None:
    made = context(lxc(f"lxc.cgroup2.memory.max = {own}\n"), memory=1 << 27)
    assert made.findings["lxc.memory"].state is state
    changes = list(SUBJECT.plan(made))
    block = written(changes).get(DEFAULT, "").partition(settings.BEGIN)[2]
    assert [line.removeprefix("lxc.cgroup2.") for line in block.splitlines() if line.startswith("lxc.")] == put
    assert [type(each) for each in changes] == [Blocked] or put or state is State.PASS


def test_limits_do_not_apply_where_control_groups_are_of_version_1() -> None:
    assert found(lxc(), "pids", version="v1", pids=9)[0] is State.NOT_APPLICABLE


def test_a_weight_is_not_written_where_the_kernel_may_have_no_file_for_it() -> None:
    (blocked,) = SUBJECT.plan(context(lxc(weights=("cpu.weight",)), io_weight=50))
    assert isinstance(blocked, Blocked)
    assert "no control group of this host has io.weight" in blocked.why
    (change,) = SUBJECT.plan(context(lxc(weights=("cpu.weight",)), cpu_weight=50))
    assert isinstance(change, WriteFile)


def test_a_weight_that_no_disk_heeds_does_not_hold() -> None:
    own = lxc("lxc.cgroup2.io.weight = 50\nlxc.cgroup2.cpu.weight = 50\n")
    plain = replace(cgroups(), weightless={"vda": "mq-deadline"})
    policy = Policy("p", {LxcRules: LxcRules(io_weight=50, cpu_weight=50), CgroupsRules: CgroupsRules()})
    host = Survey({Lxc: own, Userns: userns(), Cgroups: plain})
    findings = {f.control.id: f for f in judge(SUBJECT.controls, host, policy)}
    assert findings["lxc.cpu-weight"].state is State.PASS
    assert "count for nothing on vda (mq-deadline)" in findings["lxc.io-weight"].verdict.reason
    (blocked,) = SUBJECT.plan(Context(host, policy, findings))
    assert isinstance(blocked, Blocked)
    assert "bfq" in blocked.by_hand
    unread = Survey({Lxc: own, Userns: userns(), Cgroups: replace(cgroups(), weightless=Unknown("no"))})
    states = {f.control.id: f.state for f in judge(SUBJECT.controls, unread, policy)}
    assert states["lxc.io-weight"] is State.UNKNOWN


def test_a_weight_does_not_apply_without_its_controller() -> None:
    made = Survey({Lxc: lxc(), Userns: userns(), Cgroups: cgroups(controllers=1)})
    policy = Policy("p", {LxcRules: LxcRules(io_weight=50, cpu_weight=50), CgroupsRules: CgroupsRules()})
    states = {f.control.id: f.state for f in judge(SUBJECT.controls, made, policy)}
    assert (states["lxc.io-weight"], states["lxc.cpu-weight"]) == (State.NOT_APPLICABLE, State.FAIL)
    assert found(lxc(), "io-weight", version="v1", io_weight=9)[0] is State.NOT_APPLICABLE


def test_the_slice_is_started_before_any_container() -> None:
    within = "lxc.cgroup.dir = machine.slice"
    state, reason = found(lxc(within), "slice", slice="machine.slice")
    assert (state, "nothing starts machine.slice" in reason) == (State.FAIL, True)
    assert found(lxc(within, service=False), "slice", slice="machine.slice")[0] is State.PASS
    assert found(lxc(within, drop_in=DROP_IN_TEXT), "slice", slice="machine.slice")[0] is State.PASS
    assert found(lxc(within, drop_in=Unknown("no")), "slice", slice="machine.slice")[0] is State.UNKNOWN
    assert list(written(SUBJECT.plan(context(lxc(), slice="machine.slice")))) == [DROP_IN, DEFAULT]


def test_the_slice_does_not_apply_where_the_policy_wants_containers_below_others() -> None:
    wanted: dict[str, Any] = {"slice": "machine.slice"}
    state, reason = found(lxc(), "slice", below=["kubepods.slice"], **wanted)
    assert (state, reason) == (State.NOT_APPLICABLE, "the policy does not name machine.slice (cgroups.below)")
    assert found(lxc(), "slice", below=["machine.slice"], **wanted)[0] is State.FAIL


USERS = "# who may\nops  veth lxcbr0 10  # of operations\n@dev veth br0 2\nops veth br1 1\n"


def test_who_may_connect_to_bridges() -> None:
    state, reason = found(lxc(usernet=USERS), "usernet", usernet=["ops  veth lxcbr0 10"])
    assert (state, reason) == (
        State.FAIL,
        "/etc/lxc/lxc-usernet has @dev veth br0 2, ops veth br1 1; the policy wants ['ops  veth lxcbr0 10'] "
        "(lxc.usernet)",
    )
    for text in (None, "", "# none\n\n"):
        assert found(lxc(usernet=text), "usernet", usernet=[])[0] is State.PASS
    assert found(lxc(usernet=USERS), "usernet")[0] is State.NOT_APPLICABLE
    assert found(lxc(usernet=Unknown("no")), "usernet", usernet=[])[0] is State.UNKNOWN


def test_rows_are_taken_out_once_it_is_accepted_that_their_users_lose_them() -> None:
    wanted: dict[str, Any] = {"usernet": ["ops veth lxcbr0 10"]}
    (blocked,) = SUBJECT.plan(context(lxc(usernet=USERS), **wanted))
    assert isinstance(blocked, Blocked)
    assert (blocked.accepts, "containers of @dev, ops get no network device" in blocked.why) == (("lxc-usernet",), True)
    (change,) = SUBJECT.plan(context(lxc(usernet=USERS), accept=("lxc-usernet",), **wanted))
    assert isinstance(change, WriteFile)
    assert change.text == "# who may\nops  veth lxcbr0 10  # of operations\n"
    assert (change.before, change.mode, change.owner, change.shared) == (USERS, "", "", "lines")
    assert found(lxc(usernet=change.text), "usernet", **wanted)[0] is State.PASS


def test_twenty_thousand_rows_are_taken_out_in_no_time() -> None:
    many = "".join(f"user{n} veth lxcbr0 10\n" for n in range(20_000))
    made = context(lxc(usernet=many), accept=("lxc-usernet",), usernet=["ops veth lxcbr0 10"])
    began = time.process_time()
    (change,) = SUBJECT.plan(made)
    assert time.process_time() - began < 1
    assert isinstance(change, WriteFile)
    assert change.text == ""


# ------------------------------------------------------------------------------------------------ a rollback


def test_what_containers_need_to_start_stays() -> None:
    used = (Range("u", START, 65536, "web", "/var/lib/lxc/web/config"), Range("u", START, 65536, LXC_DEFAULT, DEFAULT))
    made = context(lxc(users={STRICT: ("db",)}), userns(used=used))
    rows = f"give root the ids {START}–{START + 65535} in {SUBUID}"
    entries = tuple(
        JournalEntry(f"{n}", "lxc", what, path, True, False)
        for n, (what, path) in enumerate([(rows, SUBUID), ("write", STRICT), ("write", GUARDED), ("have", DEFAULT)])
    )
    stays = {each.entry: each.stays for each in undo.remarks(Undoing(made, entries, {}))}
    assert {entry: why.why.rpartition(": ")[2] for entry, why in stays.items() if why} == {"0": "web", "1": "db"}


def test_ids_that_a_running_process_has_stay() -> None:
    rows = f"give root the ids {START}–{START + 65535} in {SUBUID}"
    entries = (JournalEntry("0", "lxc", rows, SUBUID, True, False),)
    for mapped, stays in ((START, True), (START + 65536, False)):
        running = (Range("u", mapped, 65536, "running processes", "/proc/*/uid_map"),)
        made = context(lxc(), replace(userns(), mapped=running))
        remarks = list(undo.remarks(Undoing(made, entries, {})))
        assert [each.entry for each in remarks if each.stays] == ["0"] * stays
