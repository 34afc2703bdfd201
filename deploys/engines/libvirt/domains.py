"""Domains that libvirt has: what is against a rule is named, for whoever declared them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from deploys.core.control import (
    Control,
    Severity,
    Verdict,
    failed,
    not_applicable,
    passed,
    some,
)
from deploys.core.policy import Policy
from deploys.engines.libvirt.rules import LibvirtRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.libvirt.domains import Domain
from facts.engines.libvirt.libvirt import Libvirt


def absent(survey: Survey, policy: Policy) -> str | None:
    return None if survey[Libvirt].daemons else "libvirt is not installed"


def _listed(key: str, against: Callable[[Domain], str], survey: Survey, policy: Policy) -> Verdict:
    """Domains that the policy's list does not name."""
    may = getattr(policy[LibvirtRules], key)
    if why := absent(survey, policy):
        return not_applicable(why)
    if may is None:
        return not_applicable(f"the policy does not declare libvirt.{key}")
    domains = known(survey[Libvirt].domains)
    wrong = [f"{each.name}: {why} ({each.file})" for each in domains if each.name not in may and (why := against(each))]
    if wrong:
        reason = f"{some(wrong)}; the policy names {some(may) or 'none'} that may (libvirt.{key})"
        return failed(reason, declared=may, disk=wrong)
    return passed("no domain that the policy does not name is against this", declared=may, disk=[])


def _shared_ids(domain: Domain) -> str:
    return "root in it is root on the host (no idmap)" if domain.driver == "lxc" and not domain.idmap else ""


def _unlabelled(domain: Domain) -> str:
    return "it is declared without a label (seclabel of type none)" if domain.unlabelled else ""


def _emulated(domain: Domain) -> str:
    return f"its emulator has {some(domain.devices, 6)}" if domain.devices else ""


def _control(name: str, key: str, against: Callable[[Domain], str], title: str, severity: Severity, why: str,
             by_hand: str) -> Control:  # fmt: skip
    return Control(
        id=f"libvirt.{name}",
        title=title,
        severity=severity,
        why=why,
        check=partial(_listed, key, against),
        references=("NIST-800-190-4.4.3",),
        by_hand=f"{by_hand}, or name it in libvirt.{key}",
    )


CONTROLS = (
    _control(
        "host-ids", "host_ids", _shared_ids, "Containers of libvirt's are declared with ids of their own",
        Severity.HIGH, "Whoever gets out of a container as root is root on the host, unless its ids are mapped.",
        "declare idmap with virsh edit, give its files to these ids, and start it again",
    ),
    _control(
        "unlabelled", "unlabelled", _unlabelled, "No domain of libvirt's is declared without a label",
        Severity.HIGH, "What gets out of a container, or takes over an emulator, is stopped by nothing else.",
        "take the seclabel out with virsh edit, and start it again",
    ),
    _control(
        "emulated-devices", "emulated_devices", _emulated, "Guests have no emulated devices that they do not need",
        Severity.LOW, "A guest reaches the code of each in its emulator, as VENOM did by a floppy drive.",
        "take these devices out with virsh edit, and start it again",
    ),
)  # fmt: skip
