"""The life of a profile of ours: rendered, observed, enforced, replaced, taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.apparmor.controls import AppArmorRules
from deploys.apparmor.plan import REPLACE
from deploys.apparmor.profile import ACCEPT_PROFILE, CONTAINER, HOUR, LINT, load, render
from deploys.core.change import Blocked, Command, Context, WriteFile
from deploys.core.control import State
from deploys.engines.docker import apparmor as docker_apparmor
from deploys.engines.docker.apparmor import DEFAULT, drop_in
from facts.apparmor import OURS, UNIT_DROP_IN, AppArmorReading, Profile
from facts.core.reading import Unknown
from facts.denials import Denial, Gap
from tests.support.apparmor import CLOCK, apparmor, changes, context, docker, finding
from tests.support.cases import older
from tests.support.hosts import container, listed

BY_NAME = AppArmorRules(container_profile="loaded")
OBSERVED = AppArmorRules(container_profile="loaded", observe_hours=24)
AS_DEFAULT = AppArmorRules(container_profile="default")
WATCHED_DEFAULT = AppArmorRules(container_profile="default", observe_hours=24)
BEGUN, OVER = CLOCK - HOUR, CLOCK - 25 * HOUR
PING = Denial("apparmor", "allowed", CONTAINER, "create", "inet raw", "create", ("ping",), (CLOCK - 60,))
FORGED = Denial("apparmor", "noted", DEFAULT, "create", "inet raw", "create", ("ping",), (CLOCK - 60,))


def ours(since: int | None = None, name: str = CONTAINER, current: Any = True, **more: Any) -> AppArmorReading:
    """A host with a text of ours on disk, and loaded."""
    mode = "complain" if since is not None and name == CONTAINER else "enforce"
    profiles = {DEFAULT: "enforce", CONTAINER: "enforce", name: mode, **more.pop("profiles", {})}
    files = {file: render(each, None) for each, file in OURS.items()} | {UNIT_DROP_IN: drop_in()}
    files |= {OURS[name]: render(name, since)}
    return apparmor(profiles=profiles, files=files, current={name: current}, **more)


def test_the_profile_is_written_checked_and_loaded() -> None:
    (write,) = changes(context(rules=BY_NAME))
    assert isinstance(write, WriteFile)
    assert (write.path, write.before, write.validate) == (OURS[CONTAINER], None, LINT)
    assert "audit deny network inet raw," in write.text
    assert "complain" not in write.text
    assert write.activate.startswith(f"NAME={CONTAINER} FILE={OURS[CONTAINER]} ")
    assert f'{REPLACE} "$FILE"' in write.activate
    done = context(ours(), rules=BY_NAME)
    assert finding(done, "container-profile").state is State.PASS
    assert changes(done) == []


@pytest.mark.parametrize(
    ("reading", "want", "says"),
    [
        (apparmor(), State.FAIL, "missing on disk and is not loaded"),
        (ours(), State.PASS, ""),
        (ours(current=False), State.FAIL, "enforced on disk and has other rules in the kernel"),
        (ours(current=Unknown("no digest")), State.UNKNOWN, "no digest"),
        (ours(profiles={CONTAINER: "complain"}), State.FAIL, "in complain"),
        (apparmor(files={OURS[CONTAINER]: "profile hullproof-container {}"}), State.FAIL, "not hullproof's on disk"),
        (apparmor(files={OURS[CONTAINER]: Unknown("Permission denied")}), State.UNKNOWN, "denied"),
    ],
)
def test_three_readings(reading: AppArmorReading, want: State, says: str) -> None:
    found = finding(context(reading, rules=BY_NAME), "container-profile")
    assert found.state is want, found.verdict.reason
    assert says in found.verdict.reason


@pytest.mark.parametrize("reading", [ours(current=False), ours(profiles={CONTAINER: "complain"})])
def test_what_was_changed_live_is_loaded_again(reading: AppArmorReading) -> None:
    (command,) = changes(context(reading, rules=BY_NAME))
    assert isinstance(command, Command)
    assert command.script == load()


def test_observation_begins_now_and_complains() -> None:
    (write,) = changes(context(rules=OBSERVED))
    assert isinstance(write, WriteFile)
    assert f"# observed since {CLOCK}" in write.text
    assert "mediate_deleted,complain)" in write.text
    assert "audit deny" not in write.text, "an explicit deny is enforced even in complain"


def test_while_observed_it_says_what_it_would_refuse() -> None:
    where = context(ours(BEGUN), rules=OBSERVED, denials=(PING,))
    found = finding(where, "container-profile")
    assert found.state is State.FAIL
    assert "hullproof-container would have denied ping" in found.verdict.reason
    assert "1970-01-13 12:46 UTC" in found.verdict.reason, "until when"
    (blocked,) = changes(where)
    assert isinstance(blocked, Blocked)
    assert found.verdict.reason == f"{blocked.why}; the policy wants it enforced (apparmor.container_profile)"
    assert blocked.accepts == ()
    assert (
        "so far it would have denied nothing"
        in finding(context(ours(BEGUN), rules=OBSERVED), "container-profile").verdict.reason
    )


def test_enforced_by_another_version_it_stays_enforced() -> None:
    there = ours()
    files = {path: older(text) if isinstance(text, str) else text for path, text in there.files.items()}
    assert files != there.files
    where = context(replace(there, files=files), rules=OBSERVED)
    assert finding(where, "container-profile").state is State.PASS
    assert changes(where) == []


def test_observed_without_denials_it_is_enforced() -> None:
    (write,) = changes(context(ours(OVER), rules=OBSERVED))
    assert isinstance(write, WriteFile)
    assert write.text == render(CONTAINER, None)
    before_it = replace(PING, processes=(), times=(OVER - 1,))
    assert len(changes(context(ours(OVER), rules=OBSERVED, denials=(before_it,)))) == 1


def test_records_that_were_lost_have_it_observed_longer() -> None:
    gap = Gap(CLOCK - 3600, "the kernel dropped records")
    where = context(ours(OVER), rules=OBSERVED, gaps=(gap,))
    assert [type(change) for change in changes(where)] == [Blocked]
    assert (
        "is incomplete: the kernel dropped records, and the first run after that enforces it"
        in finding(where, "container-profile").verdict.reason
    )
    assert len(changes(context(ours(OVER), rules=OBSERVED, gaps=(Gap(OVER, "before it"),)))) == 1


def test_denials_hold_it_back_until_they_are_accepted() -> None:
    held = context(ours(OVER), rules=OBSERVED, denials=(PING,))
    assert "would have caused these denials" in finding(held, "container-profile").verdict.reason
    (blocked,) = changes(held)
    assert isinstance(blocked, Blocked)
    assert blocked.why in finding(held, "container-profile").verdict.reason
    assert blocked.by_hand == "start the containers that need this with a profile of their own"
    assert blocked.accepts == (ACCEPT_PROFILE,)
    (write,) = changes(context(ours(OVER), accept=ACCEPT_PROFILE, rules=OBSERVED, denials=(PING,)))
    assert isinstance(write, WriteFile)
    assert write.text == render(CONTAINER, None)


def defaults(where: Context) -> list[Any]:
    return [change for change in changes(where) if CONTAINER not in change.what]


def test_as_the_default_it_is_loaded_under_dockers_own_name_and_after_each_start() -> None:
    write, unit = defaults(context(rules=AS_DEFAULT))
    assert (write.path, unit.path) == (OURS[DEFAULT], UNIT_DROP_IN)
    assert "profile docker-default flags=(attach_disconnected,mediate_deleted) {" in write.text
    assert f"ExecStartPost=-/usr/sbin/apparmor_parser -r -W {OURS[DEFAULT]}" in unit.text
    done = context(ours(name=DEFAULT), rules=AS_DEFAULT)
    assert finding(done, "container-default").state is State.PASS
    assert changes(done) == []
    undone = apparmor(files={file: render(name, None) for name, file in OURS.items()},
                      profiles={DEFAULT: "enforce", CONTAINER: "enforce"})  # fmt: skip
    assert "may replace the profile docker-default with its own" in finding(context(undone, rules=AS_DEFAULT),
                                                         "container-default").verdict.reason  # fmt: skip


def test_running_containers_do_not_come_under_it_unasked() -> None:
    web: dict[str, Any] = {"host": docker((container(),)), "running": (listed("web", "docker"),)}
    blocked, _ = defaults(context(rules=AS_DEFAULT, **web))
    assert isinstance(blocked, Blocked)
    assert blocked.next == "have it observed first (apparmor.observe_hours); or allow it with " + (
        f"--data accept={ACCEPT_PROFILE}"
    )
    accepted, _ = defaults(context(accept=ACCEPT_PROFILE, rules=AS_DEFAULT, **web))
    assert isinstance(accepted, WriteFile)
    assert "web" in accepted.interrupts


def test_a_container_of_another_engine_does_not_come_under_it_unasked_either() -> None:
    podmans = (listed("db", label=f"{CONTAINER} (enforce)"), listed("web", label="containers-default (enforce)"))
    (blocked,) = changes(context(rules=BY_NAME, running=podmans))
    assert isinstance(blocked, Blocked)
    assert "would at once deny podman:db what it forbids" in blocked.why


def test_where_containers_cannot_be_listed_it_is_not_enforced_unasked() -> None:
    host = docker(Unknown("docker ps hangs"))
    (blocked,) = changes(context(rules=BY_NAME, host=host))
    assert isinstance(blocked, Blocked)
    assert (
        "deny containers that could not be listed (Docker did not say which containers it runs: docker ps hangs)"
        in (blocked.why)
    )
    (write,) = changes(context(rules=BY_NAME, host=host, accept=ACCEPT_PROFILE))
    assert isinstance(write, WriteFile)


def test_the_default_is_observed_without_taking_dockers_own_protection_away() -> None:
    web: dict[str, Any] = {"host": docker((container(),)), "running": (listed("web", "docker"),)}
    begin, _ = defaults(context(rules=WATCHED_DEFAULT, **web))
    assert isinstance(begin, WriteFile)
    assert "complain" not in begin.text
    assert "deny mount," in begin.text
    assert "  audit network inet raw," in begin.text
    held = context(ours(OVER, DEFAULT), rules=WATCHED_DEFAULT, denials=(FORGED,), **web)
    assert "docker-default recorded for ping" in finding(held, "container-default").verdict.reason
    assert [type(change) for change in defaults(held)] == [Blocked]
    (enforce,) = defaults(context(ours(OVER, DEFAULT), rules=WATCHED_DEFAULT, **web))
    assert isinstance(enforce, WriteFile), "nothing was in the way of what runs"


def test_a_docker_default_of_somebody_else_is_theirs() -> None:
    theirs = apparmor(declared=(Profile(DEFAULT, "/etc/apparmor.d/docker", ()),))
    (blocked, *_) = defaults(context(theirs, rules=AS_DEFAULT))
    assert isinstance(blocked, Blocked)
    assert "/etc/apparmor.d/docker" in blocked.why


def test_taken_back_nothing_that_runs_is_unconfined() -> None:
    assert "stays loaded" in load()
    assert "-R" not in docker_apparmor.load(), "Docker's own rules are loaded in its place"
    assert "base64 -d | apparmor_parser -K -r" in docker_apparmor.load()


def test_without_the_extra_rules_it_is_what_dockers_own_is() -> None:
    text = render(DEFAULT, None, extra=False)
    assert "audit" not in text
    assert "deny @{PROC}/sysrq-trigger rwklx," in text


@pytest.mark.parametrize("enabled", [False, Unknown("Permission denied")])
def test_nothing_is_loaded_where_the_kernel_has_no_apparmor(enabled: Any) -> None:
    planned = changes(context(apparmor(enabled=enabled), rules=AS_DEFAULT))
    assert not [change for change in planned if isinstance(change, WriteFile)]
