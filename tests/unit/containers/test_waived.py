"""What of a container's faults is accepted: by a waiver that names it, by none that names another one."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from deploys.containers.rules import ContainersRules
from deploys.core.change import Context
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy, Waiver
from deploys.report import waivers
from deploys.seccomp.controls import SeccompRules
from facts.containers import Container, Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.lsm import Lsm, LsmReading
from facts.seccomp import Seccomp, SeccompReading
from tests.support.hosts import OF_HOST, beside, docker, listed, whole

SUBJECT = whole("containers")
TODAY = datetime.datetime.now(datetime.UTC).date()
FULL = (1 << 41) - 1
# As `docker run --privileged` leaves it on a host with AppArmor.
PRIVILEGED: dict[str, Any] = {
    "cap_eff": FULL, "cap_bnd": FULL, "seccomp": 0, "no_new_privs": False, "label": "unconfined",
    "nodes": ("/dev/sda",),
}  # fmt: skip
KERNEL = SeccompReading((), (), (), "x86_64", "6.12.1", profiles={}, daemon_started=None)
EVERYTHING: dict[str, Any] = {key: [] for key in ContainersRules.model_fields if key not in ("limits", "unlimited")}


def waiver(only: list[str] | None, days: int = 9, control: str = "privileged", owner: str = "ana") -> Waiver:
    until = TODAY + datetime.timedelta(days=days)
    return Waiver(control=f"containers.{control}", reason="raw disks", owner=owner, until=until, only=only)


def privileged(name: str, engine: str = "podman", user: int = 0, **more: Any) -> Container:
    return listed(name, engine, user, **(PRIVILEGED | more))


def judged(*running: Container, waived: tuple[Waiver, ...] = (), **rules: Any) -> dict[str, Finding]:
    return {f.control.id.partition(".")[2]: f for f in context(*running, waived=waived, **rules).findings.values()}


def context(*running: Container, waived: tuple[Waiver, ...] = (), **rules: Any) -> Context:
    reading = docker(installed=False, running=False)
    host = Survey({Containers: beside(reading, *running, also=("podman",)), Docker: reading, Seccomp: KERNEL,
                   Lsm: LsmReading(("apparmor",), None, None, True, True)})  # fmt: skip
    rows: dict[Any, Any] = {ContainersRules: ContainersRules(**rules), SeccompRules: SeccompRules()}
    policy = Policy("p", rows, waived)
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def test_a_waiver_covers_what_it_names_and_nothing_that_comes_later() -> None:
    before = judged(privileged("backup"), waived=(waiver(["backup"]),), privileged=[])["privileged"]
    assert before.state is State.WAIVED
    assert before.verdict.reason.startswith("waived for backup by ana until ")
    assert "but for that: podman:backup holds every capability" in before.verdict.reason
    after = judged(privileged("backup"), privileged("evil"), waived=(waiver(["backup"]),), privileged=[])["privileged"]
    assert after.state is State.FAIL
    assert after.verdict.live.keys() == {"podman:evil"}
    assert "(waived for backup by ana until" in after.verdict.reason


@pytest.mark.parametrize(
    ("only", "state"),
    [(["podman:backup"], State.WAIVED), (["docker:backup"], State.FAIL), (["1000/backup"], State.FAIL),
     (None, State.WAIVED)],
)  # fmt: skip
def test_names_are_those_of_the_policys_lists(only: list[str] | None, state: State) -> None:
    assert judged(privileged("backup"), waived=(waiver(only),), privileged=[])["privileged"].state is state


@pytest.mark.parametrize(
    ("made_from", "named", "state"),
    [
        ("registry.example:5000/ops/backup:2", "image:registry.example:5000/ops/backup", State.WAIVED),
        ("registry.example:5000/ops/backup:2", "image:registry.example:5000/ops/backup:2", State.WAIVED),
        ("registry.example:5000/ops/backup:2", "image:registry.example:5000/ops/backup:3", State.FAIL),
        ("registry.example:5000/ops/backup:2", "image:ops/backup", State.FAIL),
        ("docker.io/library/nginx", "image:nginx:latest", State.WAIVED),
        ("nginx:1", "image:docker.io/library/nginx", State.WAIVED),
        ("nginx@sha256:12", "image:nginx", State.WAIVED),
        ("nginx@sha256:12", "image:nginx@sha256:12", State.WAIVED),
        ("nginx@sha256:12", "image:nginx:latest", State.FAIL),
        ("nginx@sha256:12", "image:nginx@sha256:34", State.FAIL),
        ("", "image:nginx", State.UNKNOWN),
    ],
)
def test_a_waiver_covers_what_was_made_from_an_image(made_from: str, named: str, state: State) -> None:
    ci = dataclasses.replace(privileged("ci-41"), image=made_from)
    assert judged(ci, waived=(waiver([named]),), privileged=[])["privileged"].state is state
    assert judged(ci, privileged=[named])["privileged"].state is (State.PASS if state is State.WAIVED else state)


def test_a_waiver_covers_all_of_a_user_and_no_image_of_his() -> None:
    own: dict[str, Any] = {"user": 1000, "seccomp": 0, "cap_bnd": FULL, "cap_eff": FULL}
    theirs = dataclasses.replace(listed("ci-41", "podman", **own), image="nginx")
    asked: dict[str, Any] = {"unfiltered": []}

    def state(named: str) -> State:
        return judged(theirs, waived=(waiver([named], control="seccomp"),), **asked)["seccomp"].state

    assert (state("user:1000"), state("user:1001"), state("image:nginx")) == (State.WAIVED, State.FAIL, State.FAIL)


@pytest.mark.parametrize("name", ["user:alice", "user:0", "user:", "image:", "image: nginx"])
def test_a_name_that_can_name_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"names (nobody|no image): write "):
        ContainersRules(privileged=[name])


def test_past_its_day_it_covers_nothing_and_the_finding_says_so() -> None:
    found = judged(privileged("backup"), waived=(waiver(["backup"], -1),), privileged=[])["privileged"]
    assert found.state is State.FAIL
    assert found.verdict.reason.endswith("the waiver has expired)")


def test_two_waivers_of_a_control_cover_what_each_of_them_names() -> None:
    both = (waiver(["backup"], 3), waiver(["ci"], 9, owner="bo"))
    found = judged(privileged("backup"), privileged("ci"), waived=both, privileged=[])["privileged"]
    assert found.state is State.WAIVED
    assert "waived for backup by ana" in found.verdict.reason
    assert "waived for ci by bo" in found.verdict.reason


def test_what_could_not_be_read_is_not_waived_with_the_rest() -> None:
    unread = Container("podman", 0, "id-x", "x", 9, None, Unknown("process 9 is gone"))
    found = judged(privileged("backup"), unread, waived=(waiver(["backup"]),), privileged=[])["privileged"]
    assert (found.state, "process 9 is gone" in found.verdict.reason) == (State.UNKNOWN, True)


@pytest.mark.parametrize("waived", [True, False])
def test_who_accepts_a_privileged_container_accepts_what_comes_with_that_alone(waived: bool) -> None:
    """By a waiver or by the policy's list: once, not for each of its six consequences."""
    own = {kind: 900 + number for number, kind in enumerate(OF_HOST)}
    host: dict[str, Any] = {"namespaces": own | {"net": OF_HOST["net"]}}
    accepted = (waiver(["backup"]),) if waived else ()
    rules = EVERYTHING | {"privileged": [] if waived else ["backup"], "mounts": None, "unmasked": None}
    found = judged(privileged("backup", **host), waived=accepted, **rules)
    alone = judged(privileged("backup", **host), **(EVERYTHING | {"mounts": None, "unmasked": None}))
    implied = {"capabilities", "seccomp", "confined", "devices", "no-new-privileges", "user-namespace"}
    assert {name for name in implied if alone[name].state is State.FAIL} == implied
    assert {found[name].state for name in implied} == {State.WAIVED if waived else State.PASS}
    assert found["host-namespaces"].state is State.FAIL, "that is another option's doing"


def test_a_waived_container_is_not_started_again() -> None:
    old = listed("old", "podman", label="unconfined")
    assert list(SUBJECT.plan(context(old, unconfined=[]))) != []
    assert list(SUBJECT.plan(context(old, waived=(waiver(["old"], control="confined"),), unconfined=[]))) == []


def test_the_report_says_which_waivers_name_nothing_and_which_nothing_needs() -> None:
    given = (waiver(None), waiver(["backup"]), waiver(["gone"], owner="bo"))
    policy = Policy("p", {}, given)
    found = judged(privileged("backup"), privileged("evil"), waived=given[1:], privileged=[]).values()
    rows = waivers.of_host(policy, found)
    assert [(row["only"], row["needed"]) for row in rows] == [(None, True), (["backup"], True), (["gone"], False)]
    said = list(waivers.sentences(waivers.summary([{"waivers": rows, "findings": []}])))
    assert "The waiver of containers.privileged covers every container, and each that is started later: name those " \
        "that it is for with `only` (owner: ana)." in said  # fmt: skip
    assert any(each.startswith("The waiver of containers.privileged for gone is needed by no host") for each in said)
    assert any(each.startswith("The waiver of containers.privileged for backup ends in 9 days") for each in said)
