"""Allowed flows that iptables drops all the same: an accept in hullproof's nft tables does not end the evaluation of
iptables' chains.

The chains are evaluated as they are, whether Docker, ufw, firewalld's iptables backend or an administrator wrote them.
For a flow without a port, or of any protocol, one sample packet is evaluated.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from deploys.bridges.rules import HOST, WORLD, Allow, Segment
from deploys.bridges.view import BridgesView
from facts.core.reading import known
from facts.networks.forward import Filter, Packet, Verdict

DISCARD = 9  # a port that few rules match
FAMILIES = {4: "iptables", 6: "ip6tables"}


class Cause(Enum):
    """What drops a packet."""

    FORWARD_POLICY = auto()  # it reached the end of FORWARD: hullproof's own chain is missing there, or was changed
    UFW = auto()  # one of ufw's rules, or INPUT's policy, which ufw sets
    RULE = auto()  # a rule of another program, or of an administrator


@dataclass(frozen=True)
class Refusal:
    what: str  # "tenants -> host (udp/53)"
    flow: Allow | None  # None: frames that a bridge forwards between its own ports
    rule: str  # the rule, or "FORWARD policy DROP"
    cause: Cause

    def __str__(self) -> str:
        return f"iptables drops {self.what}: {self.rule}"


def refusals(view: BridgesView) -> list[Refusal]:
    """Each once. Raises UnknownReading where iptables could not be read."""
    return list(dict.fromkeys([*_flows(view), *_within(view)]))


def _flows(view: BridgesView) -> Iterator[Refusal]:
    for flow in view.rules.allow:
        for packet in _packets(view, flow):
            yield from _refused(f"{flow.from_} -> {flow.to} ({flow})", flow, packet, view, FAMILIES)


def _within(view: BridgesView) -> Iterator[Refusal]:
    """With br_netfilter, frames from one port of a bridge to another pass through FORWARD too."""
    called = [family for family, tool in FAMILIES.items() if view.networks.nf_call.get(tool) == 1]
    for net in view.rules.networks.values():
        if net.switch == "linux":
            packet = Packet(net.bridge, net.bridge, proto="tcp", port=DISCARD)
            yield from _refused(f"frames between the ports of {net.bridge}", None, packet, view, called)


def _packets(view: BridgesView, flow: Allow) -> Iterator[Packet]:
    ends = {segment.name: segment for segment in view.segments}
    proto = "tcp" if flow.proto == "any" else flow.proto
    port = None if proto == "icmp" else flow.port or DISCARD
    source, target = ends.get(flow.from_), ends.get(flow.to)
    packet = Packet("", "", _subnets(source), _subnets(target), proto, port)
    if flow.to == HOST and source:
        packet = replace(packet, destination=tuple(address.partition("/")[0] for address in source.gateways))
    for comes in _devices(flow.from_, source, view):
        for goes in _devices(flow.to, target, view):
            yield replace(packet, comes=comes, goes=goes)


def _subnets(segment: Segment | None) -> tuple[str, ...]:
    return segment.subnets if segment else ()


def _devices(end: str, segment: Segment | None, view: BridgesView) -> tuple[str, ...]:
    if end == WORLD:
        return view.networks.outward_devices
    return (segment.device if segment else "",)  # "": the host itself


def _refused(
    what: str, flow: Allow | None, packet: Packet, view: BridgesView, families: Iterable[int]
) -> Iterator[Refusal]:
    tables: dict[int, Filter | None] = {4: known(view.networks.filter4), 6: known(view.networks.filter6)}
    for family in families:
        source, destination = _of(family, packet.source), _of(family, packet.destination)
        table = tables[family]
        if table is None or source is None or destination is None:
            continue
        verdict = table.verdict(replace(packet, source=source, destination=destination))
        if verdict.drop:
            yield Refusal(what, flow, verdict.by, _cause(verdict, flow))


def _cause(verdict: Verdict, flow: Allow | None) -> Cause:
    if verdict.policy and verdict.chain == "FORWARD":
        return Cause.FORWARD_POLICY
    by_ufw = verdict.policy or verdict.chain.startswith("ufw")
    return Cause.UFW if by_ufw and flow is not None and flow.to == HOST else Cause.RULE


def _of(family: int, subnets: tuple[str, ...]) -> tuple[str, ...] | None:
    """Those of a family; None where all are of the other one, so that no such packet exists."""
    found = tuple(subnet for subnet in subnets if ipaddress.ip_interface(subnet).version == family)
    return found if found or not subnets else None
