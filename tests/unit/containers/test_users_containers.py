"""Containers of users' engines, as a host listed them, and the shell that lists them."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from deploys.containers.judge import Host
from deploys.containers.mounts import mounts
from deploys.core.control import State
from facts import processes
from facts.containers import LISTS, Containers, ContainersReading, Filter
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.processes import Process
from tests.support.cases import folder, read
from tests.support.recorded import readings
from tests.support.two_engines import finding, survey

FACTS = Path(processes.__file__).parent
A, B = "a" * 64, "b" * 64
OF_ROOT = f"/run/containers/storage/overlay-containers/{A}/userdata/conmon.pid"
OF_USER = f"/run/user/1000/containers/overlay-containers/{B}/userdata/conmon.pid"


def shell(script: str, **programs: str) -> str:
    """What a script prints where these programs are others."""
    others = "\n".join(f"{name}() {{ {body}\n}}" for name, body in programs.items())
    return subprocess.run(["sh", "-c", f"{others}\n{script}"], capture_output=True, text=True, check=True).stdout


def test_each_users_file_system_below_run_user_is_searched() -> None:
    """A search that keeps to the file system of /run/user itself finds nothing."""
    path = OF_USER.replace("conmon.pid", "pidfile")
    listing = f"case $2:$3 in find:/run/user/*) echo {path} ;; *) grep . ;; esac"
    assert f"files {path}\n" in shell(f'{LISTS[0].read_text()}\necho "files $files"', run=":", timeout=listing)


def test_what_a_host_with_two_users_ran() -> None:
    host = readings(Containers)["debian13-rootless"]
    assert isinstance(host, ContainersReading)
    assert isinstance(host.containers, tuple)
    users = {"web", "priv", "etc", "pids", "hostnet", "inpod", "ea7909e18f05-infra"}
    judged = {each.shown for each in host.containers if isinstance(each.process, Process)}
    assert judged == {"podman:web", "podman:auto"} | {f"podman:{name} (user 1000)" for name in users}
    lies = {each.shown: each.process for each in host.containers if isinstance(each.process, Unknown)}
    assert lies.keys() == {"podman:cccccccccccc (user 1001)", "podman:dddddddddddd (user 1001)"}
    assert all("was started by none of this user's" in str(why) for why in lies.values())
    assert (host.unlisted, host.unseen) == ((), ())


@pytest.mark.parametrize("noted", [False, True])
def test_a_users_container_is_known_by_what_has_started_it_once_and_only_where_no_file_names_it(*, noted: bool) -> None:
    """As with XDG_RUNTIME_DIR=/tmp/x, or where cron has started it: Podman keeps its files below /tmp then."""
    output = read(folder(Containers) / "debian13-rootless.json")["output"]
    (row,) = [line for line in output if line.startswith("podman 1000 ") and "15e7a0afabbb" in line]
    pid, identity = row.split()[2:4]
    (parent,) = [line.partition("\t")[2] for line in output if line.startswith(f"/proc/{pid}/status:PPid:")]
    words = "".join(f"/proc/{parent}/cmdline:{word}\0" for word in ("conmon", "-c", identity, "-n", "web"))
    more = ["@n block monitors", f"1000:{parent}", "@n status 0", "@n block monitors.words", words, "@n status 0"]
    lines = [line for line in output if noted or line != row]
    host = Survey.parse([Containers], [*lines[:2], *more, *lines[2:]]).readings[Containers]
    (web,) = [each for each in host.containers if each.name == "web" and each.user]
    assert (web.shown, web.id, isinstance(web.process, Process)) == ("podman:web (user 1000)", identity, True)
    assert isinstance(web.filter, Unknown)
    assert ("in another place" in web.filter.unknown) is not noted
    assert host.unlisted == ()


def test_users_containers_that_were_left_off_are_not_said_to_have_no_engine() -> None:
    output = read(folder(Containers) / "debian13-rootless.json")["output"]
    left_off = [line for line in output if not re.match(r"podman 1000 ", line)]

    def unlisted(lines: list[str]) -> set[str]:
        host = Survey.parse([Containers], lines).readings[Containers]
        assert isinstance(host, ContainersReading)
        assert isinstance(host.unlisted, tuple)
        return {each.name[:11] for each in host.unlisted}

    late = ["@n block users.late", "", "@n status 1"]
    assert unlisted(left_off) == {"user.slice/"}
    assert unlisted([*left_off[:2], *late, *left_off[2:]]) == set()


def test_device_nodes_of_a_users_container_are_seen_though_they_are_mounts() -> None:
    host = readings(Containers)["debian13-rootless"]
    (priv,) = [each.process for each in host.containers if each.name == "priv"]
    (web,) = [each.process for each in host.containers if each.name == "web" and each.user]
    assert {"/dev/vda", "/dev/mem", "/dev/net/tun"} <= set(priv.nodes)
    assert {node.removeprefix("/dev/") for node in web.nodes} == {"null", "zero", "full", "random", "urandom", "tty"}


def test_a_node_that_is_mounted_over_a_plain_file_is_a_node(tmp_path: Path) -> None:
    (tmp_path / "null").touch()
    mounted = f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/null && mount --bind /dev/null {tmp_path}/null"
    moved = f"{mounted} && mount --move {tmp_path} /dev"
    script = f'run() {{ name=$1; shift; [ "$name" != processes.nodes ] || "$@"; }}\npids=$$\n{processes.SCRIPT}'
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*inside, moved], capture_output=True).returncode:
        pytest.skip("a test may make no user namespace here")
    done = subprocess.run([*inside, f"{moved}\n{script}"], capture_output=True, text=True)
    assert [line.partition("/root")[2] for line in done.stdout.splitlines()] == ["/dev/null c"]


OF_ROOTS = {"podman:web", "podman:auto"}


def nodes(host: ContainersReading) -> dict[str, tuple[str, ...] | Unknown]:
    return {each.shown: each.process.nodes for each in known(host.containers) if isinstance(each.process, Process)}


def test_what_never_answers_in_a_users_container_hides_no_node_of_roots() -> None:
    case = read(folder(Containers) / "debian13-rootless.json")["output"]
    at = case.index("@n block processes.nodes")
    host = readings(Containers)["debian13-rootless"]
    theirs = [each.pid for each in known(host.containers) if each.user and isinstance(each.process, Process)]
    late = ["@n block processes.users", " ".join(map(str, theirs)), "", "@n status 0",
            "@n block processes.nodes.users", "", "@n status 124"]  # fmt: skip
    slow = Containers().process([*case[:at], *late, *case[at:]])
    assert isinstance(slow, ContainersReading)
    before, after = nodes(host), nodes(slow)
    assert {name for name, found in after.items() if isinstance(found, Unknown)} == before.keys() - OF_ROOTS
    assert {name: after[name] for name in OF_ROOTS} == {name: before[name] for name in OF_ROOTS}


def test_device_nodes_in_users_containers_are_listed_apart() -> None:
    """A user's own notes may name a container of root's: that one stays with root's."""
    script = f'pids="1 $$ $PPID"; ours=" 1"; users=" /proc/$$/status /proc/1/status"\n{processes.SCRIPT}'
    asked = shell(script, run='echo "$@"')
    rows = {line.split()[0]: line for line in asked.splitlines() if line.startswith("processes.nodes")}
    assert "/proc/1/root/dev /proc/" in rows["processes.nodes"]
    assert "/proc/1/root/dev" not in rows["processes.nodes.users"]


def test_the_last_container_of_one_user_has_its_name_where_another_user_follows() -> None:
    """conmon's command line ends without a line's end."""

    def monitor(identity: str, name: str) -> subprocess.Popen[bytes]:
        words = ["conmon", "-c", identity, "-u", identity, "-b", "/bundle", "-p", "/p", "-n", name, "--exit-dir", "/x"]
        return subprocess.Popen(["sh", "-c", "read -r x; :", *words], stdin=subprocess.PIPE)

    with monitor(A, "web") as first, monitor(B, "db") as second:
        setup = f"pids= rows= names= theirs={OF_USER}:{second.pid}"
        script = f'{setup}\n{(FACTS / "engines/podman/list.sh").read_text()}\nprintf "%s\\n" "$names"'
        names = shell(script, engine=":", run=":", numbers=f"echo {OF_ROOT}:{first.pid}")
    assert names.splitlines() == [f"0 {A} web /bundle", f"1000 {B} db /bundle"]


@pytest.mark.parametrize(("file", "link"), [("unlisted.sh", "pid:[4026531836]"), ("rootless.sh", "user:[4026531837]")])
def test_what_is_in_the_hosts_own_namespace_is_left_out(file: str, link: str) -> None:
    """find(1) takes what it compares links with for a pattern, in which brackets are a class of characters."""
    asked = 'while [ "$1" != -lname ]; do shift; [ $# != 0 ] || { echo x; return; }; done; echo "asked $2" >&2'
    script = f"rows= names= users=\nexec 2>&1\n{(FACTS / file).read_text().replace('2>/dev/null', '')}"
    said = shell(script, readlink=f"echo '{link}'", find=asked, run='shift; "$@"')
    (pattern,) = [line.removeprefix("asked ") for line in said.splitlines() if line.startswith("asked ")]
    assert fnmatchcase(link, pattern)
    assert not fnmatchcase(link.replace("402653183", "402653299"), pattern)


def test_what_the_kernel_refuses_a_users_container_in_any_case_is_no_mount_of_the_hosts() -> None:
    host = readings(Containers)["debian13-rootless"]
    by_name = {each.name: each for each in host.containers if each.user == 1000}
    beside = Host(reading=host, all=host.containers, privileged=frozenset(), module="apparmor",
                  refused=lambda _: (), seccomp=None, declared=[])  # fmt: skip
    said = {name: mounts(by_name[name], beside) for name in ("web", "priv", "etc", "hostnet")}
    assert said == {"web": "", "priv": "", "hostnet": "", "etc": "has the host's /etc (writable) at /host"}


@pytest.mark.parametrize(
    ("filter_", "state", "says"),
    [
        ({"defaultAction": "SCMP_ACT_ALLOW"}, State.FAIL, "web (user 1000) has a seccomp filter that allows acct"),
        (None, State.FAIL, "was started without a seccomp filter of its own"),
        ({"defaultAction": "SCMP_ACT_ERRNO"}, State.PASS, "what a user's own filters refuse is read from that user's"),
        (Unknown("not read in time"), State.UNKNOWN, "not read in time"),
    ],
)
def test_a_users_filter_is_judged_by_what_is_known_of_it(filter_: Filter, state: State, says: str) -> None:
    host = readings(Containers)["debian13-rootless"]
    (web,) = [each for each in host.containers if each.name == "web" and each.user]
    alone = dataclasses.replace(host, containers=(dataclasses.replace(web, filter=filter_),))
    found = finding("seccomp", survey(alone), unfiltered=[])
    assert (found.state, says in found.verdict.reason) == (state, True), found.verdict.reason
