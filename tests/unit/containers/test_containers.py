"""Running containers of every engine: what their processes are held to, by hosts as they were read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from deploys.containers.controls import RULES
from deploys.containers.judge import capability_names
from deploys.containers.rules import DEFAULT_CAPABILITIES, ContainersRules
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy
from deploys.seccomp.controls import SeccompRules
from facts.containers import Container, Containers, ContainersReading
from facts.core.frame import read_frame
from facts.core.reading import Block, Section, Unknown, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.lsm import Lsm, LsmReading
from facts.processes import Limits, Mount, Process
from facts.seccomp import Seccomp, SeccompReading
from tests.support.cases import folder
from tests.support.hosts import container, docker, listed, whole

SUBJECT = whole("containers")
NONE: dict[str, Any] = {key: [] for key in ContainersRules.model_fields if key not in ("limits", "unlimited")}


def recorded(case: str) -> ContainersReading:
    lines = json.loads((folder(Containers) / f"{case}.json").read_text())["output"]
    reading = Survey.parse([Containers], lines).readings[Containers]
    assert isinstance(reading, ContainersReading)
    return reading


ON_APPARMOR = [rule.name for rule in RULES if rule.module != "selinux"]
KERNEL = SeccompReading((), (), (), "x86_64", "6.12.1", profiles={}, daemon_started=None)
HOST = recorded("debian13-docker-podman")
NAMES = {
    "067f": "lim", "edd9": "sidecar", "d1da": "allowall", "ee49": "priv", "d080": "web", "20b1": "user1",
    "c50b": "alias",
}  # fmt: skip
assert isinstance(HOST.containers, tuple)
BY_NAME = {NAMES.get(each.id[:4], each.name): each for each in HOST.containers}


def survey(reading: ContainersReading = HOST, module: str = "apparmor", **of_docker: Any) -> Survey:
    """The host with its Docker, which says no more of its containers than their names."""
    listed = reading.containers if isinstance(reading.containers, tuple) else ()
    known = tuple(_docker_row(each) for each in listed if each.engine == "docker")
    lsm = LsmReading((module,), None, None, True, True)
    return Survey(
        {Containers: reading, Docker: docker(**{"containers": known, **of_docker}), Lsm: lsm, Seccomp: KERNEL}
    )


def _docker_row(of: Container) -> Any:
    name = NAMES.get(of.id[:4], of.name)
    return container(name, id=of.id, pid=of.pid, privileged=name == "priv")


def finding(name: str, host: Survey, **rules: Any) -> Finding:
    policy = Policy("test", {ContainersRules: ContainersRules(**rules), SeccompRules: SeccompRules()})
    return next(f for f in judge(SUBJECT.controls, host, policy) if f.control.id == f"containers.{name}")


def wrong(name: str, reading: ContainersReading = HOST, **rules: Any) -> dict[str, str]:
    found = finding(name, survey(reading), **(NONE | rules))
    return (
        found.verdict.live
        if found.state in (State.FAIL, State.PENDING_RESTART)
        else {found.state.value: found.verdict.reason}
    )


def only(**more: Any) -> ContainersReading:
    """The host with one container: Docker's `web`, whose process is given otherwise."""
    web = BY_NAME["web"]
    assert isinstance(web.process, Process)
    return dataclasses.replace(
        HOST, containers=(dataclasses.replace(web, process=dataclasses.replace(web.process, **more)),), unlisted=()
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
                    "allowall": "has the host's /run (with /run/docker.sock in it) mounted",
                    "user1": "has the host's /etc/localtime (writable) mounted",
                    "alias": "has the host's /etc (writable) mounted"}),
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
    assert finding("unlisted", survey(), **(NONE | {"unlisted": ["default/c1"]})).state is State.PASS
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
    nameless = survey(dataclasses.replace(HOST, containers=()), containers=(_docker_row(BY_NAME["web"]),))
    assert "its process was not found" in finding(rule, nameless, **(NONE | {"limits": ["memory"]})).verdict.reason


@pytest.mark.parametrize("rule", ON_APPARMOR)
def test_an_engine_that_cannot_be_asked_is_no_pass(rule: str) -> None:
    host = survey(containers=Unknown("docker inspect: refused"))
    assert finding(rule, host, **(NONE | {"limits": ["memory"]})).state is State.UNKNOWN
    not_root = recorded("not-root")
    assert finding(rule, survey(not_root), **(NONE | {"limits": ["memory"]})).state is State.UNKNOWN


@pytest.mark.parametrize("rule", ON_APPARMOR)
def test_without_an_engine_and_without_a_policy_nothing_applies(rule: str) -> None:
    nothing = Survey({Containers: recorded("no-engine"), Lsm: LsmReading(("apparmor",), None, None, True, True)})
    assert finding(rule, nothing, **(NONE | {"limits": ["memory"]})).state is State.NOT_APPLICABLE
    assert finding(rule, survey()).state is State.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("module", "label", "state"),
    [
        ("apparmor", "docker-default (enforce)", State.PASS),
        ("apparmor", "docker-default (complain)", State.FAIL),
        ("apparmor", "crun (unconfined)", State.FAIL),
        ("apparmor", "", State.FAIL),
        ("selinux", "system_u:system_r:container_t:s0:c1,c2", State.PASS),
        ("selinux", "system_u:system_r:svirt_lxc_net_t:s0:c1,c2", State.PASS),
        ("selinux", "system_u:system_r:spc_t:s0", State.FAIL),
        # what a container that is not labelled has from its engine, by how that was installed
        ("selinux", "system_u:system_r:unconfined_service_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:dockerd_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:container_engine_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:init_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:kernel_t:s0", State.FAIL),
        ("selinux", "", State.FAIL),
        ("landlock", "", State.FAIL),
    ],
)
def test_labels(module: str, label: str, state: State) -> None:
    assert finding("confined", survey(only(label=label), module), **NONE).state is state


def test_a_profile_confines_by_what_the_kernel_says_it_allows_whatever_it_is_called() -> None:
    wide = only(label="web-tier (enforce)", may_write=("/proc/sysrq-trigger",))
    found = finding("confined", survey(wide, "apparmor"), **NONE)
    assert found.state is State.FAIL
    assert (
        "web runs under the AppArmor profile web-tier, which lets it write /proc/sysrq-trigger" in found.verdict.reason
    )
    silent = only(label="web-tier (enforce)", may_write=Unknown("the kernel did not say"))
    assert finding("confined", survey(silent, "apparmor"), **NONE).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("label", "modes", "expected"),
    [
        # As Debian 13 has them of a container of Podman's with ids of its own.
        ("containers-default-0.62.2//&crun (mixed)", "crun (unconfined)\ncontainers-default-0.62.2 (enforce)",
         "containers-default-0.62.2 (enforce)"),
        ("a//&b (mixed)", "a (complain)\nb (unconfined)", "a//&b (mixed)"),
        ("a//&b (mixed)", "", "a//&b (mixed)"),
    ],
)  # fmt: skip
def test_a_stack_of_profiles_holds_by_the_one_that_is_enforced(label: str, modes: str, expected: str) -> None:
    lines = json.loads((folder(Containers) / "debian13-hardened-form.json").read_text())["output"]
    lines = [line.replace("current:unconfined", f"current:{label}") for line in lines]
    at = lines.index("@n block processes.spaces")
    lines[at:at] = ["@n block processes.modes", *modes.splitlines(), "", "@n status 0"]
    found = known(Survey.parse([Containers], lines)[Containers].containers)
    assert {known(each.process).label for each in found} == {expected}


# As a kernel 6.12 answered, of a profile that allows all and of Docker's own.
@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("allowall (enforce)", ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern")),
        ("docker-default (enforce)", ()),
        ("docker-default (complain)", ()),
        ("unconfined", ()),
        ("other (enforce)", None),
    ],
)
def test_what_the_kernel_answers_of_a_profile_is_read(label: str, expected: tuple[str, ...] | None) -> None:
    said = """\
/proc/sysrq-trigger 0x00050200 docker-default
/proc/sys/kernel/core_pattern 0x00058245 docker-default
/proc/sysrq-trigger 0x0005b37f allowall
/proc/sys/kernel/core_pattern 0x0005b37f allowall"""
    lines = json.loads((folder(Containers) / "debian13-hardened-form.json").read_text())["output"]
    lines = [line.replace("current:unconfined", f"current:{label}") for line in lines]
    at = lines.index("@n block processes.spaces")
    lines[at:at] = ["@n block processes.allowed", *said.splitlines(), "", "@n status 0"]
    found = known(Survey.parse([Containers], lines)[Containers].containers)
    answers = [known(each.process).may_write for each in found]
    assert answers
    assert {None if isinstance(each, Unknown) else each for each in answers} == {expected}


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
    row = dataclasses.replace(_docker_row(WEB), devices=("/dev/sda",))
    host = survey(dataclasses.replace(HOST, containers=(WEB,)), containers=(row,))
    assert finding("devices", host, **NONE).verdict.live == {"web": "has /dev/sda"}


def test_containers_of_a_docker_whose_files_lie_elsewhere_are_found_by_their_process() -> None:
    """dockerd --exec-root: its adapter finds no task, but the first process of each is there."""
    hidden = dataclasses.replace(PRIV, engine="", id="", name="x")
    reading = dataclasses.replace(HOST, containers=(), unlisted=(hidden,))
    host = survey(reading, containers=(_docker_row(PRIV),))
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


# --- SELinux


OWN, OTHER = (f"system_u:system_r:container_t:s0:c{number},c9" for number in (1, 2))


@pytest.mark.parametrize(
    ("labels", "state", "says"),
    [
        ([OWN, OTHER], State.PASS, "2 running containers were checked"),
        ([OWN, OWN], State.FAIL, "web shares the SELinux category c1,c9 with podman:db"),
        (["system_u:system_r:container_t:s0", OTHER], State.FAIL, "web has no SELinux category of its own (system_u"),
        (["system_u:system_r:container_t:s0-s0:c0.c1023", OTHER], State.FAIL, "web has no SELinux category of its own"),
        (["system_u:system_r:spc_t:s0", OTHER], State.PASS, "2 running"),  # containers.confined says that
    ],
)
def test_each_container_has_a_category_of_its_own(labels: list[str], state: State, says: str) -> None:
    host = labelled(labels)
    found = finding("own-category", survey(host, "selinux"), shared_categories=[])
    assert (found.state, says in found.verdict.reason) == (state, True), found.verdict.reason
    assert finding("own-category", survey(host, "apparmor"), shared_categories=[]).state is State.NOT_APPLICABLE
    assert finding("own-category", survey(host, "selinux"), shared_categories=["web", "db"]).state is State.PASS


@pytest.mark.parametrize(("kind", "state"), [("ipc", State.PASS), ("pid", State.PASS), ("net", State.FAIL)])
def test_who_shares_processes_or_memory_shares_its_category_too(kind: str, state: State) -> None:
    """Docker gives a container that joins another's processes or memory the other's label, Podman all of a pod."""
    host = labelled([OWN, OWN], **{kind: 77})
    assert finding("own-category", survey(host, "selinux"), shared_categories=[]).state is state
    assert isinstance(host.namespaces, dict)
    hosts = labelled([OWN, OWN], **{kind: host.namespaces[kind]})
    assert finding("own-category", survey(hosts, "selinux"), shared_categories=[]).state is State.FAIL


def labelled(labels: list[str], **namespaces: int) -> ContainersReading:
    """The host with Docker's `web` and Podman's `db` of these labels, which share these namespaces."""
    web, db = listed("web", "docker", label=labels[0]), listed("db", label=labels[1])
    boxes = []
    for each in (web, db):
        assert isinstance(each.process, Process)
        process = dataclasses.replace(each.process, namespaces={**each.process.namespaces, **namespaces})
        boxes.append(dataclasses.replace(each, process=process))
    return dataclasses.replace(HOST, containers=tuple(boxes), unlisted=())
