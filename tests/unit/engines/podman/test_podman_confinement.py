"""What confines Podman's new containers: an AppArmor profile or SELinux label, and a seccomp filter."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.core.change import Blocked, Undoing, WriteFile
from deploys.core.control import State
from deploys.engines.podman.controls import SUBJECT
from deploys.engines.podman.settings import rendered
from deploys.seccomp.profile import TEXT
from facts.core.reading import Unknown
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines.podman.podman import DROP_IN, OVERRIDE, PROFILE, SHIPPED_PROFILE, PodmanReading
from facts.seccomp import Seccomp
from tests.support.podman import KERNEL, LATER, context, found, podman, written

FREED = {"containers.apparmor_profile": "unconfined", "containers.label": False}
CONFINED = {"containers.apparmor_profile": "containers-default-hullproof", "containers.label": True}


def test_what_a_file_before_ours_frees_is_confined_again_and_nothing_else_is_set() -> None:
    etc = "/etc/containers/containers.conf"
    assert written(SUBJECT.plan(context(podman(FREED, etc), confined=True))) == CONFINED
    unlabelled = podman({"containers.label": False}, etc)
    assert written(SUBJECT.plan(context(unlabelled, confined=True))) == {"containers.label": True}
    unnamed = podman({"containers.apparmor_profile": ""}, etc)
    assert found(unnamed, "confined", confined=True)[0] is State.FAIL
    assert found(podman(CONFINED), "confined", confined=True)[0] is State.PASS


@pytest.mark.parametrize(
    ("stack", "parser", "state", "word"),
    [
        (("lockdown", "selinux"), False, State.PASS, ""),
        (("lockdown", "apparmor"), True, State.PASS, ""),
        (("lockdown", "apparmor"), False, State.FAIL, "apparmor_parser is not installed"),
        (("lockdown", "yama"), True, State.FAIL, "neither AppArmor nor SELinux"),
        (("smack",), True, State.FAIL, "neither AppArmor nor SELinux"),
        (Unknown("securityfs is not mounted"), True, State.UNKNOWN, "securityfs"),
    ],
)
def test_files_confine_nothing_where_the_kernel_does_not(stack: Any, parser: bool, state: State, word: str) -> None:
    reading = podman(parser=parser)
    assert found(reading, "confined", stack=stack, confined=True)[0] is state
    assert word in found(reading, "confined", stack=stack, confined=True)[1]
    blocked = list(SUBJECT.plan(context(reading, stack=stack, confined=True)))
    assert [type(each) for each in blocked] == [Blocked] * (state is State.FAIL)


# ------------------------------------------------------------------------------------------------ seccomp

WIDE = {"defaultAction": "SCMP_ACT_ALLOW"}
OWN = {"containers.seccomp_profile": "/etc/own.json"}
NAMED = {"containers.seccomp_profile": PROFILE}


def test_a_filter_counts_by_what_it_allows() -> None:
    wide = podman(OWN, filter=WIDE)
    state, reason = found(wide, "seccomp", seccomp=True)
    assert (state, "/etc/own.json allows" in reason) == (State.FAIL, True)
    assert found(podman(filter=Unknown("no")), "seccomp", seccomp=True)[0] is State.UNKNOWN
    assert written(SUBJECT.plan(context(wide, seccomp=True))) == {"containers.seccomp_profile": SHIPPED_PROFILE}


def test_a_profile_that_takes_the_place_of_podmans_own_is_named_and_given_up() -> None:
    weak = podman(filter=WIDE, override=True)
    assert f"the seccomp profile {OVERRIDE} allows" in found(weak, "seccomp", seccomp=True)[1]
    assert written(SUBJECT.plan(context(weak, seccomp=True))) == {"containers.seccomp_profile": SHIPPED_PROFILE}
    assert f"profile {OVERRIDE}, not hullproof's" in found(weak, "seccomp", seccomp="hullproof")[1]


@pytest.mark.parametrize("reading", [podman(filter=WIDE), podman(OWN, filter=WIDE, shipped=False)])
def test_where_podmans_own_filter_is_weak_or_missing_it_goes_by_hand(reading: PodmanReading) -> None:
    (blocked,) = SUBJECT.plan(context(reading, seccomp=True))
    assert isinstance(blocked, Blocked)
    assert "podman.seccomp to hullproof" in blocked.by_hand


@pytest.mark.parametrize(
    ("reading", "state", "word", "paths"),
    [
        (podman(), State.FAIL, "that comes with Podman, not hullproof's", [PROFILE, DROP_IN]),
        (podman(OWN), State.FAIL, "/etc/own.json, not hullproof's", [PROFILE, DROP_IN]),
        (podman(OWN, profile=TEXT), State.FAIL, "/etc/own.json, not hullproof's", [DROP_IN]),
        (podman(NAMED), State.FAIL, "no container starts", [PROFILE]),
        (podman(NAMED, profile="{}"), State.FAIL, "not as hullproof writes it", [PROFILE]),
        (podman(NAMED, profile=Unknown("no")), State.UNKNOWN, "no", []),
        (podman(NAMED, profile=TEXT), State.PASS, "", []),
    ],
)
def test_hullproofs_filter_is_written_before_it_is_named(
    reading: PodmanReading, state: State, word: str, paths: list[str]
) -> None:
    assert found(reading, "seccomp", seccomp="hullproof")[0] is state
    assert word in found(reading, "seccomp", seccomp="hullproof")[1]
    drop_in = rendered(NAMED) if reading.settings == podman(NAMED).settings else None
    made = context(dataclasses.replace(reading, drop_in=drop_in), seccomp="hullproof")
    assert [c.path for c in SUBJECT.plan(made) if isinstance(c, WriteFile)] == paths


def test_hullproofs_filter_is_not_written_where_it_does_not_fit_the_host() -> None:
    made = context(podman(), seccomp="hullproof")
    odd = dataclasses.replace(KERNEL, machine="loongarch64")
    blocked = list(SUBJECT.plan(dataclasses.replace(made, survey=Survey({**made.survey.readings, Seccomp: odd}))))
    assert [type(each) for each in blocked] == [Blocked]
    assert "podman.seccomp to true" in blocked[0].why if isinstance(blocked[0], Blocked) else False


@pytest.mark.parametrize(
    ("reading", "files", "stays"),
    [
        (podman(NAMED, drop_in=rendered(NAMED)), {PROFILE: (TEXT, None), DROP_IN: (rendered(NAMED), None)}, False),
        (podman(NAMED, drop_in=rendered(NAMED)), {PROFILE: (TEXT, None)}, True),
        (podman(NAMED, LATER), {PROFILE: (TEXT, None), DROP_IN: (rendered(NAMED), None)}, True),
        (podman(NAMED, LATER), {PROFILE: (TEXT, "an older one")}, False),
        (podman(OWN, LATER, drop_in=rendered(NAMED)), {PROFILE: (TEXT, None)}, False),
    ],
)
def test_a_rollback_leaves_the_filter_that_a_file_still_names(reading: PodmanReading, files: Any, stays: bool) -> None:
    entry = JournalEntry("r/1", "podman", "write", PROFILE, True, False)
    remarks = list(SUBJECT.undoing(Undoing(context(reading), (entry,), files)))
    assert [bool(each.stays) for each in remarks] == [True] * stays
