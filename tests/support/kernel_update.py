"""A host whose newest kernel waits, or does not: what is judged and planned about its update."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploys.core.change import Change, Command, Context
from deploys.core.control import Verdict, judge
from deploys.core.policy import Policy
from deploys.kernel.controls import CONTROLS
from deploys.kernel.rules import KernelRules
from facts.containers import Containers
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines.docker.docker import Docker
from facts.kernel.boot import Boot
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.packages import Package, Reboot
from facts.kernel.updates import GATE_FILES, NeedRestart, Offer, Updates
from tests.support.hosts import beside
from tests.support.kernel_host import DOCKER, KERNEL, SUBJECT, SYSTEM

NOW = 1_795_000_000  # 2026-11-18 11:06:40 UTC, a Wednesday
OLD, NEW = "6.1.0-50-cloud-amd64", "6.1.0-56-cloud-amd64"
META = Offer("linux-image-cloud-amd64", "6.1.176-1", "6.1.192-2", "6.1.192-2", True, False, NEW)
SAME = replace(META, candidate="6.1.176-1", newest="6.1.176-1", security=False, release=OLD)
UPDATES = Updates(
    offers=(SAME,), lists=NOW - 3600, unrefreshed="", half=(), free=500_000, needed=20_000, built={},
    needrestart=NeedRestart.SILENT, on_trial="", last=None, rejected=(), gate=dict.fromkeys(GATE_FILES),
)  # fmt: skip
BOOT = Boot("grub", "e", ("ro",), {}, release=OLD, releases=(OLD,), once="")


def package(release: str, version: str) -> Package:
    return Package(f"linux-image-{release}", version, release, False)


def kernel(**more: Any) -> KernelReading:
    updates = replace(UPDATES, **{name: more.pop(name) for name in list(more) if hasattr(UPDATES, name)})
    boot = replace(
        BOOT, **{name: more.pop(name) for name in list(more) if name in ("release", "releases", "once", "loader")}
    )
    base = replace(
        KERNEL, release=OLD, version="6.1.176-1", packages=(package(OLD, "6.1.176-1"),), boot=boot, updates=updates,
        reboot=Reboot(False, "the newest installed kernel is running"),
    )  # fmt: skip
    return replace(base, **more)


PENDING: dict[str, Any] = {
    "packages": (package(OLD, "6.1.176-1"), package(NEW, "6.1.192-2")),
    "releases": (OLD, NEW),
    "reboot": Reboot(True, f"{OLD} is running, and the newer {NEW} is installed"),
}


def survey(reading: KernelReading, docker: Any = DOCKER, containers: Any = None) -> Survey:
    there = containers or beside(docker)
    return Survey({Kernel: reading, Docker: docker, Containers: there, System: replace(SYSTEM, clock=NOW)})


def verdict(id_: str, reading: KernelReading, **rules: Any) -> Verdict:
    control = next(control for control in CONTROLS if control.id == id_)
    return judge([control], survey(reading), Policy("test", {KernelRules: KernelRules(**rules)}))[0].verdict


def plan(
    reading: KernelReading,
    accept: tuple[str, ...] = (),
    docker: Any = DOCKER,
    containers: Any = None,
    **rules: Any,
) -> list[Change]:
    host = survey(reading, docker, containers)
    policy = Policy("test", {KernelRules: KernelRules(**rules)}, accept=frozenset(accept))
    found = {finding.control.id: finding for finding in judge(CONTROLS, host, policy)}
    return list(SUBJECT.plan(Context(host, policy, found)))


OLDER = tuple(package(f"6.1.0-{n}-cloud-amd64", f"6.1.{n}-1") for n in (40, 45))


def calls(changes: list[Change]) -> list[str]:
    return [change.script.splitlines()[-1] for change in changes if isinstance(change, Command)]


IN_THE_PLACE = (
    f"a newer build of the same release replaces the files of the running kernel {OLD}, and runs only after a reboot"
)
