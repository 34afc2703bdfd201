"""Seccomp: the controls and the plan, from readings alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Context, MergeJson, WriteFile
from deploys.core.control import Finding, State
from deploys.core.json_merge import merge_text
from deploys.seccomp.controls import SeccompRules
from deploys.seccomp.profile import TEXT
from facts.core.reading import Block, Section, Unknown
from facts.engines.docker.docker import DaemonJson, Docker, DockerReading
from facts.seccomp import OURS, ProfileFile, Seccomp, SeccompReading
from tests.support import hosts
from tests.support.hosts import judged, whole

SUBJECT = whole("seccomp")
BUILTIN = SeccompRules(profile="builtin")
STRICT = SeccompRules(profile="hullproof")
ALLOW_ALL = '{"defaultAction": "SCMP_ACT_ALLOW"}'
TIGHT = '{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}'
MISSPELT = TIGHT.replace("read", "raed")
LOOSE = "/etc/docker/loose.json"


def reading(files: dict[str, Any] | None = None, started: int | None = 100, written: int = 50, **more: Any) -> Any:
    profiles = {OURS: ProfileFile(None, None)}
    profiles |= {path: ProfileFile(text, written) for path, text in (files or {}).items()}
    values: dict[str, Any] = {
        "actions": ("kill_process", "errno", "allow"),
        "actions_logged": (),
        "capabilities": (),
        "machine": "x86_64",
        "release": "6.12.1",
        "profiles": profiles,
        "daemon_started": started,
    }
    return SeccompReading(**{**values, **more})


def docker(key: str | None = None, live: str = "builtin", **more: Any) -> DockerReading:
    keys = None if key is None else {"icc": False, "seccomp-profile": key}
    info = {"SecurityOptions": ["name=apparmor", f"name=seccomp,profile={live}", "name=cgroupns"]}
    return hosts.docker(keys, **{"info": info, **more})


def context(
    host: DockerReading | None = None, kernel: Any = None, rules: SeccompRules = BUILTIN, accept: str = ""
) -> Context:
    return judged(SUBJECT, rules, {Seccomp: kernel or reading(), Docker: host or docker()}, accept)


def finding(where: Context, control: str) -> Finding:
    return where.findings[f"seccomp.{control}"]


def test_not_declared_is_not_applicable() -> None:
    states = {f.state for f in context(rules=SeccompRules()).findings.values()}
    assert states == {State.NOT_APPLICABLE}


def test_a_host_without_docker_has_only_its_kernel() -> None:
    where = context(docker(installed=False))
    assert finding(where, "kernel").state is State.PASS
    assert {finding(where, name).state for name in ("default-profile", "profile-lint")} == {State.NOT_APPLICABLE}


@pytest.mark.parametrize(
    ("actions", "want"),
    [(("errno", "allow"), State.PASS), ((), State.FAIL), (Unknown("no"), State.UNKNOWN)],
)
def test_kernel(actions: Any, want: State) -> None:
    assert finding(context(kernel=reading(actions=actions)), "kernel").state is want


@pytest.mark.parametrize(
    ("host", "kernel", "rules", "want", "says"),
    [
        (docker(), reading(), BUILTIN, State.PASS, "Docker's own profile"),
        (docker(live="default"), reading(), BUILTIN, State.PASS, "Docker's own profile"),  # as 20.10 says it
        (docker("builtin"), reading(), BUILTIN, State.PASS, ""),
        (docker(), reading(), STRICT, State.FAIL, "profile instead of hullproof's"),
        (docker("unconfined", "unconfined"), reading(), BUILTIN, State.FAIL, "containers get no filter"),
        (docker(info={"SecurityOptions": ["name=cgroupns"]}), reading(), BUILTIN, State.PENDING_RESTART, "unconfined"),
        (docker(LOOSE, LOOSE), reading({LOOSE: ALLOW_ALL}), BUILTIN, State.FAIL, "which allows acct"),
        (docker(LOOSE, LOOSE), reading({LOOSE: "{}"}), BUILTIN, State.FAIL, "which allows acct"),
        (docker(LOOSE, LOOSE), reading({LOOSE: TIGHT}), BUILTIN, State.PASS, LOOSE),
        (docker(LOOSE, LOOSE), reading({LOOSE: TIGHT}), STRICT, State.FAIL, "is not hullproof's"),
        (docker(LOOSE, LOOSE), reading({LOOSE: None}), BUILTIN, State.FAIL, "which does not exist"),
        (docker(LOOSE, LOOSE), reading({LOOSE: "nonsense"}), BUILTIN, State.UNKNOWN, "not JSON"),
        (docker(LOOSE, LOOSE), reading({LOOSE: '{"syscalls": [3]}'}), BUILTIN, State.UNKNOWN, "has an unexpected form"),
        (docker(LOOSE, LOOSE), reading({LOOSE: Unknown("denied")}), BUILTIN, State.UNKNOWN, "denied"),
        (docker(LOOSE), reading({LOOSE: TIGHT}), BUILTIN, State.PENDING_RESTART, "the running daemon uses builtin"),
        (docker(live=LOOSE), reading({LOOSE: ALLOW_ALL}), BUILTIN, State.PENDING_RESTART, f"daemon uses {LOOSE}"),
        (docker(OURS, OURS), reading({OURS: TEXT}), STRICT, State.PASS, OURS),
        (docker(OURS, OURS), reading({OURS: TEXT}), BUILTIN, State.PASS, OURS),
        (docker(OURS, OURS), reading({OURS: TIGHT}), STRICT, State.FAIL, "which was changed"),
        (docker(OURS, OURS), reading({OURS: TEXT}, written=101), STRICT, State.PENDING_RESTART, "after the daemon"),
        (docker(info=Unknown("no answer")), reading(), BUILTIN, State.UNKNOWN, "no answer"),
        (
            docker(daemon_json=DaemonJson("/etc/docker/daemon.json", "{", Unknown("not JSON"))),
            reading(),
            BUILTIN,
            State.UNKNOWN,
            "not JSON",
        ),
    ],
)
def test_default_profile(host: DockerReading, kernel: Any, rules: SeccompRules, want: State, says: str) -> None:
    found = finding(context(host, kernel, rules), "default-profile")
    assert found.state is want, found.verdict.reason
    assert says in found.verdict.reason


@pytest.mark.parametrize(
    ("host", "kernel", "rules", "want"),
    [
        (docker(), reading(), BUILTIN, State.NOT_APPLICABLE),
        (docker(), reading(), STRICT, State.NOT_APPLICABLE),
        (docker(LOOSE), reading({LOOSE: TIGHT}), BUILTIN, State.PASS),
        (docker(LOOSE), reading({LOOSE: MISSPELT}), BUILTIN, State.FAIL),
        (docker(LOOSE), reading({LOOSE: '{"syscalls": [{"names": [[]]}]}'}), BUILTIN, State.FAIL),
        (docker(LOOSE), reading({LOOSE: Unknown("denied")}), BUILTIN, State.UNKNOWN),
        (docker(OURS), reading({OURS: TEXT}), STRICT, State.PASS),
        (docker(OURS), reading({OURS: TEXT}, machine="s390x"), STRICT, State.FAIL),
    ],
)
def test_lint(host: DockerReading, kernel: Any, rules: SeccompRules, want: State) -> None:
    found = finding(context(host, kernel, rules), "profile-lint")
    assert found.state is want, found.verdict.reason


def changes(where: Context) -> list[Change]:
    return list(SUBJECT.plan(where))


def applied(host: DockerReading, planned: list[Change]) -> tuple[DockerReading, Any]:
    """The readings after the changes and the restart that comes with them."""
    keys: dict[str, Any] = dict(host.daemon_json.keys)  # type: ignore[arg-type]
    files: dict[str, Any] = {}
    for change in planned:
        if isinstance(change, MergeJson):
            keys = json.loads(merge_text(change.before, dict(change.put), change.drop))
        if isinstance(change, WriteFile):
            files[change.path] = change.text
    key = keys.get("seccomp-profile")
    return docker(key, key or "builtin"), reading(files)


@pytest.mark.parametrize("rules", [BUILTIN, STRICT])
@pytest.mark.parametrize(
    ("host", "kernel"),
    [
        (docker(), reading()),
        (docker(LOOSE, LOOSE), reading({LOOSE: ALLOW_ALL})),
        (docker(LOOSE, LOOSE), reading({LOOSE: MISSPELT})),
        (docker("unconfined", "unconfined"), reading()),
        (docker(live="unconfined"), reading()),
    ],
)
def test_planning_again_after_the_changes_yields_nothing(host: DockerReading, kernel: Any, rules: SeccompRules) -> None:
    where = context(host, kernel, rules)
    planned = changes(where)
    holds = all(f.state.holds for f in where.findings.values())
    assert (planned == []) is holds
    again = context(*applied(host, planned), rules)
    assert {f.control.id: f.verdict.reason for f in again.findings.values() if not f.state.holds} == {}
    assert changes(again) == []


def test_somebodys_key_is_dropped_and_their_others_stay() -> None:
    (change,) = changes(context(docker(LOOSE, LOOSE), reading({LOOSE: ALLOW_ALL})))
    assert isinstance(change, MergeJson)
    assert json.loads(merge_text(change.before, dict(change.put), change.drop)) == {"icc": False}
    assert change.service is not None


def test_ours_is_written_with_the_service_that_reads_it() -> None:
    write, merge = changes(context(rules=STRICT))
    assert isinstance(write, WriteFile)
    assert isinstance(merge, MergeJson)
    assert (write.path, write.text, write.before, write.mode) == (OURS, TEXT, None, "0644")
    assert write.service == merge.service
    assert dict(merge.put) == {"seccomp-profile": OURS}


def test_what_somebody_changed_in_ours_is_put_right_with_what_was_read() -> None:
    write, _ = changes(context(docker(OURS, OURS), reading({OURS: TIGHT}), STRICT))
    assert isinstance(write, WriteFile)
    assert write.before == TIGHT


def test_a_flag_is_left_to_who_gave_it() -> None:
    host = docker(live="unconfined", flags={"seccomp-profile": "unconfined"})
    (change,) = changes(context(host))
    assert isinstance(change, Blocked)
    assert "--seccomp-profile=unconfined" in change.why


def test_ours_is_not_forced_upon_another_architecture() -> None:
    (change,) = changes(context(docker(), reading(machine="s390x"), STRICT))
    assert isinstance(change, Blocked)
    assert "builtin" in change.why


def test_nothing_is_planned_from_what_is_unknown() -> None:
    assert changes(context(docker(info=Unknown("no answer")))) == []


def test_what_was_put_back_with_its_old_time_was_changed_all_the_same() -> None:
    blocks = {
        "uname": "6.12.1 x86_64",
        f"profile {OURS}": TEXT,
        "modified": f"50 120 {OURS}\n100 130 /run/docker.pid\n",
    }
    found = Seccomp.parse(Section({name: Block(0, text) for name, text in blocks.items()}))
    assert (found.profiles[OURS].changed, found.daemon_started) == (120, 100)
    assert finding(context(docker(OURS, OURS), found, STRICT), "default-profile").state is State.PENDING_RESTART
