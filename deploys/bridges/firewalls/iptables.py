"""Allowed flows that iptables refuses all the same: an accept in our own nft tables ends nothing in its chains.

They are found by walking the chains as they stand, whoever filled them: Docker, ufw, firewalld's older backend, an
administrator. Of a flow without a port, or of any protocol, one sample is asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from deploys.bridges.rules import HOST, WORLD, Allow, BridgesRules, Segment, segments
from facts.core.reading import known
from facts.networks.forward import Filter, Packet
from facts.networks.networks import NetworksReading

DISCARD = 9  # a port that few rules are about
FAMILIES = {4: "iptables", 6: "ip6tables"}


@dataclass(frozen=True)
class Refusal:
    what: str  # "tenants -> host (udp/53)"
    flow: Allow | None  # None: what a bridge passes on to itself
    by: str  # the rule, or "FORWARD policy DROP"

    @property
    def unasked(self) -> bool:
        """It reached the end of FORWARD: our own chain there is gone, or not as it was."""
        return self.by.startswith("FORWARD policy")

    @property
    def by_ufw(self) -> bool:
        """By a rule of ufw's, or since no rule of it lets it pass."""
        return self.flow is not None and self.flow.to == HOST and self.by.startswith(("-A ufw", "INPUT policy"))

    def __str__(self) -> str:
        return f"iptables refuses {self.what}: {self.by}"


def refusals(rules: BridgesRules, networks: NetworksReading) -> list[Refusal]:
    """Each once. Raises UnknownReading where iptables could not be read."""
    return list(dict.fromkeys([*_flows(rules, networks), *_within(rules, networks)]))


def _flows(rules: BridgesRules, networks: NetworksReading) -> Iterator[Refusal]:
    for flow in rules.allow:
        for packet in _packets(rules, networks, flow):
            yield from _refused(f"{flow.from_} -> {flow.to} ({flow})", flow, packet, networks, FAMILIES)


def _within(rules: BridgesRules, networks: NetworksReading) -> Iterator[Refusal]:
    """With br_netfilter, frames from one port of a bridge to another go through FORWARD too."""
    called = [family for family, tool in FAMILIES.items() if networks.nf_call.get(tool) == 1]
    for net in rules.networks.values():
        if net.switch == "linux":
            packet = Packet(net.bridge, net.bridge, proto="tcp", port=DISCARD)
            yield from _refused(f"what {net.bridge} passes on", None, packet, networks, called)


def _packets(rules: BridgesRules, networks: NetworksReading, flow: Allow) -> Iterator[Packet]:
    ends = {segment.name: segment for segment in segments(rules)}
    proto = "tcp" if flow.proto == "any" else flow.proto
    port = None if proto == "icmp" else flow.port or DISCARD
    source, target = ends.get(flow.from_), ends.get(flow.to)
    packet = Packet("", "", _subnets(source), _subnets(target), proto, port)
    if flow.to == HOST and source:
        packet = replace(packet, destination=tuple(address.partition("/")[0] for address in source.gateways))
    for comes in _devices(flow.from_, source, networks):
        for goes in _devices(flow.to, target, networks):
            yield replace(packet, comes=comes, goes=goes)


def _subnets(segment: Segment | None) -> tuple[str, ...]:
    return segment.subnets if segment else ()


def _devices(end: str, segment: Segment | None, networks: NetworksReading) -> tuple[str, ...]:
    if end == WORLD:
        return networks.outward_devices
    return (segment.device if segment else "",)  # "": the host itself


def _refused(
    what: str, flow: Allow | None, packet: Packet, networks: NetworksReading, families: Iterable[int]
) -> Iterator[Refusal]:
    tables: dict[int, Filter | None] = {4: known(networks.filter4), 6: known(networks.filter6)}
    for family in families:
        source, destination = _of(family, packet.source), _of(family, packet.destination)
        table = tables[family]
        if table is None or source is None or destination is None:
            continue
        verdict = table.verdict(replace(packet, source=source, destination=destination))
        if verdict.drop:
            yield Refusal(what, flow, verdict.by)


def _of(family: int, subnets: tuple[str, ...]) -> tuple[str, ...] | None:
    """Those of a family; None where there are others alone, so that no such packet comes."""
    found = tuple(subnet for subnet in subnets if ipaddress.ip_interface(subnet).version == family)
    return found if found or not subnets else None
