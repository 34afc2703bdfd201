"""Running containers of every engine: what their processes are held to, by hosts as they were read."""

from __future__ import annotations

import dataclasses
import json

import pytest

from deploys.containers.judge import capability_names
from deploys.containers.rules import DEFAULT_CAPABILITIES, ContainersRules
from deploys.core.control import State
from facts.containers import Container, Containers, ContainersReading
from facts.core.frame import read_frame
from facts.core.reading import Block, Section, Unknown
from facts.core.survey import Survey
from facts.lsm import Lsm, LsmReading
from facts.processes import Limits, Mount, Process
from tests.support.cases import folder
from tests.support.two_engines import (
    BY_NAME,
    HOST,
    NONE,
    ON_APPARMOR,
    docker_row,
    finding,
    only,
    recorded,
    survey,
    wrong,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("privileged", {"priv": "is privileged", "podman:ppriv": "holds every capability and has no system call"}),
        ("host-namespaces", {"lim": "shares the host's net", "podman:ppriv": "shares the host's net namespace"}),
        ("joined-namespaces", {"web": "shares namespaces: net with sidecar", "sidecar": "net with web"}),
        ("capabilities", {"lim": "may hold SYS_ADMIN", "priv": "may hold 27", "podman:ppriv": "may hold 27"}),
        ("seccomp", {"allowall": "filter that allows acct", "priv": "has no seccomp", "podman:ppriv": "has no"}),
        ("devices", {"lim": "has /dev/kmsg", "priv": "has /dev/autofs", "podman:ppriv": "has /dev/autofs"}),
        ("mounts", {"priv": "has the host's / (with /run/docker.sock in it)",
                    "allowall": "has the host's /run (with /run/docker.sock in it) at /",
                    "user1": "has the host's /etc/localtime (writable) at /",
                    "alias": "has the host's /etc (writable) at /"}),
        ("masks", {"alias": "has no mask over /sys/fs/cgroup", "allowall": "has no mask over /proc/bus, /proc/fs",
                   "priv": "has no mask over /proc/bus",
                   "podman:ppriv": "has no mask over /proc/bus"}),
    ],
)  # fmt: skip
def test_what_a_real_host_with_two_engines_ran(name: str, expected: dict[str, str]) -> None:
    found = wrong(name)
    assert found.keys() == expected.keys()
    assert [shown for shown, words in expected.items() if words not in found[shown]] == []


def test_a_reason_says_what_the_policy_wants_and_by_which_key() -> None:
    one = only(seccomp=0)
    reasons = [finding("seccomp", survey(one), unfiltered=names).verdict.reason for names in ([], ["db"])]
    assert reasons[0].endswith("web has no seccomp filter: started before the engine had its present defaults, which a "
                               "restart gives; the policy allows none (containers.unfiltered)")  # fmt: skip
    assert reasons[1].endswith("; the policy allows only db (containers.unfiltered)")
    assert "the policy wants limits of memory, cpu (containers.limits)" in finding(
        "limits", survey(), limits=["memory", "cpu"]).verdict.reason  # fmt: skip


def test_who_has_ids_of_its_own_privileges_and_limits() -> None:
    assert "podman:auto" not in wrong("user-namespace")
    assert "web" in wrong("user-namespace")
    assert "lim" not in wrong("no-new-privileges")
    assert "web" in wrong("no-new-privileges")
    assert wrong("limits", limits=["memory", "cpu"])["web"] == "has no limit of memory, cpu"
    assert "lim" not in wrong("limits", limits=["memory", "cpu", "pids"])
    assert "web" not in wrong("limits", limits=["memory"], unlimited=["web"])
    assert wrong("limits", only(limits=Limits(memory=1)), limits=["memory"])["pass"]


def test_what_no_engine_names_is_named_by_its_control_group() -> None:
    assert finding("unlisted", survey(), **NONE).verdict.live == ["default/c1"]
    named = finding("unlisted", survey(), **(NONE | {"unlisted": ["default/c1"]}))
    assert named.state is State.PASS
    assert {name: named.verdict.live[name] for name in ("web", "podman:auto")} == {
        "web": "docker",
        "podman:auto": "podman",
    }
    gone = dataclasses.replace(HOST, unlisted=(Container("", 0, "", "process 9", 9, None, Unknown("gone")),))
    assert finding("unlisted", survey(gone), **NONE).state is State.UNKNOWN


def test_a_policy_names_containers_of_every_engine_or_of_one() -> None:
    assert wrong("host-namespaces", host_namespaces=["lim", "podman:ppriv"])["pass"]
    assert wrong("host-namespaces", host_namespaces=["lim", "docker:ppriv"]).keys() == {"podman:ppriv"}
    assert wrong("capabilities", capabilities=["SYS_ADMIN"]).keys() == {"priv", "podman:ppriv"}


def test_who_may_be_privileged_is_not_asked_for_what_that_takes_away() -> None:
    for name in ("capabilities", "devices", "masks", "seccomp"):
        assert not {"priv", "podman:ppriv"} & wrong(name, privileged=["priv", "ppriv"]).keys(), name
    assert "priv" in wrong("mounts", privileged=["priv", "ppriv"])


@pytest.mark.parametrize("rule", ON_APPARMOR)
def test_a_container_of_which_nothing_is_known_is_no_pass(rule: str) -> None:
    lost = dataclasses.replace(BY_NAME["web"], process=Unknown("gone"))
    reading = dataclasses.replace(HOST, containers=(lost,))
    host = survey(reading)
    assert finding(rule, host, **(NONE | {"limits": ["memory"]})).state is State.UNKNOWN
    nameless = survey(dataclasses.replace(HOST, containers=()), containers=(docker_row(BY_NAME["web"]),))
    assert "its process was not found" in finding(rule, nameless, **(NONE | {"limits": ["memory"]})).verdict.reason


@pytest.mark.parametrize("rule", ON_APPARMOR)
def test_an_engine_that_cannot_be_asked_is_no_pass(rule: str) -> None:
    host = survey(only(), containers=Unknown("docker inspect: refused"))
    found = finding(rule, host, **(NONE | {"limits": ["memory"]}))
    assert found.state in (State.UNKNOWN, State.FAIL)
    assert "Docker did not say which containers it runs: docker inspect: refused" in found.verdict.reason
    not_root = recorded("not-root")
    assert finding(rule, survey(not_root), **(NONE | {"limits": ["memory"]})).state is State.UNKNOWN


def test_what_is_known_of_others_is_said_while_an_engine_does_not_answer() -> None:
    """Podman's privileged container is named, and Docker's own by what their processes are held to."""
    silent = survey(containers=Unknown("docker inspect: no answer in 5 s"))
    found = finding("privileged", silent, **NONE)
    assert found.state is State.FAIL
    assert "podman:ppriv" in found.verdict.live
    assert "no answer in 5 s" in found.verdict.reason
    late = survey(waiting=Unknown("no answer in 6 s"))
    assert "podman:ppriv" in finding("privileged", late, **NONE).verdict.live
    assert finding("unlisted", silent, **NONE).state is State.UNKNOWN, "it may be Docker's"


@pytest.mark.parametrize("rule", ON_APPARMOR)
def test_without_an_engine_and_without_a_policy_nothing_applies(rule: str) -> None:
    nothing = Survey({Containers: recorded("no-engine"), Lsm: LsmReading(("apparmor",), None, None, True, True)})
    assert finding(rule, nothing, **(NONE | {"limits": ["memory"]})).state is State.NOT_APPLICABLE
    assert finding(rule, survey()).state is State.NOT_APPLICABLE


def mounted(root: str, point: str = "/x", device: str = "254:1", writable: bool = True) -> ContainersReading:
    return only(mounts=(Mount(device, root, point, writable, "ext4"),))


assert isinstance(HOST.mounts, tuple)
DEVICE, RUN = (next(row.device for row in HOST.mounts if row.point == point) for point in ("/", "/run"))


@pytest.mark.parametrize(
    ("root", "device", "writable", "state"),
    [
        ("/etc", DEVICE, True, State.FAIL),
        ("/etc", DEVICE, False, State.PASS),
        ("/usr/local/bin", DEVICE, True, State.FAIL),
        ("/var", DEVICE, True, State.FAIL),
        ("/srv/data", DEVICE, True, State.PASS),
        ("/var/lib/docker/volumes/x/_data", DEVICE, True, State.PASS),
        ("/var/lib/docker/231072.231072/volumes/x/_data", DEVICE, True, State.PASS),
        ("/var/lib/docker/overlay2", DEVICE, True, State.FAIL),
        ("/var/spool/cron", DEVICE, True, State.FAIL),
        ("/user/1000/podman", RUN, False, State.FAIL),
        ("/docker.sock", RUN, False, State.FAIL),
        ("/podman", RUN, False, State.FAIL),
        ("/", RUN, False, State.FAIL),
        ("/lock", RUN, True, State.PASS),
        ("/etc", "7:7", True, State.PASS),
    ],
)
def test_a_mount_is_judged_by_where_on_the_host_it_is(root: str, device: str, writable: bool, state: State) -> None:
    assert finding("mounts", survey(mounted(root, device=device, writable=writable)), **NONE).state is state


def test_capability_names() -> None:
    assert capability_names(0xA80425FB) == DEFAULT_CAPABILITIES
    assert capability_names(1 << 50) == {"50"}
    with pytest.raises(ValueError, match="CAP_NET_ADMIN is no capability"):
        ContainersRules(capabilities=["CAP_NET_ADMIN"])


def test_a_capability_counts_wherever_a_process_could_take_it_from() -> None:
    for name in ("cap_eff", "cap_bnd", "cap_amb"):
        assert wrong("capabilities", only(**{name: 1 << 12})) == {"web": "may hold NET_ADMIN"}


# ------------------------------------------------------------------------------------------ what a host may say instead


def said(*changes: tuple[str, str, str]) -> ContainersReading:
    """The recorded host, in whose blocks (name, old, new) something is other; old "" puts it before the rest."""
    output = json.loads((folder(Containers) / "debian13-docker-podman.json").read_text())["output"]
    [section] = read_frame(output).values()
    assert isinstance(section, Section)
    for name, old, new in changes:
        block = section.blocks[name]
        text = block.text.replace(old, new) if old else new + block.text
        assert text != block.text
        section.blocks[name] = Block(block.status, text)
    reading = Containers.read(section)
    assert isinstance(reading, ContainersReading)
    return reading


PRIV, WEB = BY_NAME["priv"], BY_NAME["web"]


def test_a_user_cannot_have_a_process_of_the_host_taken_for_his_container() -> None:
    lie = f"podman 1000 {PRIV.pid} {'a' * 64} -\n"
    found = said(("containers", "", lie))
    assert isinstance(found.containers, tuple)
    (mine,) = [each for each in found.containers if each.user == 1000]
    assert isinstance(mine.process, Unknown)
    assert wrong("privileged", found).keys() == {"priv", "podman:ppriv"}, "and root's are judged as before"


def test_a_user_gives_names_to_his_own_containers_alone() -> None:
    podman = BY_NAME["ppriv"]
    found = said(("podman.named", "", f"1000 {podman.id} web /home/x\n"))
    assert "podman:ppriv" in wrong("privileged", found, privileged=["web"])
    own = dataclasses.replace(BY_NAME["auto"], user=1000, name="web")
    reading = dataclasses.replace(HOST, containers=(own,))
    assert wrong("no-new-privileges", reading, new_privileges=["web"]).keys() == {"podman:web (user 1000)"}
    assert wrong("no-new-privileges", reading, new_privileges=["1000/web"])["pass"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("masks", ("containers", "", "podman 1000 x\n")),
        ("limits", ("containers", "", f"docker 0 5 {'g' * 64} -\n")),
    ],
)
def test_a_row_that_makes_no_sense_costs_itself_and_is_no_pass(name: str, change: tuple[str, str, str]) -> None:
    found = said(change)
    assert isinstance(found.containers, tuple)
    assert len(found.containers) == len(HOST.containers if isinstance(HOST.containers, tuple) else ())
    harmless = dataclasses.replace(found, containers=(BY_NAME["lim"],))
    assert finding(name, survey(harmless), **NONE, limits=["pids"]).state is State.UNKNOWN


def test_a_mount_that_cannot_be_read_leaves_its_container_unknown() -> None:
    found = said(("processes.mounts", f"/proc/{WEB.pid}/mountinfo:", f"/proc/{WEB.pid}/mountinfo:x "))
    assert isinstance(found.containers, tuple)
    assert [each.pid for each in found.containers if isinstance(each.process, Unknown)] == [WEB.pid]


def test_device_nodes_that_could_not_be_listed_in_time_are_no_pass() -> None:
    nodes = only(nodes=Unknown("not in time"))
    assert finding("devices", survey(nodes), **NONE).state is State.UNKNOWN
    assert finding("privileged", survey(nodes), **NONE).state is State.PASS


def test_root_of_the_host_may_have_any_number_within() -> None:
    assert wrong("user-namespace", only(uid_map=((0, 1000, 1), (1, 0, 1)))) == {
        "web": "runs as the host's own users: its root is the host's root"
    }


def test_a_container_whose_engine_gave_it_no_filter_is_unfiltered_whatever_its_process_inherited() -> None:
    bare = dataclasses.replace(WEB, filter=None)
    assert "without a seccomp filter" in wrong("seccomp", dataclasses.replace(HOST, containers=(bare,)))["web"]


def test_a_device_that_the_engine_was_asked_for_counts_wherever_it_is() -> None:
    row = dataclasses.replace(docker_row(WEB), devices=("/dev/sda",))
    host = survey(dataclasses.replace(HOST, containers=(WEB,)), containers=(row,))
    assert finding("devices", host, **NONE).verdict.live == {"web": "has /dev/sda"}


def test_containers_of_a_docker_whose_files_lie_elsewhere_are_found_by_their_process() -> None:
    """dockerd --exec-root: its adapter finds no task, but the first process of each is there."""
    hidden = dataclasses.replace(PRIV, engine="", id="", name="x")
    reading = dataclasses.replace(HOST, containers=(), unlisted=(hidden,))
    host = survey(reading, containers=(docker_row(PRIV),))
    assert finding("mounts", host, **NONE).state is State.FAIL
    assert finding("unlisted", host, **NONE).state is State.PASS


def test_without_a_known_engine_other_containers_are_not_passed_over() -> None:
    reading = dataclasses.replace(HOST, engines=(), containers=())
    host = Survey({Containers: reading, Lsm: LsmReading(("apparmor",), None, None, True, True)})
    found = finding("privileged", host, **NONE)
    assert (found.state, "default/c1" in found.verdict.reason) == (State.UNKNOWN, True)


def test_whose_name_is_not_known_may_be_one_that_the_policy_names() -> None:
    down = survey(dataclasses.replace(HOST, containers=(PRIV,)), running=False)
    assert finding("mounts", down, **(NONE | {"mounts": ["monitor"]})).state is State.UNKNOWN
    assert finding("mounts", down, **NONE).state is State.FAIL


@pytest.mark.parametrize(("name", "rule"), [("host.masked", "masks"), ("processes.nodes", "devices")])
@pytest.mark.parametrize("status", [None, 127, 137])
def test_what_could_not_be_listed_is_unknown_and_does_not_hold(name: str, rule: str, status: int | None) -> None:
    output = json.loads((folder(Containers) / "debian13-docker-podman.json").read_text())["output"]
    [section] = read_frame(output).values()
    assert isinstance(section, Section)
    del section.blocks[name]
    if status is not None:
        section.blocks[name] = Block(status, "")
    reading = Containers.read(section)
    assert isinstance(reading, ContainersReading)
    assert wrong(rule, reading).keys() == {"unknown"}


def test_the_hosts_namespace_of_control_groups_counts_where_they_are_one_tree() -> None:
    own, process = HOST.namespaces, BY_NAME["web"].process
    assert isinstance(own, dict)
    assert isinstance(process, Process)
    host = only(namespaces=process.namespaces | {"cgroup": own["cgroup"]})
    assert wrong("host-namespaces", host) == {"web": "shares the host's cgroup namespace"}
    assert isinstance(host.mounts, tuple)
    older = tuple(dataclasses.replace(each, type="tmpfs") if each.type == "cgroup2" else each for each in host.mounts)
    assert wrong("host-namespaces", dataclasses.replace(host, mounts=older))["pass"]
