"""Exceptions from benchmarks for hosts without containers: what these take away, and containers need."""

from __future__ import annotations

from deploys.core.control import (
    Control,
    Severity,
    Verdict,
    failed,
    not_applicable,
    passed,
)
from deploys.core.policy import Policy
from deploys.kernel.rules import KernelRules
from deploys.kernel.scope import on_kernel
from deploys.kernel.sysctl_files import CLONE, FORWARD, NAMESPACES
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines import present
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import as_number


@on_kernel("forwarding", "forwarding on")
def forwarding(survey: Survey, policy: Policy) -> Verdict:
    """CIS wants 0. Docker sets 1 when it starts, so no file has to; a file that sets 0 cuts containers off as soon as
    the sysctls are reloaded."""
    sysctls = survey[Kernel].sysctls
    if "docker" not in present.installed(survey):
        return not_applicable("Docker is not installed, so no bridge of its needs forwarding")
    live = known(sysctls.value(FORWARD))
    stored = known(sysctls.stored(FORWARD))
    disk = stored.value if stored else None
    if stored and as_number(disk) is None:
        reason = f"{stored.file} sets {FORWARD}={disk}, which is not a number: the kernel rejects it"
        return failed(reason, declared="1", disk=disk, live=live)
    if stored and as_number(disk) == 0:
        reason = f"{stored.file} sets {FORWARD}={disk}: containers on bridges lose their network when that is applied"
        return failed(reason, declared="1", disk=disk, live=live)
    if live == "1":
        reason = "forwarding is on, as Docker's bridges need it (an exception from CIS 3.3.1)"
        return passed(reason, declared="1", disk=disk, live=live)
    if "docker" not in present.serving(survey):
        return not_applicable("Docker is not running; it turns forwarding on when it starts")
    return failed(f"{FORWARD} is {live}: containers on bridges have no network", declared="1", disk=disk, live=live)


@on_kernel("overlay", "the overlay module loadable")
def overlay(survey: Survey, policy: Policy) -> Verdict:
    if not present.installed(survey):
        return not_applicable("no container engine is installed, so no image is stored with overlay")
    kernel = survey[Kernel]
    there = known(kernel.has_module("overlay"))
    live = "loaded" if there else "not loaded"
    if where := known(kernel.blocked).get("overlay"):
        reason = f"the overlay module cannot be loaded ({where}), and container engines store images with it"
        return failed(reason, declared="loadable", disk=where, live=live)
    reason = "the overlay module can be loaded, as container engines need it (an exception from CIS 1.1.1.6)"
    return passed(reason, declared="loadable", disk="loadable", live=live)


@on_kernel("user_namespaces", "user namespaces allowed")
def user_namespaces(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[KernelRules]
    if not rules.rootless and not present.installed(survey):
        reason = "no container engine is installed, and the policy expects no rootless one either (kernel.rootless)"
        return not_applicable(reason)
    sysctls = survey[Kernel].sysctls
    if known(sysctls.value(NAMESPACES)) is None:
        return failed("this kernel was built without user namespaces", declared="above 0", disk=None, live=None)
    for key in (CLONE, NAMESPACES) if rules.rootless else (NAMESPACES,):
        live, stored = known(sysctls.value(key)), known(sysctls.stored(key))
        disk = stored.value if stored else None
        if live is not None and 0 in (as_number(live), as_number(disk)):
            where = f"{stored.file} sets {key}=0" if stored and as_number(disk) == 0 else f"{key} is 0"
            return failed(
                f"{where}: containers that need a user namespace do not start", declared="above 0", disk=disk, live=live
            )
    reason = "user namespaces are allowed, as containers need them (an exception from STIG RHEL-09-213105)"
    return passed(reason, declared="above 0", disk=disk, live=live)


CONTROLS = (
    Control(
        id="kernel.forwarding",
        title="IPv4 forwarding is on where Docker's bridges need it",
        severity=Severity.HIGH,
        why="Benchmarks for hosts without containers turn forwarding off, which cuts off every container on a bridge.",
        check=forwarding,
        references=("CIS-Debian12-3.3.1", "STIG-RHEL9-253075"),
        by_hand=f"remove {FORWARD}=0 from the file that the finding names, and set it to 1 with sysctl -w",
    ),
    Control(
        id="kernel.overlay",
        title="The overlay module can be loaded",
        severity=Severity.HIGH,
        why="Benchmarks for hosts without containers block the overlay module, and container engines then cannot store "
        "images with it.",
        check=overlay,
        references=("CIS-Debian12-1.1.1.6",),
        by_hand="remove the line of modprobe.d that the finding names",
    ),
    Control(
        id="kernel.user-namespaces",
        title="Containers can use user namespaces",
        severity=Severity.HIGH,
        why="Without user namespaces root in a container is root on the host. Some benchmarks turn them off.",
        check=user_namespaces,
        references=("STIG-RHEL9-213105",),
        by_hand="boot a kernel that was built with CONFIG_USER_NS, and set no limit of 0 in /etc/sysctl.d",
    ),
)
