"""A host with AppArmor, judged and planned for."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

from deploys.apparmor.controls import AppArmorRules
from deploys.core.change import Change, Context
from deploys.core.control import Finding
from deploys.lsm.controls import LsmRules
from facts.apparmor import AppArmor, AppArmorReading, Profile
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.core.system import System, SystemReading
from facts.denials import Denials, DenialsReading
from facts.engines.docker.docker import Docker, DockerReading
from facts.kernel.boot import Boot
from facts.kernel.kernel import Kernel, KernelReading
from facts.lsm import Lsm, LsmReading
from facts.seccomp import Seccomp
from facts.selinux import SELinux
from tests.support import hosts
from tests.support.hosts import beside, judged, whole

SUBJECT = whole("apparmor")
ALL = AppArmorRules(enabled=True, containers=True, profiles=["man_groff"])
DENIED = Unknown("Permission denied")
CLOCK = 1_000_000
MAN = "/etc/apparmor.d/usr.bin.man"
OWN = "/etc/apparmor.d/hullproof-docker-default"
MAN_TEXT = "profile man_groff flags=(complain) {\n}\nprofile other flags=(complain) {\n}\n"


def apparmor(flags: tuple[str, ...] = (), mode: str = "enforce", **more: Any) -> AppArmorReading:
    values: dict[str, Any] = {
        "enabled": True,
        "parser": "/usr/sbin/apparmor_parser",
        "package": "4.1.0-1",
        "service": "enabled",
        "command_line": {},
        "profiles": {"docker-default": "enforce", "man_groff": mode, "runc": "unconfined"},
        "declared": (Profile("man_groff", MAN, flags), Profile("runc", "/etc/apparmor.d/runc", ("unconfined",))),
        "unconfined": (),
        "disabled": (),
        "force_complain": (),
        "files": {MAN: MAN_TEXT},
        "current": {},
    }
    return AppArmorReading(**{**values, **more})


BARE = apparmor(parser=None, package=None, service=None, profiles={}, declared=(), files={})


def kernel(boot: tuple[str, ...] | Unknown = ("ro", "quiet"), loader: str = "grub", **more: Any) -> KernelReading:
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(KernelReading)}
    values |= {"cmdline": ("ro", "quiet"), "boot": Boot(loader, "", boot, more.pop("defaults", {}))}
    return KernelReading(**{**values, **more})


def docker(containers: Any = (), live_restore: bool = False, **more: Any) -> DockerReading:
    info = {"SecurityOptions": ["name=apparmor"], "LiveRestoreEnabled": live_restore}
    return hosts.docker(**{"containers": containers, "info": info, **more})


def context(reading: Any = None, accept: str = "", rules: AppArmorRules = ALL, **more: Any) -> Context:
    engine = more.get("host") or docker()
    stack = more.get("stack", ("lockdown", "capability", "yama", "apparmor"))
    readings = {
        AppArmor: reading or apparmor(),
        Denials: DenialsReading(0, ("auditd's log",), more.get("gaps", ()), more.get("denials", ())),
        Docker: engine,
        Containers: beside(engine, *more.get("running", ()), also=("podman",)),
        Kernel: more.get("kernel") or kernel(),
        Lsm: LsmReading(stack, 1, "none", False, False),
        SELinux: SimpleNamespace(policy_loaded=more.get("selinux", False)),  # as much of it as is asked for here
        Seccomp: SimpleNamespace(daemon_started=more.get("started")),
        System: SystemReading("debian", (), "13", "", "x86_64", "h", 0, CLOCK, True, more.get("inside")),
    }
    return judged(SUBJECT, rules, readings, accept, more.get("lsm") or LsmRules())


def finding(where: Context, control: str) -> Finding:
    return where.findings[f"apparmor.{control}"]


def changes(where: Context) -> list[Change]:
    return list(SUBJECT.plan(where))
