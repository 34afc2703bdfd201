"""Networks: containers that do not reach each other, what they reach of the host, and the settings that both depend
on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from deploys.core.boot_units import idle, plan_units
from deploys.core.change import Change, Context, Subject, mending
from deploys.core.control import Check, Control, Impact, Severity, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines import foreign_bridges as bridged
from deploys.engines.protocol import NetworkEngine
from deploys.networks import forwarding, out_of_reach
from deploys.networks.forwarding import check_forwarding, guard_forwarding
from deploys.networks.host_services import check_antispoof, check_host_services
from deploys.networks.isolation import (
    SERVICES,
    NetworksRules,
    closes_unasked,
    covered,
    isolated_on_disk,
    isolation_fault,
    none_installed,
    open_later,
    uncovered,
    why_not_isolated,
)
from deploys.networks.switches import check_br_netfilter, check_bridged_guests, plan_br_netfilter, plan_bridged_guests
from deploys.networks.tables import ACCEPT, ANTISPOOF, HOST_SERVICES, ICC, plan_tables
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines import present
from facts.engines.shapes import EngineReading
from facts.kernel.kernel import Kernel
from facts.networks.networks import UNIT, Networks, NetworksReading


def _check_icc(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[NetworksRules]
    if rules.icc is not False:
        why = "the policy does not declare networks.icc" if rules.icc is None else "the policy allows it (networks.icc)"
        return not_applicable(why)
    engines = present.engines(survey)
    if why := none_installed(engines):
        return not_applicable(why)
    reading, networks = survey[Networks], covered(rules, engines)
    faults = [isolation_fault(network, engines, reading) for network in networks]
    every = [*networks, *out_of_reach.bridgeless(rules, engines)]
    around = {network.name: why for network in every if (why := out_of_reach.why_reachable(network, reading))}
    faults += [f"on network {name} containers reach each other: {why}" for name, why in around.items()]
    reasons = [reason for reason in (*faults, *_beyond(rules, engines, reading)) if reason]
    disk = {network.name: isolated_on_disk(network, engines, reading) for network in networks}
    live = {network.name: not why_not_isolated(network, engines, reading) for network in networks}
    live |= dict.fromkeys(around, False)
    declared = dict.fromkeys(live, True)
    if reasons:
        reason = f"{'; '.join(reasons)}; the policy keeps containers apart (networks.icc)"
        return failed(reason, declared=declared, disk=disk, live=live)
    if not networks:
        return not_applicable("networks.cover names none of the host's networks")
    out_of_reach.refuse_programs(networks, reading)
    return passed(f"containers do not reach each other on {', '.join(disk)}", declared=declared, disk=disk, live=live)


def _beyond(rules: NetworksRules, engines: Sequence[EngineReading], reading: NetworksReading) -> Iterator[str]:
    """New networks, and those that the policy excludes."""
    if open_later(rules, engines, reading):
        yield "containers on new networks would reach each other, though networks.cover is all"
    if closes_unasked(rules, reading):
        yield "new networks are closed, though networks.cover is not all"
    spared = {network.bridge: network.name for network in uncovered(rules, engines)}
    isolated = {*reading.dropped, *reading.on_disk().apart}
    for bridge in sorted(isolated & set(spared)):
        yield f"hullproof's table isolates containers on network {spared[bridge]}, though the policy does not cover it"


def _by_the_unit(check: Check) -> Check:
    """A check for which the unit counts as not enabled where no boot runs it."""

    def checked(survey: Survey, policy: Policy) -> Verdict:
        if (found := idle(survey, UNIT)) is None:
            return check(survey, policy)
        reading = replace(survey[Networks], unit_enabled=False)
        verdict = check(Survey({**survey.readings, Networks: reading}), policy)
        return verdict if verdict.state.holds else replace(verdict, reason=f"{verdict.reason}; {found.why}")

    return checked


CONTROLS = (
    Control(
        id=ICC,
        title="Containers on the same bridge network do not reach each other",
        severity=Severity.MEDIUM,
        why="A compromised container reaches every other on its network; a setting in a file alone drops no packet.",
        check=_by_the_unit(_check_icc),
        references=("CIS-Docker-2.2", "CIS-Docker-5.30", "NIST-800-190-4.4.2"),
        impact=Impact.RESTART,
        by_hand="have the container engine keep them apart: for Docker, set icc to false in daemon.json, restart it, "
        "and create other networks with com.docker.network.bridge.enable_icc=false",
    ),
    Control(
        id=HOST_SERVICES,
        title="Containers reach only the named services of the host",
        severity=Severity.MEDIUM,
        why="A service that listens for the host's own network also listens for every container, behind the firewall.",
        check=_by_the_unit(check_host_services),
        references=("NIST-800-190-4.4.2",),
        by_hand="make the host's own firewall drop what comes from containers' bridges to the host itself",
    ),
    Control(
        id=ANTISPOOF,
        title="Containers send only from their own MAC and IP addresses",
        severity=Severity.LOW,
        why="With CAP_NET_RAW, which Docker grants by default, a container can forge any address: it can impersonate "
        "its "
        "neighbours and intercept their traffic.",
        check=_by_the_unit(check_antispoof),
        references=("NIST-800-190-4.4.2", "CIS-Debian12-3.3.7"),
        by_hand="start the containers with --cap-drop NET_RAW, without which they cannot forge an address",
    ),
    Control(
        id="networks.br-netfilter",
        title="Bridged frames pass through iptables",
        severity=Severity.MEDIUM,
        why="Without br_netfilter, frames between containers bypass the rules that their engine writes for them.",
        check=check_br_netfilter,
        references=("CIS-Docker-2.2",),
        by_hand="remove what sets bridge-nf-call-iptables to 0 or blocks br_netfilter (the finding names the file), "
        "then run harden again",
    ),
    Control(
        id="networks.bridged-guests",
        title="Guests on bridges that are not the container engine's reach each other",
        severity=Severity.HIGH,
        why="With br_netfilter, a FORWARD policy of DROP, which Docker sets, cuts off virtual machines on every "
        "bridge.",
        check=check_bridged_guests,
        by_hand="make iptables accept what stays within the bridge that the finding names (-m physdev "
        "--physdev-is-bridged -j ACCEPT), or set net.bridge.bridge-nf-call-iptables to 0",
    ),
    Control(
        id="networks.forwarding",
        title="The host forwards only what a firewall rule accepts",
        severity=Severity.MEDIUM,
        why="Containers need forwarding; with a FORWARD policy of ACCEPT the host routes packets for everybody.",
        check=check_forwarding,
        references=("CIS-Debian12-3.3.1", "CIS-Docker-2.4"),
        impact=Impact.RESTART,
        by_hand="restart the container engine, which writes its own rules again, then run iptables -P FORWARD DROP, "
        "and ip6tables -P FORWARD DROP where the host forwards IPv6",
    ),
)


def plan(engines: Sequence[NetworkEngine], context: Context) -> Iterable[Change]:
    if context.failing("networks.br-netfilter"):
        yield from mending(["networks.br-netfilter"], plan_br_netfilter(context))
    if context.failing("networks.bridged-guests"):
        yield from mending(["networks.bridged-guests"], plan_bridged_guests(engines, context))
    if context.failing("networks.forwarding"):
        yield from mending(["networks.forwarding"], guard_forwarding(engines, context))
    if controls := context.which(ICC, HOST_SERVICES, ANTISPOOF):
        yield from plan_units(context, "networks", UNIT, controls=controls)
        yield from mending(controls, plan_tables(engines, context))


def subject(engines: Sequence[NetworkEngine]) -> Subject:
    """The subject, whose plans change these engines."""
    return Subject(
        name="networks",
        rules=NetworksRules,
        controls=CONTROLS,
        plan=partial(plan, engines),
        facts=(Networks, *present.SENDER_FACTS, Kernel, System),
        accepts=(ACCEPT, SERVICES, forwarding.ACCEPT, bridged.ACCEPT),
        unproved="to attempt it takes another host or guest on the network, and a proof has one host",
    )
