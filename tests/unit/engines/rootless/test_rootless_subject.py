"""Users who run containers without root: what a host gives them, judged by what the policy says of whom."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Blocked, Command, Install, Undoing, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.rootless.controls import SUBJECT
from deploys.engines.rootless.rules import RootlessRules
from deploys.kernel.sysctl_files import CLONE
from deploys.userns.controls import LIMIT
from facts import monitors
from facts.containers import Container, Containers
from facts.core.frame import PRELUDE
from facts.core.reading import Block, Section, Unknown
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.engines.rootless.rootless import Helper, Listening, Rootless, RootlessReading
from facts.userns import SUBGID, SUBUID, Userns
from tests.support.hosts import beside, docker
from tests.support.rootless import HELPERS, ROWS, context, ids, of, reading

SESSION = "/run/user/1001/podman/podman.sock"


def found(name: str, *running: Container, **more: Any) -> tuple[State, str]:
    finding = context(more.pop("host", None), *running, **more).findings[f"rootless.{name}"]
    return finding.state, finding.verdict.reason


def test_a_host_where_nobody_can_pays_nothing_unless_somebody_is_to() -> None:
    none = reading(installed=False, helpers=())
    assert {f.state for f in context(none, users=[], api=[]).findings.values()} == {State.NOT_APPLICABLE}
    assert found("helpers", host=none, users=["alice"], helpers=True)[0] is State.FAIL
    assert {f.state for f in context().findings.values()} == {State.NOT_APPLICABLE}, "nothing is declared"


def test_who_runs_containers_unasked_is_named_with_them() -> None:
    state, reason = found("users", of(1000, "web"), of(1001, "b"), of(1001, "a"), of(4711, "x"), users=["alice"])
    assert (state, reason.partition(";")[0]) == (State.FAIL, "bob runs a, b, 4711 runs x")
    assert found("users", of(1000, "web"), users=["alice"])[0] is State.PASS
    engine = docker({})
    late = dataclasses.replace(beside(engine), unseen=("what users keep below /run/user could not be read in full",))
    survey = Survey({Rootless: reading(), Containers: late, Docker: engine, Userns: ids()})
    policy = Policy("p", {RootlessRules: RootlessRules(users=[])})
    assert next(f for f in judge(SUBJECT.controls, survey, policy) if f.control.id == "rootless.users").state is (
        State.UNKNOWN
    )


RESTRICTED = "kernel.apparmor_restrict_unprivileged_userns"


@pytest.mark.parametrize(
    ("more", "state", "says"),
    [
        ({}, State.PASS, "may make"),
        ({"of_ids": ids(unprivileged_userns_clone=None)}, State.PASS, "may make"),
        ({"of_ids": ids(unprivileged_userns_clone=None), "boot": f"{CLONE} = 0"}, State.PASS, "may make"),
        ({"of_ids": ids(unprivileged_userns_clone=0)}, State.FAIL, f"{CLONE} is 0: no container of alice starts"),
        ({"boot": f"{CLONE} = 0"}, State.FAIL, f"/etc/sysctl.d/60.conf sets {CLONE}=0 for the next boot"),
        ({"of_ids": ids(apparmor_restrict=0)}, State.PASS, "may make"),
        ({"of_ids": ids(apparmor_restrict=1)}, State.FAIL, f"{RESTRICTED} is 1, and no AppArmor profile of podman or"),
        ({"of_ids": ids(apparmor_restrict=0), "boot": f"{RESTRICTED}=1"}, State.FAIL, "no AppArmor profile"),
        ({"of_ids": ids(apparmor_restrict=1), "profiles": {"rootlesskit": "unconfined"}}, State.PASS, "may make"),
        ({"of_ids": ids(apparmor_restrict=1), "profiles": {"/usr/bin/podman": "enforce"}}, State.PASS, "may make"),
        ({"of_ids": ids(apparmor_restrict=1), "profiles": Unknown("denied")}, State.UNKNOWN, "denied"),
        ({"of_ids": ids(unprivileged_userns_clone=Unknown("denied"))}, State.UNKNOWN, "denied"),
        ({"of_ids": ids(max_user_namespaces=0)}, State.FAIL, f"{LIMIT} is 0: no container of alice starts"),
        ({"boot": f"{LIMIT} = 0"}, State.FAIL, f"/etc/sysctl.d/60.conf sets {LIMIT}=0 for the next boot"),
        ({"of_ids": ids(supported=False, max_user_namespaces=None)}, State.FAIL, "built without user namespaces"),
        ({"of_ids": ids(supported=Unknown("late"))}, State.UNKNOWN, "late"),
        ({"users": []}, State.NOT_APPLICABLE, "nobody"),
    ],
)
def test_users_who_may_run_containers_may_make_user_namespaces(more: dict[str, Any], state: State, says: str) -> None:
    found_state, reason = found("allowed", **{"users": ["alice"], **more})
    assert (found_state, says in reason) == (state, True), reason


def test_what_keeps_them_from_it_is_for_the_operator() -> None:
    closed = context(of_ids=ids(unprivileged_userns_clone=0), users=["alice"])
    assert list(SUBJECT.plan(closed)) == []
    assert "kernel.rootless" in closed.findings["rootless.allowed"].control.by_hand


@pytest.mark.parametrize(
    ("of_ids", "user", "why"),
    [
        (ids("1000:100000:65536\n"), "alice", ""),  # by the user's number
        (ids("alice:100000:30000\nalice:200000:40000\n"), "alice", ""),
        (ids("alice:100000:65535\n"), "alice", "has fewer than 65536 ids in /etc/subuid and in /etc/subgid"),
        (ids(ROWS, ""), "alice", "has fewer than 65536 ids in /etc/subgid"),
        (ids(), "zoe", "is no user of this host"),
        (ids(f"{ROWS}bob:110000:65536\n"), "alice", "shares ids with another owner"),
    ],
)
def test_the_ids_of_a_user(of_ids: Any, user: str, why: str) -> None:
    state, reason = found("ranges", of_ids=of_ids, users=[user], ranges=True)
    assert (state, reason.startswith(f"{user} {why}")) == ((State.FAIL, True) if why else (State.PASS, False))


def test_ids_that_could_not_be_read_are_unknown() -> None:
    assert found("ranges", of_ids=ids(Unknown("denied"), "", overlaps=()), users=["alice"], ranges=True)[0] is (
        State.UNKNOWN
    )


def test_who_has_none_gets_ids_of_his_own_and_whoever_has_some_is_left_alone() -> None:
    plan = list(SUBJECT.plan(context(users=["alice", "bob", "till", "zoe"], ranges=True)))
    writes = [change for change in plan if isinstance(change, WriteFile)]
    assert [(w.path, w.text.removeprefix(ROWS)) for w in writes] == [
        (path, f"{user}:{start}:65536\n")
        for user, start in (("bob", 0x7400_0000), ("till", 0x7401_0000)) for path in (SUBUID, SUBGID)
    ]  # fmt: skip
    assert [change.why for change in plan if isinstance(change, Blocked)] == ["zoe is no user of this host"]
    short = ids("alice:100000:9\n")
    (blocked,) = SUBJECT.plan(context(of_ids=short, users=["alice"], ranges=True))
    assert isinstance(blocked, Blocked)
    assert "podman system migrate" in blocked.by_hand


@pytest.mark.parametrize(
    ("helpers", "says"),
    [
        (HELPERS, ""),
        ((), "newuidmap is not installed, newgidmap is not installed"),
        ((HELPERS[0], Helper("/usr/bin/newgidmap", "755", 0, "")), "/usr/bin/newgidmap has neither the setuid bit"),
        ((Helper("/usr/bin/newuidmap", "4777", 0, ""), HELPERS[1]), "/usr/bin/newuidmap can be changed by others"),
        ((Helper("/usr/bin/newuidmap", "4755", 7, "cap_setuid=ep"), HELPERS[1]), "can be changed by others than root"),
    ],
)
def test_the_programs_that_map_ids(helpers: Any, says: str) -> None:
    state, reason = found("helpers", host=reading(helpers=helpers), users=["alice"], helpers=True)
    assert (state, says in reason) == (State.FAIL if says else State.PASS, True)


def test_what_is_missing_is_installed_and_what_is_odd_is_told() -> None:
    wanted: dict[str, Any] = {"users": ["alice"], "helpers": True}
    (install,) = SUBJECT.plan(context(reading(helpers=()), **wanted))
    assert isinstance(install, Install)
    assert install.packages == ("uidmap",)
    (odd,) = SUBJECT.plan(context(reading(helpers=HELPERS[:1]), **wanted))
    assert isinstance(odd, Blocked)


def test_whose_services_stay() -> None:
    wanted: dict[str, Any] = {"users": ["alice"], "linger": True}
    assert found("linger", host=reading(lingering=("alice",)), **wanted)[0] is State.PASS
    state, reason = found("linger", host=reading(lingering=("bob",)), **wanted)
    assert state is State.FAIL
    assert reason.startswith("containers of alice stop at the end of the last login, services of bob start at boot and")
    enable, other = SUBJECT.plan(context(reading(lingering=("bob",)), **wanted))
    assert isinstance(enable, Command)
    assert (enable.script, enable.undo) == ("loginctl enable-linger alice", "loginctl disable-linger alice")
    assert isinstance(other, Blocked)
    assert found("linger", host=reading(lingering=Unknown("denied")), **wanted)[0] is State.UNKNOWN


def test_for_whom_an_engines_api_listens() -> None:
    listening = (Listening(1001, SESSION), Listening(1001, "0.0.0.0:2375"))
    state, reason = found("api", host=reading(listening=listening), api=[])
    assert (state, f"for bob on {SESSION}" in reason) == (State.FAIL, True)
    assert found("api", host=reading(listening=listening[:1]), api=["bob"])[0] is State.PASS
    assert "on 0.0.0.0:2375" in found("api", host=reading(listening=listening), api=["bob"])[1], "it has no passwords"
    everybody = reading(everybody=("podman.socket",))
    assert found("api", host=everybody, api=["alice"])[0] is State.PASS
    (close,) = SUBJECT.plan(context(everybody, api=[]))
    assert isinstance(close, Command)
    assert close.undo == "systemctl -q --global enable podman.socket"


def test_a_rollback_takes_no_ids_from_files_that_may_be_there() -> None:
    where = context(users=["bob"], ranges=True)
    entries = tuple(
        JournalEntry(id=str(n), subject="rootless", what="x", path=path, done=True, undone=False)
        for n, path in enumerate((SUBUID, SUBGID, "/etc/other"))
    )
    remarks = list(SUBJECT.undoing(Undoing(where, entries, {})))
    assert [(each.entry, each.stays.accepts if each.stays else ()) for each in remarks] == [
        ("0", ("rootless-ranges",)), ("1", ("rootless-ranges",))
    ]  # fmt: skip
    accepted = context(users=["bob"], ranges=True, accept="rootless-ranges")
    assert list(SUBJECT.undoing(Undoing(accepted, entries, {}))) == []


def test_a_rollback_that_ends_lingering_names_the_containers_that_end_with_it() -> None:
    wanted: dict[str, Any] = {"users": ["bob"], "linger": True}
    (change,) = SUBJECT.plan(context(reading(), of(1001, "web"), **wanted))
    entry = JournalEntry("1", "rootless", change.what, path=None, done=True, undone=False)
    told = SUBJECT.undoing(Undoing(context(reading(), of(1001, "web"), of(1001, "db"), **wanted), (entry,), {}))
    assert [each.interrupts for each in told] == ["containers of bob, unless logged in: db, web"]
    assert list(SUBJECT.undoing(Undoing(context(reading(), of(1000, "web"), **wanted), (entry,), {}))) == []


def test_ports_that_could_not_be_listed_are_unknown() -> None:
    said = {"programs": Block(0, ""), "sockets": Block(0, ""), "listeners": Block(127, "ss: not found")}
    assert isinstance(Rootless.parse(Section(said)).listening, Unknown)


def read(**blocks: str) -> RootlessReading:
    said = {"programs": "", "helpers": "", "lingering": "", "everybody": "", "sockets": "", **blocks}
    return Rootless.parse(Section({name: Block(0, text) for name, text in said.items()}))


@pytest.mark.parametrize(
    ("words", "at"),
    [
        (["podman", "--log-level=info", "system", "service", "-t0", "tcp:localhost:8888"], ["localhost:8888"]),
        (["podman", "system", "service", "unix:///srv/x.sock"], ["/srv/x.sock"]),
        (["podman", "system", "service", "tcp://[::1]:2375"], ["[::1]:2375"]),
        (["dockerd", "-H", "unix:///srv/d.sock", "--host=tcp://0.0.0.0:2375"], ["/srv/d.sock", "0.0.0.0:2375"]),
        (["dockerd", "-Htcp://127.0.0.1:2375/x", "-H", "fd://"], ["127.0.0.1:2375"]),
        (["podman", "--url", "tcp://elsewhere:2375", "ps"], []),
        (["podman", "run", "x", "system", "tcp://elsewhere:2375"], []),
        (["dockerd"], []),
        (["/usr/bin/dockerd", "-H", "0.0.0.0:2375", "-H", ":2376"], ["0.0.0.0:2375", ":2376"]),
        (["dockerd", "-DH", "tcp://10.0.0.1:2375", "-H=localhost:2376"], ["10.0.0.1:2375", "localhost:2376"]),
        (["dockerd", "-DHtcp://HOST:2375", "-H", "fd", "-H/run/d.sock"], ["HOST:2375"]),
        (["dockerd", "--label", "system", "service", "tcp://elsewhere:1"], []),
        (["podman", "exec", "web", "docker", "-H", "tcp://elsewhere:2375", "ps"], []),
        (["other", "-H", ":2375"], [":2375"]),
    ],
)
def test_where_an_engine_was_told_to_listen(words: list[str], at: list[str]) -> None:
    """Wherever it has its other files: nothing of it need be below /run/user."""
    said = "".join(f"/proc/9/cmdline:{word}\0" for word in words)
    host = read(engines="1001:9\n", listeners="", **{"engines.words": said})
    assert isinstance(host.listening, tuple)
    assert sorted(each.at for each in host.listening if each.uid == 1001) == sorted(at)


def test_what_listens_is_said_once_and_a_command_line_that_was_not_read_is_unknown() -> None:
    line = 'LISTEN 0 4096 *:8888 *:* users:(("systemd",pid=5,fd=3),("podman",pid=9,fd=3)) uid:1001 ino:1 sk:1\n'
    words = "".join(f"/proc/9/cmdline:{word}\0" for word in ("podman", "system", "service", "tcp:localhost:8888"))
    given: dict[str, Any] = {"engines.words": words, "listeners": line, "sockets": f"s 1001 {SESSION}\n"}
    assert read(engines="1001:9\n", **given).listening == (Listening(1001, SESSION), Listening(1001, "*:8888"))
    unread = read(engines="1001:9\n1001:10\n", **given).listening
    assert isinstance(unread, Unknown)


def test_the_script_reads_the_command_lines_of_users_engines_and_no_others(tmp_path: Path) -> None:
    script = Rootless.script[Rootless.script.index("# What listens on TCP") :]
    shutil.copy(shutil.which("sleep") or "", tmp_path / "podman")
    with subprocess.Popen(["podman", "60"], executable=tmp_path / "podman") as process:
        status = f"/proc/{process.pid}/status"
        given = f'ss() {{ :; }}\nbelieved() {{ case "$*" in *{status}*) echo 1001:{process.pid}; echo 0:1; esac; }}'
        try:
            said = subprocess.run(["sh", "-c", f"N=n\n{PRELUDE}\n{monitors.WORDS}\n{given}\n{script}"],
                                  capture_output=True, text=True, check=True).stdout  # fmt: skip
        finally:
            process.kill()
    assert f"/proc/{process.pid}/cmdline:podman\0" in said
    assert f"\n1001:{process.pid}\n" in said
    assert "0:1\n" not in said.replace(f"1001:{process.pid}", "")


def test_what_a_host_says() -> None:
    assert Rootless.parse(Section({})).installed is False
    host = read(
        helpers="4755 0 /usr/bin/newuidmap \n755 0 /usr/bin/newgidmap cap_setgid=ep\nnonsense",
        lingering="bob\nalice\n",
        everybody="podman.socket\npipewire.socket\n",
        sockets=f"d 1001 /run/user/1001/libpod\ns 1001 {SESSION}\ns 1000 /run/user/1000/docker.sock\ns 1000 relative\n",
        listeners='LISTEN 0 4096 *:2375 *:* users:(("podman",pid=9,fd=3)) uid:1001 ino:1 sk:1\n'
        'LISTEN 0 4096 0.0.0.0:8080 0.0.0.0:* users:(("rootlesskit",pid=8,fd=3)) uid:1001 ino:1 sk:1\nodd "podman"',
    )
    assert host == RootlessReading(
        True, HELPERS, ("alice", "bob"), ("podman.socket",),
        (Listening(1001, SESSION), Listening(1000, "/run/user/1000/docker.sock"), Listening(1001, "*:2375")),
    )  # fmt: skip
    absent = Section({"programs": Block(0, ""), "lingering": Block(2, "ls: cannot access: No such file or directory"),
                      "everybody": Block(2, "ls: Permission denied")})  # fmt: skip
    found = Rootless.parse(absent)
    assert found.lingering == ()
    assert isinstance(found.everybody, Unknown)
    assert isinstance(found.helpers, Unknown)
