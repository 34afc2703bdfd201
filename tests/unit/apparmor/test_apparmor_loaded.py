"""AppArmor: profiles of other people, in which mode they are and whether they are loaded, from readings alone."""

from __future__ import annotations

import pytest

from deploys.apparmor.controls import AppArmorRules
from deploys.apparmor.plan import REPLACE, without_complain
from deploys.core.change import Blocked, Command, WriteFile
from deploys.core.control import State
from facts.apparmor import AppArmorReading, Profile
from facts.core.reading import UnknownReading
from tests.support.apparmor import DENIED, MAN, MAN_TEXT, OWN, apparmor, changes, context, finding


@pytest.mark.parametrize(
    ("reading", "want", "says"),
    [
        (apparmor(), State.PASS, ""),
        (apparmor(("complain",), "complain"), State.FAIL, "complain mode now and in complain mode on disk"),
        (apparmor(("complain",)), State.FAIL, "enforce mode now and in complain mode on disk"),
        (apparmor(mode="complain"), State.FAIL, "complain mode now and in enforce mode on disk"),
        (apparmor(force_complain=("usr.bin.man",)), State.FAIL, "complain mode on disk"),
        (apparmor(disabled=("usr.bin.man",), profiles={}), State.FAIL, "not loaded now and disabled on disk"),
        (apparmor(("unconfined",), "unconfined"), State.FAIL, "by design"),
        (apparmor(declared=(), profiles={}), State.FAIL, "not declared"),
        (apparmor(profiles=DENIED), State.UNKNOWN, "denied"),
        (apparmor(declared=DENIED), State.UNKNOWN, "denied"),
    ],
)
def test_profiles(reading: AppArmorReading, want: State, says: str) -> None:
    found = finding(context(reading), "profiles-enforced")
    assert found.state is want
    assert says in found.verdict.reason


def test_a_file_that_was_not_read_is_not_written() -> None:
    with pytest.raises(UnknownReading, match="was not read"):
        changes(context(apparmor(("complain",), "complain", files={})))


def test_complain_is_taken_out_of_one_profile_alone() -> None:
    (write,) = changes(context(apparmor(("complain",), "complain")))
    assert isinstance(write, WriteFile)
    assert (write.path, write.before) == (MAN, MAN_TEXT)
    assert write.text == "profile man_groff {\n}\nprofile other flags=(complain) {\n}\n"
    assert write.activate == f"{REPLACE} {MAN}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("profile a flags=(attach_disconnected, complain) {", "profile a flags=(attach_disconnected) {"),
        ("profile a /usr/bin/a flags=(complain) {", "profile a /usr/bin/a {"),
        ('  profile "a" flags=(complain) {', '  profile "a" {'),
        ("profile ab flags=(complain) {", "profile ab flags=(complain) {"),
        ("a flags=(complain) {", "a {"),
    ],
)
def test_without_complain(before: str, after: str) -> None:
    assert without_complain(before, "a") == after
    assert without_complain(before, "parent//a") == after


@pytest.mark.parametrize(
    ("reading", "script", "undo"),
    [
        (apparmor(mode="complain"), f"{REPLACE} {MAN}", f"apparmor_parser -rC {MAN}"),
        (apparmor(profiles={}), f"{REPLACE} {MAN}", f"apparmor_parser -R {MAN}"),
        (
            apparmor(disabled=("usr.bin.man",), profiles={}),
            f"rm -f /etc/apparmor.d/disable/usr.bin.man && {REPLACE} {MAN}",
            f"ln -s {MAN} /etc/apparmor.d/disable/usr.bin.man && apparmor_parser -R {MAN}",
        ),
    ],
)
def test_a_profile_is_loaded_and_put_back(reading: AppArmorReading, script: str, undo: str) -> None:
    rules = AppArmorRules(profiles=["man_groff"])
    (command,) = changes(context(reading, rules=rules))
    assert isinstance(command, Command)
    assert (command.script, command.undo) == (script, undo)


def test_by_design_and_undeclared_profiles_are_left_alone() -> None:
    (change,) = changes(context(apparmor(("unconfined",), "unconfined")))
    assert isinstance(change, Blocked)
    assert "remove from the policy (apparmor.profiles) what is unconfined by design" in change.by_hand
    (change,) = changes(context(apparmor(declared=())))
    assert isinstance(change, Blocked)


def test_profiles_that_are_on_disk_only_are_named_and_loaded() -> None:
    lost = apparmor(profiles={"docker-default": "enforce"})
    where = context(lost, rules=AppArmorRules(enabled=True))
    found = finding(where, "profiles-loaded")
    assert found.state is State.FAIL
    lost_ones, wanted = found.verdict.reason.split("; ")
    assert lost_ones == "2 of 2 profiles in /etc/apparmor.d are not loaded: man_groff, runc"
    assert wanted == "the policy wants each of them loaded (apparmor.enabled)"
    (command,) = changes(where)
    assert isinstance(command, Command)
    assert (command.script, command.undo) == (f"{REPLACE} /etc/apparmor.d/runc {MAN}", "")


@pytest.mark.parametrize(
    ("reading", "want"),
    [
        (apparmor(profiles={}, disabled=("usr.bin.man", "runc")), State.PASS),
        (apparmor(profiles={}, declared=(Profile("@{exec}", MAN, ()), Profile("docker-default", OWN, ()))), State.PASS),
        (apparmor(profiles={}, enabled=False), State.PENDING_REBOOT),
        (apparmor(profiles={}, parser=None), State.NOT_APPLICABLE),
        (apparmor(declared=DENIED), State.UNKNOWN),
        (apparmor(profiles=DENIED), State.UNKNOWN),
    ],
)
def test_not_loaded(reading: AppArmorReading, want: State) -> None:
    where = context(reading, rules=AppArmorRules(enabled=True))
    assert finding(where, "profiles-loaded").state is want
    assert not any("on disk only" in change.what for change in changes(where))
