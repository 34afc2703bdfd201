"""What Podman gives new containers: judged against the policy, and what harden writes for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Context, Undoing, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.podman import privileges
from deploys.engines.podman.controls import SUBJECT
from deploys.engines.podman.rules import PodmanRules
from deploys.seccomp.profile import OURS
from facts.containers import Container, Containers
from facts.core.reading import Unknown
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines.podman import Podman
from facts.engines.podman.podman import DROP_IN, HOOK, HOOKS, PROGRAM, PodmanReading, Setting, Socket
from facts.engines.rootless.rootless import Listening, Rootless, RootlessReading
from facts.seccomp import Seccomp, SeccompReading
from facts.userns import Range, Userns, UsernsReading
from tests.support.hosts import beside, docker, listed

CLOSED = Socket(False, False, "", "", "")
KERNEL = SeccompReading((), (), (), "x86_64", "6.12.1", profiles={}, daemon_started=None)
ROWS = tuple(Range(kind, 200_000, 1 << 22, "containers", path) for kind, path in
             (("u", "/etc/subuid"), ("g", "/etc/subgid")))  # fmt: skip
LATER = "/etc/containers/containers.conf.d/zzz.conf"


def podman(settings: dict[str, Any] | Unknown | None = None, file: str = DROP_IN, **more: Any) -> PodmanReading:
    read = settings if isinstance(settings, Unknown) else {k: Setting(v, file) for k, v in (settings or {}).items()}
    values: dict[str, Any] = {
        "installed": True, "version": "5.4.2", "settings": read, "broken": (), "drop_in": None, "hook": None,
        "program": None, "socket": CLOSED, "filter": OURS, "volumes": (), "serving": (),
    }  # fmt: skip
    return PodmanReading(**(values | more))


def userns(ranges: tuple[Range, ...] = ROWS) -> UsernsReading:
    values: dict[str, Any] = dict.fromkeys(UsernsReading.__dataclass_fields__, ())
    names = {"passwd": {"root": 0, "ops": 1000}, "group": {"root": 0}}
    return UsernsReading(
        **(values | names | {"ranges": ranges, "podman_auto": None, "subuid": "x:1:2\n", "subgid": None})
    )


def context(
    reading: PodmanReading, *running: Container, ranges: Any = ROWS, accept: str = "", listening: Any = (), **rules: Any
) -> Context:
    rootless = RootlessReading(True, (), (), (), listening)
    host = Survey({Podman: reading, Seccomp: KERNEL, Userns: userns(ranges), Rootless: rootless,
                   Containers: beside(docker(installed=False, running=False), *running, also=("podman",))})  # fmt: skip
    policy = Policy("p", {PodmanRules: PodmanRules(**rules)}, accept=frozenset(accept.split()))
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(reading: PodmanReading, name: str, **more: Any) -> tuple[State, str]:
    finding = context(reading, **more).findings[f"podman.{name}"]
    return finding.state, finding.verdict.reason


def written(changes: Iterable[Change]) -> dict[str, Any]:
    (text,) = (c.text for c in changes if isinstance(c, WriteFile) and c.path == DROP_IN)
    return {f"{table}.{key}": value for table, keys in tomllib.loads(text).items() for key, value in keys.items()}


CAPS = ["CHOWN", "KILL"]
# The policy's key, what it says, settings that are right, settings that are wrong, and a word of the reason for those.
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str]] = {
    "user_namespace": ("auto", {"userns": "auto:size=65536"}, {"userns": "host"}, "userns is host (/etc/containers"),
    "capabilities": (CAPS, {"default_capabilities": ["CAP_CHOWN"]}, {"default_capabilities": ["BPF"]}, "get BPF"),
    "seccomp": (True, {}, {"seccomp_profile": "unconfined"}, "seccomp_profile is unconfined"),
    "confined": (True, {"label": True}, {"label": False}, "label is false"),
    "private": (True, {"netns": "bridge", "volumes": []}, {"pidns": "host", "devices": ["/dev/sda"]}, "pidns is host"),
    "pids": (100, {"pids_limit": 50}, {"pids_limit": 0}, "pids_limit is 0"),
    "memory": (64 << 20, {"cgroup_conf": [f"memory.max={32 << 20}", "memory.swap.max=0"]},
               {"cgroup_conf": ["memory.max=max"]}, "max bytes"),
    "log_driver": ("journald", {"log_driver": "journald"}, {"log_driver": "none"}, "log_driver is none"),
    "keyring": (True, {}, {"keyring": False}, "keyring is false"),
    "read_only": (True, {"read_only": True}, {}, "read_only is false, as no file sets it"),
}  # fmt: skip


@pytest.mark.parametrize("key", CASES)
def test_each_default_is_judged_and_put_right(key: str) -> None:
    wanted, right, wrong, word = CASES[key]
    control = key.replace("_", "-")
    good, bad = (podman({f"containers.{k}": v for k, v in each.items()}) for each in (right, wrong))
    assert found(good, control, **{key: wanted})[0] is State.PASS
    state, reason = found(bad, control, **{key: wanted})
    assert (state, word in reason, f"(podman.{key})" in reason) == (State.FAIL, True, True), reason
    assert found(bad, control)[0] is State.NOT_APPLICABLE
    changes = list(SUBJECT.plan(context(bad, **{key: wanted})))
    if control in ("seccomp", "confined"):
        assert [type(each) for each in changes] == [Blocked]
        return
    after = podman(dict(bad_settings(bad)) | written(changes))
    assert found(after, control, **{key: wanted})[0] is State.PASS


def bad_settings(reading: PodmanReading) -> Iterable[tuple[str, Any]]:
    assert isinstance(reading.settings, dict)
    return ((key, found.value) for key, found in reading.settings.items())


def test_without_podman_nothing_applies_and_nothing_is_planned() -> None:
    none = podman(installed=False)
    given = {key: case[0] for key, case in CASES.items()} | {"api": "none", "no_new_privileges": True}
    made = context(none, **given)
    assert {f.state for f in made.findings.values()} == {State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(made)) == []


def test_a_broken_file_fails_by_its_name_and_all_else_is_unknown() -> None:
    broken = podman(Unknown("no"), broken=("/etc/containers/containers.conf: not TOML",))
    assert found(broken, "settings") == (
        State.FAIL, "no podman command works with this: /etc/containers/containers.conf: not TOML",
    )  # fmt: skip
    assert found(broken, "pids", pids=9)[0] is State.UNKNOWN
    assert found(broken, "no-new-privileges", no_new_privileges=True)[0] is State.UNKNOWN
    assert list(SUBJECT.plan(context(broken, no_new_privileges=True, pids=9))) == []


def test_a_file_that_counts_after_ours_is_named_and_nothing_is_written() -> None:
    late = podman({"containers.pids_limit": 0}, LATER)
    (blocked,) = SUBJECT.plan(context(late, pids=9))
    assert isinstance(blocked, Blocked)
    assert LATER in blocked.why


def test_keys_that_are_in_the_drop_in_stay_there() -> None:
    ours = podman({"containers.keyring": True}, drop_in="[containers]\nkeyring = true\n")
    assert written(SUBJECT.plan(context(ours, pids=9))) == {"containers.keyring": True, "containers.pids_limit": 9}


def test_all_that_can_be_set_is_written_at_once_and_what_waits_is_left_out() -> None:
    made = context(podman(volumes=("data",)), pids=9, log_driver="journald", user_namespace="auto")
    changes = list(SUBJECT.plan(made))
    assert written(changes) == {"containers.pids_limit": 9, "containers.log_driver": "journald"}
    assert [type(c) for c in changes] == [Blocked, WriteFile]
    assert changes[1].controls == ("podman.pids", "podman.log-driver")


def test_a_filter_counts_by_what_it_allows() -> None:
    wide = podman({"containers.seccomp_profile": "/etc/own.json"}, filter={"defaultAction": "SCMP_ACT_ALLOW"})
    state, reason = found(wide, "seccomp", seccomp=True)
    assert (state, "/etc/own.json allows" in reason) == (State.FAIL, True)
    assert found(podman(filter=Unknown("no")), "seccomp", seccomp=True)[0] is State.UNKNOWN


# ------------------------------------------------------------------------------------------------ user namespaces


def test_without_a_range_no_container_would_start_so_it_is_given_first() -> None:
    auto = podman({"containers.userns": "auto"})
    state, reason = found(auto, "user-namespace", ranges=(), user_namespace="auto")
    assert (state, "no ids for containers" in reason) == (State.FAIL, True)
    changes = list(SUBJECT.plan(context(podman(), ranges=(), user_namespace="auto")))
    assert [c.path for c in changes if isinstance(c, WriteFile)] == ["/etc/subuid", "/etc/subgid", DROP_IN]
    subuid = next(c for c in changes if isinstance(c, WriteFile))
    assert subuid.text == f"x:1:2\ncontainers:{0x7A000000}:{1 << 22}\n"


def test_users_whose_podman_reads_the_same_file_are_named_first() -> None:
    """On Debian 13 each container of theirs has 1,024 ids from then on, and others than before."""
    theirs = [listed("web", user=1000), listed("db", user=1000)]
    listening = (Listening(1000, "/run/user/1000/podman/podman.sock"), Listening(4711, "*:2375"))
    (blocked,) = SUBJECT.plan(context(podman(), *theirs, listening=listening, user_namespace="auto"))
    assert isinstance(blocked, Blocked)
    assert "users' Podman reads the same file: 4711, ops (db, web)." in blocked.why
    of_docker = (Listening(1000, "/run/user/1000/docker.sock"),)
    assert all(
        isinstance(c, WriteFile) for c in SUBJECT.plan(context(podman(), listening=of_docker, user_namespace="auto"))
    )
    changes = SUBJECT.plan(context(podman(), *theirs, accept="podman-userns", user_namespace="auto"))
    assert [c.path for c in changes if isinstance(c, WriteFile)] == [DROP_IN]


def test_containers_and_volumes_that_are_there_have_to_be_accepted() -> None:
    stored = podman(volumes=("data",))
    (blocked,) = SUBJECT.plan(context(stored, listed("db"), user_namespace="auto"))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("podman-userns",)
    assert "1 containers (db) and 1 volumes (data)" in blocked.why
    allowed = context(stored, listed("db"), user_namespace="auto", accept="podman-userns")
    assert written(SUBJECT.plan(allowed)) == {"containers.userns": "auto"}


def test_a_rollback_leaves_the_range_while_something_may_own_its_ids() -> None:
    rows = (JournalEntry("r/1", "podman", "give", "/etc/subuid", True, False),
            JournalEntry("r/2", "podman", "have", DROP_IN, True, False))  # fmt: skip

    def stay(host: Context) -> list[str]:
        return [each.entry for each in SUBJECT.undoing(Undoing(host, rows, {})) if each.stays]

    assert stay(context(podman(), listed("new"))) == ["r/1"]
    assert stay(context(podman(volumes=("data",)))) == ["r/1"]
    assert stay(context(podman())) == []


# ------------------------------------------------------------------------------------------------ no new privileges


@pytest.mark.parametrize(
    ("hook", "program", "folders", "state"),
    [
        (privileges.HOOK_TEXT, privileges.PROGRAM_TEXT, [HOOKS], State.PASS),
        (privileges.HOOK_TEXT, None, [HOOKS], State.FAIL),
        (privileges.HOOK_TEXT, "#!/bin/sh\ncat\n", [HOOKS], State.FAIL),
        (privileges.HOOK_TEXT, privileges.PROGRAM_TEXT, ["/usr/share/containers/oci/hooks.d"], State.FAIL),
        (Unknown("no"), privileges.PROGRAM_TEXT, [HOOKS], State.UNKNOWN),
    ],
)
def test_the_hook_counts_where_all_of_it_is_there(hook: Any, program: Any, folders: list[str], state: State) -> None:
    reading = podman({"engine.hooks_dir": folders}, hook=hook, program=program)
    assert found(reading, "no-new-privileges", no_new_privileges=True)[0] is state


def test_hooks_of_others_go_on() -> None:
    reading = podman({"engine.hooks_dir": ["/opt/nvidia"]}, "/etc/containers/containers.conf")
    changes = list(SUBJECT.plan(context(reading, no_new_privileges=True)))
    assert [c.path for c in changes if isinstance(c, WriteFile)] == [PROGRAM, HOOK, DROP_IN]
    assert written(changes) == {"engine.hooks_dir": ["/opt/nvidia", HOOKS]}


# ------------------------------------------------------------------------------------------------ the API


@pytest.mark.parametrize(
    ("declared", "reading", "state", "word"),
    [
        ("none", podman(), State.PASS, ""),
        ("none", podman(socket=Socket(True, False, "", "", "")), State.FAIL, "podman.socket is enabled"),
        ("none", podman(socket=Socket(False, True, "0660", "root", "root")), State.FAIL, "podman.socket listens"),
        ("none", podman(serving=("unix:///srv/x.sock",)), State.FAIL, "listens on unix:///srv/x.sock"),
        ("root", podman(socket=Socket(True, True, "0660", "root", "root")), State.PASS, ""),
        ("root", podman(socket=Socket(True, True, "0666", "root", "root")), State.FAIL, "0666 root:root"),
        ("root", podman(socket=Socket(True, True, "0660", "root", "dev")), State.FAIL, "0660 root:dev"),
        ("root", podman(serving=("tcp:0.0.0.0:8080",)), State.FAIL, "tcp:0.0.0.0:8080"),
        ("root", podman(socket=Unknown("no systemd")), State.UNKNOWN, "no systemd"),
    ],
)
def test_the_api(declared: str, reading: PodmanReading, state: State, word: str) -> None:
    assert (found(reading, "api", api=declared)[0], word in found(reading, "api", api=declared)[1]) == (state, True)


def test_the_socket_is_stopped_where_that_is_accepted_and_an_undo_starts_it() -> None:
    open_ = podman(socket=Socket(True, True, "0660", "root", "root"))
    (blocked,) = SUBJECT.plan(context(open_, api="none"))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("podman-api",)
    (command,) = SUBJECT.plan(context(open_, api="none", accept="podman-api"))
    assert isinstance(command, Command)
    assert command.undo == "systemctl -q enable podman.socket && systemctl -q start podman.socket"
