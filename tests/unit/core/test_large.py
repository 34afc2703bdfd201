"""A host with ten thousand of anything is read, judged and planned within its share of the controller's time, and one
that says nonsense at length is read within it too."""

from __future__ import annotations

import contextlib
import importlib
import json
from functools import partial
from typing import Any

import pytest

from deploys.bridges.devices import differences
from deploys.bridges.rules import BridgesRules
from deploys.bridges.view import view_of
from deploys.core.change import Change, Context, Subject
from deploys.core.control import judge
from deploys.core.policy import Policy
from deploys.core.policy_file import load_policy
from deploys.subjects import SUBJECTS
from deploys.userns.ranges import own_start, plan_range
from facts.core import budget
from facts.core.budget import SPENT
from facts.core.fact import SectionFact
from facts.core.frame import read_frame
from facts.core.reading import Block, Section, Unknown, UnknownReading, jsonable
from facts.core.record import Record
from facts.core.survey import Survey
from facts.core.system import System
from facts.kernel import packages as kernel_packages
from facts.kernel import updates as kernel_updates
from tests.support import userns
from tests.support.cases import CASES, read
from tests.support.large import LARGE, ROWS, SELINUX, rows
from tests.support.recorded import frame

POLICY = """\
extends: strict
accept: [network-isolation, host-services, container-restart, userns-remap, forward-drop]
audit: {immutable: true}
apparmor: {profiles: [p5], container_profile: loaded}
lsm: {module: MODULE}
userns: {max_user_namespaces: 1000}
bridges:
  isolated_engines: [libvirt]
  networks:
    tenants: {bridge: br-tenants, subnets: [10.80.0.0/24], ports: {t-a: {}}}
    web: {bridge: br-web, vlans: [{id: 10, subnets: [10.81.1.0/24]}], ports: {web-a: {vlan: 10}}}
  allow: [{from: tenants, to: host, proto: udp, port: 53}, {from: web.10, to: world}]
"""
HOST = {
    "apparmor.AppArmor": "debian-13-form",
    "audit.Audit": "debian-13-hardened",
    "networks.bridges.Bridges": "debian12-hardened",
    "denials.Denials": "both-logs-form",
    "engines.docker.Docker": "debian13-containers",
    "engines.incus.Incus": "lxd-5",
    "engines.kubelet.Kubelet": "drop-ins-form",
    "engines.podman.Podman": "no-podman",
    "engines.containerd.Containerd": "debian13-docker",
    "engines.libvirt.Libvirt": "debian13-engines",
    "engines.lxc.Lxc": "debian13-stock",
    "engines.nspawn.Nspawn": "debian13-stock",
    "files.Files": "debian13-stock",
    "kernel.Kernel": "debian13",
    "kvm.Kvm": "debian13-form",
    "lsm.Lsm": "debian-13-hardened",
    "networks.Networks": "debian13-guarded",
    "containers.Containers": "debian13-docker-podman",
    "cgroups.Cgroups": "debian13",
    "engines.rootless.Rootless": "debian13-users",
    "core.record.Record": "debian13-hardened",
    "seccomp.Seccomp": "debian-13-hardened",
    "selinux.SELinux": "debian-13-stock",
    "core.system.System": "debian13",
    "userns.Userns": "debian13-hardened",
}
WITH_SELINUX = {"selinux.SELinux": "debian-13-enforcing-podman", "lsm.Lsm": "rhel-9-form"}
FACTS: list[type[SectionFact[Any]]] = list(
    dict.fromkeys([System, Record, *(fact for subject in SUBJECTS for fact in subject.facts)])
)
CONTROLS = [control for subject in SUBJECTS for control in subject.controls]


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Policy]:
    folder = tmp_path_factory.mktemp("policies")
    for module in ("apparmor", "selinux"):
        (folder / f"{module}.yml").write_text(POLICY.replace("MODULE", module))
    return {path.stem: load_policy(str(path), SUBJECTS) for path in folder.iterdir()}


def planned(subject: Subject, context: Context) -> list[Change]:
    return list(subject.plan(context))


def said_of(survey: Survey, policy: Policy) -> list[str]:
    """The reasons of all findings, and why what could not be planned could not, as a session comes to them."""
    findings = judge(CONTROLS, survey, policy)
    assert len(findings) == len(CONTROLS)
    context = Context(survey, policy, {finding.control.id: finding for finding in findings})
    said = [finding.verdict.reason for finding in findings]
    for subject in SUBJECTS:
        try:
            survey.budget.spend(partial(planned, subject, context))
        except UnknownReading as error:
            said.append(str(error))
    return said


@pytest.mark.parametrize("what", [*LARGE, *SELINUX])
def test_ten_thousand_are_read_judged_and_planned(
    what: str, policies: dict[str, Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SECONDS", 20)  # and a slow machine; what is quadratic takes minutes
    large = LARGE.get(what) or SELINUX[what]
    host, policy = (HOST, "apparmor") if what in LARGE else (HOST | WITH_SELINUX, "selinux")
    survey = Survey.parse(FACTS, list(frame(host, large)))
    assert [reading.unknown for reading in survey.readings.values() if isinstance(reading, Unknown)] == []
    said = said_of(survey, policies[policy])
    assert [text for text in said if SPENT in text] == []
    read = json.dumps([jsonable(reading) for fact, reading in survey.readings.items() if fact.key in large])
    assert "makes no sense" not in read
    assert len(read) > 5 * ROWS, "the rows are not in the reading"


def test_ten_thousand_ports_of_a_declared_bridge_are_moved(
    policies: dict[str, Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing stands in the way of it, unlike on the host above."""
    monkeypatch.setattr(budget, "SECONDS", 3)
    survey = Survey.parse(FACTS, list(frame(HOST, LARGE["ports on one bridge"])))
    rules = policies["apparmor"][BridgesRules]
    found = survey.budget.spend(lambda: list(differences(view_of(rules, survey))))
    assert len(found) > ROWS


def test_a_range_is_planned_among_ten_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SECONDS", 2)
    taken = "".join(f"u{n}:{0x7000_0000 + n * 65536}:65536\n" for n in range(4094))
    reading = userns.reading(taken + rows("v#:1#:1"), mapped=userns.both(1, 2) * ROWS)
    assert budget.Budget().spend(lambda: plan_range(reading)) == 196608
    assert budget.Budget().spend(lambda: own_start(reading)) is None


# What a careless pattern goes over again and again: from each line's beginning, from each letter of a word.
RUNS = "".join(letter * 60_000 for letter in ("\n", " ", '"', "1 ")) + "".join(letter * 10_000 for letter in "'=/{\\")
WORD = "a" * 1_500_000


@pytest.mark.parametrize("folder", sorted(path.name for path in CASES.iterdir() if path.is_dir()))
def test_nonsense_of_any_length_is_read_in_time(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SECONDS", 2)
    module, _, name = folder.rpartition(".")
    fact = getattr(importlib.import_module(f"facts.{module}"), name)
    tried: set[str] = set()
    for case in sorted((CASES / folder).glob("*.json")):
        section = read_frame(read(case)["output"]).get(fact.key)
        blocks = section.blocks if isinstance(section, Section) else {}
        for block in blocks.keys() - tried:
            lines = dict.fromkeys(line[: len(line) * part // 3] for line in blocks[block].text.split("\n")[:12]
                                  for part in (1, 2, 3))  # fmt: skip
            longer = (f"{line}{letter * 60_000}\n" for line in list(lines)[2:18:3] for letter in "a ")
            for text in (WORD, RUNS + "".join([*longer, *(line * 100 + f"{line}\n" * 100 for line in lines)])):
                grown = Section({**blocks, block: Block(0, text)})
                share = budget.Budget()
                with contextlib.suppress(Exception):  # it makes no sense: that is what it is
                    share.spend(partial(fact.parse, grown))
                assert share.left > 0, block
            tried.add(block)
    assert tried


PATTERNS = {
    "a line of apt-cache policy": lambda: kernel_updates._table(
        f"linux-image-1:\n  Installed: 1\n  Candidate: 1\n     1.0 500\n{' ' * 100_000}", {"linux-image-1": False}
    ),
    "what a kernel depends on": lambda: list(
        kernel_packages._image_dependency("linux-image-amd64", "1", "linux-image-1 (= " * 60_000, "")
    ),
}


@pytest.mark.parametrize("what", PATTERNS)
def test_a_line_of_any_length_is_read_in_time(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SECONDS", 2)
    budget.Budget().spend(PATTERNS[what])
