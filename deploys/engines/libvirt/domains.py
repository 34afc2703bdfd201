"""Domains that libvirt has: what is against a rule is named, for whoever declared them; of those that the policy
owns harden declares it (owned.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

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
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.libvirt.domains import DROPPABLE, Domain
from facts.engines.libvirt.interfaces import Interface, Network, stops_spoofing
from facts.engines.libvirt.libvirt import Libvirt, LibvirtReading
from facts.networks.bridges import Bridges, BridgesReading

BRIDGED = ("network", "bridge", "ethernet", "direct")  # kinds of interfaces that have neighbours
Against = Callable[[Domain, Survey, Policy], str]


def absent(survey: Survey, policy: Policy) -> str | None:
    return None if survey[Libvirt].daemons else "libvirt is not installed"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is asked of every domain. `against` says what is against it, "" if nothing. `wants`: what the policy wants,
    where its key does not list the domains that may; `owned`: harden declares it of domains that the policy owns."""

    name: str
    key: str
    against: Against
    title: str
    severity: Severity
    why: str
    by_hand: str
    wants: str = ""
    owned: bool = False

    @property
    def id(self) -> str:
        return f"libvirt.{self.name}"

    def found(self, survey: Survey, policy: Policy) -> Iterator[tuple[Domain, str]]:
        """Domains that are against it, and why."""
        may = () if self.wants else getattr(policy[LibvirtRules], self.key)
        for domain in known(survey[Libvirt].domains):
            if domain.name not in may and (why := self.against(domain, survey, policy)):
                yield domain, why

    def check(self, survey: Survey, policy: Policy) -> Verdict:
        declared = getattr(policy[LibvirtRules], self.key)
        if why := absent(survey, policy):
            return not_applicable(why)
        if declared is None:
            return not_applicable(f"the policy does not declare libvirt.{self.key}")
        wrong = [f"{domain.name}: {why} ({domain.file})" for domain, why in self.found(survey, policy)]
        if wrong:
            wants = f"wants {self.wants}" if self.wants else f"names {some(declared) or 'none'} that may"
            return failed(f"{some(wrong)}; the policy {wants} (libvirt.{self.key})", declared=declared, disk=wrong)
        if unread := survey[Libvirt].unread:
            raise UnknownReading(some(f"{each.file}: {each.why}" for each in unread))
        return passed("no domain that the policy does not name is against this", declared=declared, disk=[])

    def control(self) -> Control:
        ways = [self.by_hand]
        ways += [] if self.wants else [f"name it in libvirt.{self.key}"]
        ways += ["have harden do it: name it in libvirt.owned"] if self.owned else []
        return Control(
            id=self.id,
            title=self.title,
            severity=self.severity,
            why=self.why,
            check=self.check,
            references=("NIST-800-190-4.4.3",),
            by_hand=", or ".join(ways),
        )


def _shared_ids(domain: Domain, survey: Survey, policy: Policy) -> str:
    return "root in it is root on the host (no idmap)" if domain.driver == "lxc" and not domain.idmap else ""


def held(domain: Domain, policy: Policy) -> list[str]:
    """What a container gets of the capabilities that the policy refuses."""
    refused = policy[LibvirtRules].domain_capabilities or []
    return [name for name in DROPPABLE if name in refused and name not in domain.dropped]


def _holds(domain: Domain, survey: Survey, policy: Policy) -> str:
    names = held(domain, policy) if domain.driver == "lxc" else []
    return f"it gets {some(names, 12)}" if names else ""


def _unlabelled(domain: Domain, survey: Survey, policy: Policy) -> str:
    return "it is declared without a label (seclabel of type none)" if domain.unlabelled else ""


def _emulated(domain: Domain, survey: Survey, policy: Policy) -> str:
    return f"its emulator has {some(domain.devices, 6)}" if domain.devices else ""


def _unfiltered(domain: Domain, survey: Survey, policy: Policy) -> str:
    return "; ".join(dict.fromkeys(why for _, why in open_interfaces(domain, survey, policy)))


def open_interfaces(domain: Domain, survey: Survey, policy: Policy) -> Iterator[tuple[Interface, str]]:
    """Those on which the domain may take its neighbours' addresses, and why."""
    libvirt = survey[Libvirt]
    for each in domain.interfaces:
        network = network_of(each, libvirt)
        held = bool(each.filter) and not network.virtualport and stops_spoofing(each.filter, libvirt.filters)
        if each.kind not in BRIDGED or held or _isolated(network.bridge, survey[Bridges]):
            continue
        lets = "does not hold on its port (virtualport)" if network.virtualport else "lets it"
        has = f"has the filter {each.filter}, which {lets}" if each.filter else "has no filter"
        yield each, f"its interface on {each.source or each.kind} {has}"


def network_of(interface: Interface, libvirt: LibvirtReading) -> Network:
    """Where its port is: on one of libvirt's networks, or on a bridge of the host's."""
    if interface.kind != "network":
        return Network(interface.source, interface.virtualport)
    found = libvirt.networks.get(interface.source, Network("", virtualport=False))
    return replace(found, virtualport=found.virtualport or interface.virtualport)


def _isolated(bridge: str, bridges: BridgesReading) -> bool:
    """Whether hullproof's own table (bridges.isolated_engines) lets no port of the bridge reach another."""
    tables = (bridges.filter_on_disk(), bridges.filter_live())
    return all(any(fnmatchcase(bridge, name) for name in table.isolated) for table in tables)


IDS = Rule(
    name="host-ids",
    key="host_ids",
    against=_shared_ids,
    title="Containers of libvirt's are declared with ids of their own",
    severity=Severity.HIGH,
    why="Whoever gets out of a container as root is root on the host, unless its ids are mapped.",
    by_hand="declare idmap with virsh edit, give its files to these ids, and start it again",
    owned=True,
)
CAPABILITIES = Rule(
    name="domain-capabilities",
    key="domain_capabilities",
    against=_holds,
    title="Containers of libvirt's are declared without the capabilities that the policy names",
    severity=Severity.MEDIUM,
    why="Each one widens what a taken-over process can do to the host, where root in it is root on the host.",
    by_hand="take them with virsh edit (<features><capabilities><NAME state='off'/>), and start it again",
    wants="that none gets these",
    owned=True,
)
FILTERED = Rule(
    name="filtered",
    key="unfiltered",
    against=_unfiltered,
    title="Domains keep to their own MAC and IP addresses",
    severity=Severity.MEDIUM,
    why="A guest that takes its neighbour's address gets what was sent to the neighbour, or passes for it.",
    by_hand="declare <filterref filter='clean-traffic'/> in each interface with virsh edit, and start it again",
    owned=True,
)
RULES = (
    IDS,
    CAPABILITIES,
    FILTERED,
    Rule(
        name="unlabelled",
        key="unlabelled",
        against=_unlabelled,
        title="No domain of libvirt's is declared without a label",
        severity=Severity.HIGH,
        why="What gets out of a container, or takes over an emulator, is stopped by nothing else.",
        by_hand="take the seclabel out with virsh edit, and start it again",
    ),
    Rule(
        name="emulated-devices",
        key="emulated_devices",
        against=_emulated,
        title="Guests have no emulated devices that they do not need",
        severity=Severity.LOW,
        why="A guest reaches the code of each in its emulator, as VENOM did by a floppy drive.",
        by_hand="take these devices out with virsh edit, and start it again",
    ),
)
CONTROLS = tuple(rule.control() for rule in RULES)
