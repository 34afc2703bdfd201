"""Running guests: each is confined apart from all others, whoever has started it."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.containers.rules import ContainersRules
from deploys.core.change import Context
from deploys.core.control import State
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.engines.docker.docker import Docker
from facts.guests import Guest
from facts.lsm import Lsm, LsmReading
from facts.seccomp import Seccomp
from tests.support.hosts import beside, docker, judged, whole

SUBJECT = whole("containers")
UUIDS = ("11111111-2222-3333-4444-555555555555", "66666666-2222-3333-4444-555555555555")
SVIRT = "system_u:system_r:svirt_t:s0"


def context(guests: Any, module: Any = ("apparmor",), may: list[str] | None = None, **rules: Any) -> Context:
    none = docker(installed=False, running=False)
    listing = beside(none)
    object.__setattr__(listing, "guests", guests)
    lsm = LsmReading(module, None, None, landlock=False, bpf=False)
    readings = {Containers: listing, Docker: none, Lsm: lsm, Seccomp: Unknown("not asked")}
    return judged(SUBJECT, ContainersRules(guests=may, **rules), readings)


def found(*given: Any, **more: Any) -> tuple[State, str]:
    finding = context(*given, **more).findings["containers.guests"]
    return finding.state, finding.verdict.reason


def guest(number: int, name: str = "a", **more: Any) -> Guest:
    label = f"libvirt-{UUIDS[number % 2]} (enforce)"
    values: dict[str, Any] = {"label": label, "uid": 64055, "seccomp": 2, "devices": ()}
    return Guest(name, number, **(values | more))


@pytest.mark.parametrize(
    ("guests", "state", "words"),
    [
        ((), State.NOT_APPLICABLE, "no guest is running"),
        ((guest(0), guest(1, "b")), State.PASS, "2 running guests were checked"),
        ((guest(0), guest(0, "b")), State.FAIL, f"b: another guest has its label, libvirt-{UUIDS[0]}"),
        ((guest(0, label="unconfined"),), State.FAIL, "a: its emulator is not confined (its label is unconfined)"),
        ((guest(0, label="qemu (unconfined)"),), State.FAIL, "not confined"),
        ((guest(0, label=f"libvirt-{UUIDS[0]} (complain)"),), State.FAIL, "not confined"),
        ((guest(0, label=""),), State.FAIL, "its label is empty"),
        ((guest(0, seccomp=0),), State.FAIL, "a: its emulator has no seccomp filter"),
        ((guest(0, label=Unknown("gone")), guest(1, "b")), State.UNKNOWN, "a: gone"),
        ((guest(0, label=Unknown("gone")), guest(1, "b", seccomp=0)), State.FAIL, "; 1 guests could not be judged"),
        (Unknown("late"), State.UNKNOWN, "late"),
        # Without libvirt:
        ((guest(7, "", label="incus-web_</var/lib/incus> (enforce)"),), State.PASS, "1 running guest was checked"),
        ((guest(7, "", label="unconfined", uid=1000),), State.FAIL, "process 7 (user 1000): its emulator is not"),
        ((guest(7, "", label="/usr/bin/qemu (enforce)"), guest(8, "", label="/usr/bin/qemu (enforce)")), State.FAIL,
         "process 8 (user 64055): another guest has its label, /usr/bin/qemu"),
    ],
)  # fmt: skip
def test_each_guest_has_a_label_that_no_other_has(guests: Any, state: State, words: str) -> None:
    given, reason = found(guests, may=[])
    assert (given, words in reason) == (state, True), reason


@pytest.mark.parametrize(
    ("labels", "state", "words"),
    [
        ((f"{SVIRT}:c1,c2", f"{SVIRT}:c1,c3"), State.PASS, "2 running"),
        (
            (f"{SVIRT}:c1,c2", "system_u:system_r:svirt_tcg_t:s0:c1,c2"),
            State.FAIL,
            "another guest has its label, c1,c2",
        ),
        ((SVIRT,), State.FAIL, f"no SELinux category of its own ({SVIRT})"),
        (("system_u:system_r:unconfined_service_t:s0",), State.FAIL, "is not confined"),
        (("system_u:system_r:unconfined_service_t:s0:c1,c2",), State.FAIL, "is not confined"),
        (("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023",), State.FAIL, "is not confined"),
        ((f"libvirt-{UUIDS[0]} (enforce)",), State.FAIL, "is not confined"),
    ],
)
def test_with_selinux_each_has_a_category_of_its_own(labels: tuple[str, ...], state: State, words: str) -> None:
    guests = tuple(guest(0, f"g{number}", label=label) for number, label in enumerate(labels))
    given, reason = found(guests, ("selinux",), may=[])
    assert (given, words in reason) == (state, True), reason


def test_without_a_module_nothing_confines_and_an_unknown_one_is_unknown() -> None:
    state, reason = found((guest(0),), (), may=[])
    assert (state, "without AppArmor and SELinux" in reason) == (State.FAIL, True)
    assert found((guest(0),), Unknown("no securityfs"), may=[])[0] is State.UNKNOWN


def test_a_policy_names_those_that_may_and_nothing_is_changed() -> None:
    free = (guest(0, label="unconfined"), guest(7, "", label="unconfined", uid=1000))
    assert found(free, may=["a", "user:1000"])[0] is State.PASS
    assert "process 7 (user 1000)" in found(free, may=["a"])[1]
    assert found(free)[0] is State.NOT_APPLICABLE
    assert [change for change in SUBJECT.plan(context(free, may=[]))] == []


@pytest.mark.parametrize(
    ("guests", "state", "words"),
    [
        ((), State.NOT_APPLICABLE, "no guest is running"),
        ((guest(0), guest(1, "old", devices=("USB",)), guest(7, "", uid=1000, devices=("sound",))), State.PASS, ""),
        ((guest(0, devices=("a floppy controller (machine type pc)", "USB")),), State.FAIL,
         "the emulator of a has a floppy controller (machine type pc), USB; the policy allows only old, user:1000"),
        ((guest(0, devices=Unknown("many words")),), State.UNKNOWN, "a: many words"),
        ((guest(0, devices=Unknown("many words")), guest(1, "b", devices=("USB",))), State.FAIL, "; 1 guests could"),
    ],
)  # fmt: skip
def test_emulated_devices_of_running_guests_are_named(guests: Any, state: State, words: str) -> None:
    made = context(guests, guest_devices=["old", "user:1000"])
    finding = made.findings["containers.guest-devices"]
    assert (finding.state, words in finding.verdict.reason) == (state, True), finding.verdict.reason
    assert list(SUBJECT.plan(made)) == []
