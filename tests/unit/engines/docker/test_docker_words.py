"""Docker: a finding says what is there, what the policy wants by which key, and what is to be done."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.control import State
from facts.core.reading import Unknown
from facts.engines.docker.docker import Malformed, read_daemon_json
from tests.support.docker import FILE, docker, plan, reason, state

ULIMITS = {"default_ulimits": {"nofile": {"soft": 1024, "hard": 65536}}}
NOFILE = {"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 65536, "Soft": 1024}}}


@pytest.mark.parametrize(
    ("keys", "rules", "want", "says"),
    [
        ({}, ULIMITS, State.FAIL,
         "no default ulimits are set; the policy wants nofile 1024:65536 (docker.default_ulimits); harden sets it"),
        (NOFILE, ULIMITS, State.PASS, "default-ulimits is nofile 1024:65536, on disk and in the running daemon"),
        ({}, {"live_restore": True}, State.FAIL,
         "live-restore is false; the policy wants true (docker.live_restore); harden sets it"),
        ({"live-restore": True}, {"live_restore": True}, State.PENDING_RESTART,
         "live-restore is true on disk, but in the running daemon live-restore is false; a restart of docker applies "
         "it"),
        ({"experimental": True}, {"experimental": False}, State.FAIL,
         "experimental is false now, but on disk experimental is true, so a restart of docker would lose it; the "
         "policy "
         "wants false (docker.experimental); harden sets it"),
    ],
)  # fmt: skip
def test_a_key(keys: dict[str, Any], rules: dict[str, Any], want: State, says: str) -> None:
    (control,) = (name.replace("_", "-") for name in rules)
    reading = docker(keys)
    assert state(control, reading, **rules) is want
    assert reason(control, reading, **rules) == says


def test_a_value_that_is_not_in_force_is_no_value() -> None:
    """The daemon reports no log level; its file is newer than it."""
    reading = docker({"log-level": "warn"}, stale=True)
    said = reason("log-level", reading, log_level="warn")
    assert said.startswith("log-level is warn on disk, not known to be in force: daemon.json was changed after")
    assert reason("log-level", reading, log_level="info").startswith("log-level is warn; the policy wants info")


def test_a_plan_names_the_value_as_a_person_writes_it() -> None:
    (change,) = plan(docker({}), **ULIMITS)
    assert change.what == "set default-ulimits to nofile 1024:65536"


@pytest.mark.parametrize(
    ("text", "malformed"),
    [
        ("[1]", True),
        ('{"a": ', True),
        (Malformed(f"{FILE} is a directory"), True),
        # a reading that failed is no finding, whatever its words
        (Unknown(f"{FILE} is a directory, and is not JSON"), False),
        ("", False),
        (None, False),
    ],
)
def test_a_file_with_which_dockerd_does_not_start_is_told_by_what_it_is(text: Any, malformed: bool) -> None:
    file = read_daemon_json(FILE, text)
    assert file.malformed is malformed
    found = state("daemon-json", docker(text))
    if malformed:
        assert found is State.FAIL
    else:
        assert found is (State.UNKNOWN if isinstance(text, Unknown) else State.PASS)
