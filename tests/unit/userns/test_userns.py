"""User namespaces: the planner, the controls and the plan, from readings alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Context, MergeJson, Service, WriteFile
from deploys.core.control import State
from deploys.engines.docker import userns as docker_userns
from deploys.run.steps import arrange
from deploys.userns.controls import UsernsRules
from deploys.userns.ranges import DOCKER, LXC, PEOPLE, PODMAN, NoRange, giving, own_start, plan_range, with_row
from facts.core.reading import Unknown, UnknownReading, known
from facts.engines.docker.docker import DaemonJson, DockerReading, Network, Stored
from facts.kernel.sysctls import SysctlFile
from facts.userns import LIMIT_FILE, SUBGID, SUBUID, Overlap, Range, UsernsReading
from tests.support.hosts import container
from tests.support.userns import LIMITED, SUBJECT, both, context, docker, reading

BASE = 2013265920
WITH_REMAP = {"root": 0, "alice": 1000, "dockremap": 99}

SERVICE = Service("docker", "systemctl restart docker", "docker info", "journalctl -u docker")
STIG = SysctlFile("/etc/sysctl.d/stig.conf", "user.max_user_namespaces = 0\n")


def state(where: Context, control: str) -> State:
    return where.findings[f"userns.{control}"].state


def reason(where: Context, control: str) -> str:
    return where.findings[f"userns.{control}"].verdict.reason


@pytest.fixture(autouse=True)
def merge(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(where: Context, name: str, what: str, put: Any, drop: Any = ()) -> Change:
        return MergeJson(name, what, path="/etc/docker/daemon.json", before=None, put=put, service=SERVICE)

    monkeypatch.setattr(docker_userns, "daemon_json", fake)


# ------------------------------------------------------------------------------------------------ the planner


@pytest.mark.parametrize(
    ("taken", "start"),
    [
        ({}, BASE),
        ({"subuid": f"bob:{BASE}:1\n"}, BASE + 65536),
        ({"subgid": f"bob:{BASE + 65535}:1\n"}, BASE + 65536),  # groups count as much as users
        ({"subuid": f"bob:{BASE + 65536}:65536\n"}, BASE),  # beside it is not on it
        ({"machines": both(BASE, 65536)}, BASE + 65536),
        ({"lxc": both(BASE - 10, 20)}, BASE + 65536),
        ({"libvirt": both(BASE, 65536)}, BASE + 65536),
        ({"mapped": both(BASE + 5, 7)}, BASE + 65536),
        ({"passwd": {"root": 0, "carol": BASE + 3}}, BASE + 65536),
        ({"group": {"root": 0, "staff": BASE + 3}}, BASE + 65536),
        ({"subuid": f"containers:{BASE}:100000\n"}, BASE + 2 * 65536),
        ({"subuid": "big:1879048192:268435456\n"}, 196608),  # alice's row above 100000; all of the first two windows
        ({"subuid": "big:1879048192:268435456\nalice:100000:65536\nbob:165536:65536\n"}, 262144),
    ],
)  # fmt: skip
def test_plan_range(taken: dict[str, Any], start: int) -> None:
    planned = plan_range(reading(**taken))
    assert planned == start
    assert planned % 65536 == 0


def test_plan_range_says_what_is_in_the_way() -> None:
    with pytest.raises(NoRange, match="big:1:2147483647"):
        plan_range(reading("big:1:2147483647\n"))


@pytest.mark.parametrize("what", ["ranges", "machines", "lxc", "libvirt", "mapped", "passwd", "group"])
def test_plan_range_does_not_guess(what: str) -> None:
    with pytest.raises(UnknownReading):
        plan_range(reading(**{what: Unknown("denied"), "overlaps": ()}))


@pytest.mark.parametrize(
    ("row", "good"),
    [
        (f"dockremap:{BASE}:65536\n", BASE),
        ("dockremap:165536:65536\n", None),  # not aligned
        (f"dockremap:{BASE}:65535\n", None),
        (f"dockremap:{BASE}:65536\ndockremap:{BASE + 65536}:65536\n", None),
        (f"dockremap:{BASE}:65536\nbob:{BASE}:9\n", None),
        ("", None),
    ],
)
def test_own_start(row: str, good: int | None) -> None:
    assert own_start(reading(row, row)) == good


def test_a_planned_row_is_found_good() -> None:
    text = with_row("# old\nalice:100000:65536\ndockremap:5:6\n99:7:8", BASE, instead=("dockremap", "99"))
    assert text == f"# old\nalice:100000:65536\ndockremap:{BASE}:65536\n"
    assert own_start(reading(text, text)) == BASE


def test_overlaps() -> None:
    found = reading("alice:100000:65536\nbob:165535:2\ncarol:1000:1\nalice:100000:5\n", "").overlaps
    assert found == (
        Overlap(Range("u", 100000, 65536, "alice", SUBUID), Range("u", 165535, 2, "bob", SUBUID)),
        Overlap(Range("u", 1000, 1, "carol", SUBUID), Range("u", 1000, 1, "alice", "passwd")),
    )


def test_a_user_has_rows_by_name_and_by_number() -> None:
    rows = "alice:100000:65536\n1000:100000:65536\n0:200000:9\nbob:200000:9\n"
    assert reading(rows).overlaps == ()
    other = reading("1000:100000:65536\n1001:100000:65536\n", passwd={"root": 0, "alice": 1000, "bob": 1001})
    assert [(pair.first.owner, pair.second.owner) for pair in known(other.overlaps)] == [("alice", "bob")]
    assert reading("1000:100000:65536\n", lxc=taken("LXC default", "/etc/lxc/default.conf", 100000)).overlaps == ()


def test_a_new_row_replaces_those_of_the_owner_by_number_too() -> None:
    rows = "99:165536:65536\nalice:100000:65536\n"
    (only,) = {change.text for change in giving("userns", reading(rows, rows, passwd=WITH_REMAP), BASE, "dockremap")}
    assert only == f"alice:100000:65536\ndockremap:{BASE}:65536\n"


REMAP = "dockremap:2013265920:65536\n"


def taken(owner: str, source: str, start: int = BASE) -> tuple[Range, ...]:
    return tuple(Range(kind, start, 65536, owner, source) for kind in "ug")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"lxc": taken("web", "/var/lib/lxc/web/config")}, "web:2013265920:65536 (/var/lib/lxc/web/config)"),
        ({"lxc": taken("LXC default", "/etc/lxc/default.conf")}, "LXC default:2013265920:65536"),
        ({"libvirt": taken("shop", "/etc/libvirt/lxc/shop.xml")}, "shop:2013265920:65536 (/etc/libvirt/lxc/shop.xml)"),
        ({"mapped": taken("running processes", "/proc", BASE + 9)}, "running processes:2013265929:65536 (/proc)"),
        ({"machines": taken("m1", "/var/lib/machines")}, "m1:2013265920:65536 (/var/lib/machines)"),
        ({"machines": taken("dockremap", "/var/lib/machines")}, "dockremap:2013265920:65536 (/var/lib/machines)"),
    ],
)
def test_who_uses_the_ids_of_a_row_without_one(more: dict[str, Any], says: str) -> None:
    where = context(reading(REMAP, REMAP, **more))
    assert state(where, "ranges") is State.FAIL
    assert f"dockremap:2013265920:65536 (/etc/subuid) overlaps {says}" in reason(where, "ranges")


@pytest.mark.parametrize("engine", ["lxc", "libvirt"])
def test_containers_that_have_a_persons_own_id(engine: str) -> None:
    where = context(reading(**{engine: (Range("u", 1000, 9, "web", "file"), Range("u", 1000, 9, "db", "file"))}))
    assert reason(where, "ranges").startswith("web:1000:9 (file) overlaps alice:1000:1 (passwd); the policy wants")
    assert reading(**{engine: (Range("u", 1000, 1, "web", "file"),)}).overlaps == (), "passed through on purpose"
    assert reading(mapped=both(900, 200)).overlaps == ()


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        ("root:1048576:65536\n", {"lxc": taken("web", "/var/lib/lxc/web/config", 1048576)}),
        (REMAP, {"lxc": (*taken("a", "/var/lib/lxc/a/config", 65536), *taken("b", "/var/lib/lxc/b/config", 65536))}),
        ("alice:100000:65536\n", {"lxc": taken("LXC default", "/etc/lxc/default.conf", 100000)}),
        (REMAP, {"machines": taken("m1", "/var/lib/machines", 524288)}),
        (REMAP, {"lxc": (*taken("a", "/srv/a/config", 65536), *taken("b", "/srv/b/config", 65536))}),
        ("root:1048576:65536\n", {"libvirt": taken("shop", "/etc/libvirt/lxc/shop.xml", 1048576)}),
        (REMAP, {"mapped": taken("running processes", "/proc")}),
        (
            f"bob:{BASE + 65536}:9\nbob:{BASE}:65536\nbob:{BASE + 65545}:65536\n",
            {"mapped": (Range("u", BASE + 9, 131072, "running processes", "/proc"),)},
        ),
        (
            "alice:558752:65536\n",
            {
                "machines": taken("m1", "/var/lib/machines", 720896),
                "mapped": taken("running processes", "/proc", 720896),
            },
        ),
    ],
)
def test_who_uses_ids_of_his_own(rows: str, more: dict[str, Any]) -> None:
    """root's containers of LXC and libvirt root's row; several of them the same, in whichever folder; users the default
    that is made for them; what runs, the rows that give it that, or what its machine has."""
    assert reading(rows, rows, **more).overlaps == ()


@pytest.mark.parametrize("what", ["lxc", "libvirt", "machines", "mapped"])
def test_ids_whose_users_are_not_known(what: str) -> None:
    assert isinstance(reading(REMAP, REMAP, **{what: Unknown("denied")}).overlaps, Unknown)


def test_root_beside_lxd_is_no_overlap() -> None:
    assert reading("root:1000000:65536\nlxd:1000000:65536\n", "").overlaps == ()
    assert reading("root:1000000:65536\nlxd:1000001:65536\n", "").overlaps != ()


# ------------------------------------------------------------------------------------------------ controls


@pytest.mark.parametrize(
    ("least", "more", "want"),
    [
        (None, {}, State.NOT_APPLICABLE),
        (10000, {}, State.PASS),
        (20000, {}, State.FAIL),
        (10000, {"max_user_namespaces": Unknown("denied")}, State.UNKNOWN),
    ],
)
def test_limits(least: int | None, more: dict[str, Any], want: State) -> None:
    assert state(context(reading(**more), rules=UsernsRules(max_user_namespaces=least)), "limits") is want


@pytest.mark.parametrize(
    ("userns", "want", "says"),
    [
        (reading(), State.PASS, "no range of subordinate ids"),
        (reading("alice:100000:65536\nbob:100001:1\n"), State.FAIL, "bob:100001:1 (/etc/subuid)"),
        (reading(passwd={"root": 0, "eve": 100500}), State.FAIL, "eve:100500:1 (passwd)"),
        (reading(overlaps=Unknown("denied")), State.UNKNOWN, "denied"),
    ],
)
def test_ranges(userns: UsernsReading, want: State, says: str) -> None:
    found = context(userns)
    assert state(found, "ranges") is want
    assert says in reason(found, "ranges")


ON = {"userns-remap": "dockremap"}


@pytest.mark.parametrize(
    ("engine", "want", "says"),
    [
        (docker(), State.FAIL, "userns-remap is False live"),
        (docker(ON), State.PENDING_RESTART, "what runs now keeps False"),
        (docker(ON, live=True), State.PASS, "True"),
        (docker(live=True), State.FAIL, "on disk it is False"),
        (docker(live=True, flags={"userns-remap": "default"}), State.PASS, "True"),
        (docker({"userns-remap": "root"}, live=True), State.FAIL, "on disk it is"),
        (docker(ON, info=Unknown("no answer")), State.UNKNOWN, "no answer"),
        (docker(daemon_json=DaemonJson("x", "{", Unknown("not JSON"))), State.UNKNOWN, "not JSON"),
        (docker(installed=False), State.NOT_APPLICABLE, "not installed"),
        (docker(info={"SecurityOptions": ["name=rootless"]}), State.NOT_APPLICABLE, "rootless"),
    ],
)
def test_remap(engine: DockerReading, want: State, says: str) -> None:
    found = context(engine=engine)
    assert state(found, "docker-remap") is want
    assert says in reason(found, "docker-remap")


def test_what_the_policy_does_not_ask_for_is_not_applicable() -> None:
    found = context(rules=UsernsRules())
    assert {finding.state for finding in found.findings.values()} == {State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(found)) == []


def test_a_limit_that_a_boot_takes_away_fails() -> None:
    found = context(rules=LIMITED, files=(STIG,))
    assert state(found, "limits") is State.FAIL
    assert "a restart would lose it" in reason(found, "limits")


# ------------------------------------------------------------------------------------------------ the plan


FULL = docker(
    stored=Stored(("app:1", "db:2"), 41_000_000, ("db", "old", "web"), ("data",)),
    containers=(container("web"), container("db", network_mode="host"), container("agent", privileged=True)),
    networks=(
        Network("bridge", "bridge", "docker0", False, True, (), ()),
        Network("shop", "bridge", "br-1", False, True, (), ()),
    ),
)


def test_an_empty_docker_is_remapped_without_asking() -> None:
    changes = list(SUBJECT.plan(context()))
    user, merged, subuid, subgid = changes
    assert isinstance(user, Command)
    assert "useradd --system" in user.script
    assert user.undo == "userdel dockremap"
    assert isinstance(subuid, WriteFile)
    assert (subuid.path, subuid.text) == (SUBUID, f"alice:100000:65536\ndockremap:{BASE}:65536\n")
    assert isinstance(subgid, WriteFile)
    assert subgid.path == SUBGID
    assert isinstance(merged, MergeJson)
    assert merged.put == ON


def test_what_would_vanish_is_asked_first() -> None:
    (only,) = list(SUBJECT.plan(context(engine=FULL)))
    assert isinstance(only, Blocked)
    for words in (
        "2 images (41 MB): app:1, db:2",
        "3 containers: db, old, web",
        "1 volumes: data",
        "1 networks: shop",
        "agent (privileged)",
        "db (host network)",
        "--data accept=userns-remap",
    ):
        assert words in only.reason


def test_accepted_the_containers_start_again_with_the_undo() -> None:
    changes = list(SUBJECT.plan(context(engine=FULL, accept="userns-remap")))
    assert not any(isinstance(change, Blocked) for change in changes)
    again, merged, _, subgid = changes[-4:]
    assert isinstance(again, Command)
    assert "IDS='id-agent id-db id-web'" in again.undo  # in the order in which they were started
    assert isinstance(merged, MergeJson)
    assert isinstance(subgid, WriteFile)
    assert "AutoRemove" in subgid.validate  # refused before anything stops
    assert subgid.service == merged.service == SERVICE
    assert "app:1" in again.interrupts
    own, last = arrange(changes, ["userns"])
    assert [type(change).__name__ for change in own.changes] == ["Command", "Command"]
    files = [change.path for change in last.changes if isinstance(change, WriteFile | MergeJson)]
    assert files == [SUBUID, SUBGID, merged.path]  # dockerd looks for the rows


def test_where_daemon_json_cannot_be_written_nothing_is_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Blocked("userns", "write daemon.json", why="it is not JSON")
    monkeypatch.setattr(docker_userns, "daemon_json", lambda *_, **__: refusal)
    assert list(SUBJECT.plan(context(engine=FULL, accept="userns-remap"))) == [refusal]


def test_rows_that_are_good_are_used_as_they_are() -> None:
    row = f"dockremap:{BASE + 65536}:65536\n"
    changes = list(SUBJECT.plan(context(reading(row, row, passwd={"root": 0, "dockremap": 99}))))
    _, subgid = changes
    assert isinstance(subgid, WriteFile)
    assert subgid.text == subgid.before == row


@pytest.mark.parametrize("more", [{"stored": Unknown("denied")}, {"containers": Unknown("denied")}])
def test_what_could_not_be_read_is_not_risked(more: dict[str, Any]) -> None:
    (only,) = list(SUBJECT.plan(context(engine=docker(**more))))
    assert isinstance(only, Blocked)
    assert "denied" in only.why


def test_containerd_store_cannot_be_remapped() -> None:
    engine = docker(info={"SecurityOptions": [], "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
    (only,) = list(SUBJECT.plan(context(engine=engine)))
    assert isinstance(only, Blocked)
    assert "containerd-snapshotter" in only.why


def test_a_closed_parent_is_opened_and_closed_again() -> None:
    changes = list(SUBJECT.plan(context(reading(data_parents={"/srv": "755", "/srv/my data": "700"}))))
    (opened,) = [change for change in changes if isinstance(change, Command) and "chmod" in change.script]
    assert (opened.script, opened.undo) == ("chmod o+x '/srv/my data'", "chmod 700 '/srv/my data'")


def test_planning_again_after_the_changes_yields_nothing() -> None:
    row = f"alice:100000:65536\ndockremap:{BASE}:65536\n"
    after = reading(row, row, passwd={"root": 0, "dockremap": 999}, group={"root": 0, "dockremap": 999})
    found = context(after, docker(ON, live=True, containers=(container(),)))
    assert {finding.state for finding in found.findings.values()} <= {State.PASS, State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(found)) == []


def test_on_disk_and_not_live_only_restarts() -> None:
    merged, kept = list(SUBJECT.plan(context(engine=docker({"userns-remap": "default"}))))
    assert isinstance(merged, MergeJson)
    assert merged.put == {"userns-remap": "default"}
    assert isinstance(kept, WriteFile)
    assert kept.text == kept.before


def test_a_limit_of_zero_is_raised_and_kept() -> None:
    live, kept = list(SUBJECT.plan(context(reading(max_user_namespaces=0), rules=LIMITED, files=(STIG,))))
    assert isinstance(live, Command)
    assert live.undo == "sysctl -q -w user.max_user_namespaces=0"
    assert isinstance(kept, WriteFile)
    assert (kept.path, kept.before) == (LIMIT_FILE, None)
    again = reading(max_user_namespaces=10000, limit_file=kept.text)
    files = (STIG, SysctlFile(LIMIT_FILE, kept.text))
    assert list(SUBJECT.plan(context(again, rules=LIMITED, files=files))) == []
    late = (*files, SysctlFile("/etc/sysctl.d/zz.conf", STIG.text))
    (blocked,) = list(SUBJECT.plan(context(again, rules=LIMITED, files=late)))
    assert isinstance(blocked, Blocked)
    assert "/etc/sysctl.d/zz.conf" in blocked.why


def test_what_one_run_plans_for_several_owners_does_not_meet() -> None:
    host = reading("", "")
    sizes = {DOCKER: 65536, PODMAN: 64 * 65536, LXC: 65536, PEOPLE: 65536}
    planned = [Range("u", plan_range(host, size, "", windows), size, "", "") for windows, size in sizes.items()]
    assert [(one, other) for one in planned for other in planned if one is not other and one.overlaps(other)] == []
    ends = sorted(window for windows in sizes for window in windows)
    assert all(end <= start for (_, end), (start, _) in pairwise(ends)), "nor where the first choices are taken"
