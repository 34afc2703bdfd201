"""What Podman gives new containers: judged against the policy, and what harden writes for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from deploys.core.change import Blocked, WriteFile
from deploys.core.control import State
from deploys.engines.podman import privileges
from deploys.engines.podman.controls import SUBJECT
from facts.core.reading import Unknown
from facts.engines.podman.podman import DROP_IN, HOOK, HOOKS, PROGRAM, PodmanReading
from tests.support.podman import LATER, context, found, podman, written

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


def test_a_limit_of_memory_is_not_set_where_no_container_would_start_with_it() -> None:
    old = context(podman(), cgroups="hybrid", memory=64 << 20, pids=9)
    assert old.findings["podman.memory"].state is State.NOT_APPLICABLE
    assert written(SUBJECT.plan(old)) == {"containers.pids_limit": 9}


@pytest.mark.parametrize(
    ("version", "state"), [("4.3.1+ds1-8", State.FAIL), ("2:4.5.0-1", State.FAIL), (None, State.UNKNOWN)]
)
def test_a_podman_that_does_not_read_cgroup_conf_gives_no_limit_of_memory(version: str | None, state: State) -> None:
    """4.3 passes over the key without a word: what a file says there is not in force."""
    right = {"containers.cgroup_conf": ["memory.max=67108864", "memory.swap.max=0"]}
    assert found(podman(right), "memory", memory=64 << 20)[0] is State.PASS
    made = context(podman(right if version and "4.3" in version else {}, version=version), memory=64 << 20)
    finding = made.findings["podman.memory"]
    assert finding.state is state
    changes = list(SUBJECT.plan(made))
    if version and "4.3" in version:
        assert "Podman 4.3 does not read cgroup_conf" in finding.verdict.reason
        assert [type(each) for each in changes] == [Blocked]
    elif version:
        assert "containers.cgroup_conf" in written(changes)


def test_keys_that_are_in_the_drop_in_stay_there() -> None:
    ours = podman({"containers.keyring": True}, drop_in="[containers]\nkeyring = true\n")
    assert written(SUBJECT.plan(context(ours, pids=9))) == {"containers.keyring": True, "containers.pids_limit": 9}


def test_all_that_can_be_set_is_written_at_once_and_what_waits_is_left_out() -> None:
    made = context(podman(volumes=("data",)), pids=9, log_driver="journald", user_namespace="auto")
    changes = list(SUBJECT.plan(made))
    assert written(changes) == {"containers.pids_limit": 9, "containers.log_driver": "journald"}
    assert [type(c) for c in changes] == [Blocked, WriteFile]
    assert changes[1].controls == ("podman.pids", "podman.log-driver")


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
