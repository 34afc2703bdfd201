"""A host with SELinux, judged and planned for."""

from __future__ import annotations

from typing import Any

from deploys.core.change import Change, Context
from deploys.core.control import Finding, judge
from deploys.core.policy import Policy, Rules
from deploys.lsm import controls as lsm_subject
from deploys.lsm.controls import LsmRules
from deploys.selinux.controls import SELinuxRules
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.core.system import System, SystemReading
from facts.denials import Denials, DenialsReading
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.lsm import Lsm, LsmReading
from facts.networks.networks import Networks
from facts.selinux import SELinux, SELinuxReading
from tests.support.apparmor import docker, kernel
from tests.support.hosts import networks, whole

SUBJECT = whole("selinux")
RULES = SELinuxRules(enforcing=True, containers=True, observe_hours=24)
DENIED = Unknown("Permission denied")
CLOCK, BOOTED = 1_000_000, 800_000
PERMISSIVE = "# comment\nSELINUX=permissive\nSELINUXTYPE=default\n"


def selinux(mode: Any = "permissive", says: Any = "permissive", **more: Any) -> SELinuxReading:
    """A Debian 13 that was booted into permissive."""
    values: dict[str, Any] = {
        "mode": mode,
        "config_mode": says,
        "type": "default",
        "command_line": {},
        "policy_loaded": mode != "disabled",
        "policy_version": 33,
        "modules": ("container", "docker"),
        "permissive": (),
        "labelled": True,
        "relabel_pending": False,
        "config": PERMISSIVE.replace("permissive", str(says)),
        "policies": ("default",),
        "policy_changed": BOOTED,
        "setfiles": True,
        "booleans": {},
        "observed_since": None,
        "reverted": None,
        "podman": (),
    }
    return SELinuxReading(**{**values, **more})


BARE = selinux(
    "disabled", None, config=None, type=None, policies=(), policy_changed=None, setfiles=False, modules=(),
    labelled=False,
)  # fmt: skip
ENFORCING = selinux("enforcing", "enforcing")
SELINUX_BOOT = kernel(("ro", "security=selinux"))


def context(reading: Any = ENFORCING, boot: Any = SELINUX_BOOT, accept: str = "", **more: Any) -> Context:
    survey = Survey(
        {
            SELinux: reading,
            Denials: DenialsReading(BOOTED, ("auditd's log",), more.get("gaps", ()), more.get("denials", ())),
            Docker: more.get("host") or docker(installed=False),
            Kernel: boot,
            Networks: networks(),
            Lsm: LsmReading((more.get("live", "selinux"),), 1, "none", False, False),
            System: SystemReading(more.get("family", "debian"), (), "", "", "", "", 0, CLOCK, True, more.get("inside")),
        }
    )
    lsm = more.get("lsm", LsmRules(module="selinux"))
    rules: dict[type[Rules], Rules] = {SELinuxRules: more.get("rules", RULES), LsmRules: lsm}
    policy = Policy("test", rules, accept=frozenset(accept.split()))
    controls = (*lsm_subject.SUBJECT.controls, *SUBJECT.controls)
    return Context(survey, policy, {f.control.id: f for f in judge(controls, survey, policy)})


def finding(where: Context, control: str = "enforcing") -> Finding:
    return where.findings[f"selinux.{control}"]


def changes(where: Context) -> list[Change]:
    return list(SUBJECT.plan(where))
