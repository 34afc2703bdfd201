"""The nft tables that enforce a policy's bridges: the text of one file, a pure function of the rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploys.bridges.rules import (
    HOST,
    METADATA,
    WORLD,
    Allow,
    BridgeNetwork,
    BridgesRules,
    Port,
    Segment,
    engine_prefixes,
    guards,
    segments,
)
from deploys.core.templates import render
from deploys.networks.isolation import FROM_OWN, to_host
from facts.networks.bridges import TABLE

SERVED = ("udp/53", "tcp/53", "udp/67", "udp/547")  # DNS and DHCP, which engines serve on their bridges
UNSPECIFIED4, UNSPECIFIED6 = "0.0.0.0", "::"  # the source address of a device that has none yet


def filter_text(rules: BridgesRules) -> str:
    """The file. The same rules give the same text on every host."""
    all_segments = segments(rules)
    devices = _names([segment.device for segment in all_segments]) if all_segments else ""
    return render(
        "bridges/bridges.nft.j2",
        table=TABLE,
        hex=_hex,
        engines=engine_prefixes(rules),
        guards=guards(rules),
        served={engine: to_host([*SERVED, *services]) for engine, services in rules.guarded_engines.items()},
        from_own=FROM_OWN,
        networks=[
            _Network.of(name, network, all_segments)
            for name, network in rules.networks.items()
            if network.switch == "linux"
        ],
        metadata=list(_on_bridges(all_segments)) if rules.metadata else [],
        clouds=[f"{'ip6' if ':' in address else 'ip'} daddr {address}" for address in METADATA],
        devices=devices,
        inside=_names(dict.fromkeys(name for each in all_segments for name in (each.bridge, each.device))),
        masqueraded=list(_masqueraded(rules, all_segments)),
        to_host=[row for flow in rules.allow if flow.to == HOST for row in _flow(flow, all_segments, devices)],
        between=[
            *_within(rules, all_segments),
            *(row for flow in rules.allow if flow.to != HOST for row in _flow(flow, all_segments, devices)),
        ],
    )


def _names(devices: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{device}"' for device in devices) + " }"


def _set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"


def _versions(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Addresses or prefixes by version. nft has no empty set: the unspecified address stands for one."""
    texts = list(texts)
    four = [text for text in texts if ipaddress.ip_interface(text).version == 4]
    return four or [UNSPECIFIED4], [text for text in texts if text not in four] or [UNSPECIFIED6]


def eui64(mac: str) -> str:
    """The link-local address that the kernel derives from a MAC address."""
    raw = bytes.fromhex(mac.replace(":", ""))
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]))


def _hex(address: str) -> str:
    return f"0x{int(ipaddress.IPv6Address(address)):032x}"


@dataclass(frozen=True)
class Bound:
    """A port whose MAC or IP addresses are declared."""

    name: str
    port: Port

    @property
    def mac(self) -> str:
        return self.port.mac or ""

    @property
    def has_addresses(self) -> bool:
        return bool(self.port.addresses)

    @property
    def owned(self) -> list[str]:
        """Matches of frames that another port sends with its addresses."""
        four = [text for text in self.port.addresses if ":" not in text]
        six = [text for text in self.port.addresses if ":" in text]
        rows = [f"ether saddr {self.port.mac}"] if self.port.mac else []
        rows += [f"{what} {_set(four)}" for what in ("arp saddr ip", "ip saddr") if four]
        rows += [f"ip6 saddr {_set(six)}"] if six else []
        rows += [f"icmpv6 type nd-neighbor-advert @th,64,128 {_hex(text)}" for text in six]
        return [f'iifname != "{self.name}" {row}' for row in rows]

    @property
    def four(self) -> str:
        return _set(_versions(self.port.addresses)[0])

    @property
    def ipv4_or_unspecified(self) -> str:
        return _set(dict.fromkeys([*_versions(self.port.addresses)[0], UNSPECIFIED4]))

    @property
    def six(self) -> list[str]:
        """Its addresses and its link-local ones: those declared, else that of its MAC, else all of fe80::/10."""
        six = [text for text in self.port.addresses if ":" in text]
        if any(ipaddress.ip_address(text).is_link_local for text in six):
            return six
        return [*six, eui64(self.port.mac)] if self.port.mac else [*six, "fe80::/10"]

    @property
    def ipv6_or_unspecified(self) -> str:
        return _set([*self.six, UNSPECIFIED6])

    @property
    def foreign_claim(self) -> str:
        """Matches a neighbour advertisement for an address that is not its own."""
        masked = "@th,64,10 != 0x3fa "  # fe80::/10
        return "".join(masked if "/" in text else f"@th,64,128 != {_hex(text)} " for text in self.six)


@dataclass(frozen=True)
class _Part:
    """A segment as the bridge family matches it: by the ports that frames come from."""

    segment: str
    match: str
    subnets: tuple[str, ...]
    addresses: tuple[str, ...]

    @property
    def gateways4(self) -> list[str]:
        return [text for text in self.addresses if ":" not in text]

    @property
    def gateways6(self) -> list[str]:
        return [text for text in self.addresses if ":" in text]

    @property
    def four(self) -> str:
        return _set(_versions(self.subnets)[0])

    @property
    def ipv4_or_unspecified(self) -> str:
        return _set(dict.fromkeys([*_versions(self.subnets)[0], UNSPECIFIED4]))

    @property
    def ipv6_or_unspecified(self) -> str:
        return _set(dict.fromkeys([*_versions(self.subnets)[1], "fe80::/10", UNSPECIFIED6]))


@dataclass(frozen=True)
class _Network:
    name: str
    bridge: str
    uplink: str | None
    antispoof: bool
    tagging: bool  # the bridge is VLAN-aware: frames from a port are untagged, and the port is declared
    isolated: bool
    bound: list[Bound]
    parts: list[_Part]
    pairs: list[str]
    detours: list[str]  # packets that a port sends to the host to have them routed back to its neighbours

    @property
    def guarded(self) -> bool:
        return self.antispoof or self.tagging

    @classmethod
    def of(cls, name: str, network: BridgeNetwork, all_segments: list[Segment]) -> _Network:
        own = [segment for segment in all_segments if segment.network == name]
        bound = [Bound(port, what) for port, what in network.ports.items() if what.mac or what.addresses]
        parts = [
            _Part(
                segment=segment.name,
                match=f"iifname {_names(segment.ports)} " if segment.vlan else "",
                subnets=segment.subnets,
                addresses=tuple(address.partition("/")[0] for address in segment.gateways),
            )
            for segment in own
            if segment.ports or not segment.vlan
        ]
        return cls(
            name=name,
            bridge=network.bridge,
            uplink=network.uplink,
            antispoof=network.antispoof,
            tagging=bool(network.vlans),
            isolated=network.isolate != "none",
            bound=bound if network.antispoof else [],
            parts=parts,
            pairs=list(_pairs(network, own)),
            detours=list(_detours(own[0])) if _bridges_out(network) else [],
        )


def _pairs(network: BridgeNetwork, own: list[Segment]) -> Iterator[str]:
    """Matches of the pairs of ports between which frames pass."""
    for segment in own:
        if segment.vlan and not segment.ports:
            continue
        ports = _names(segment.ports) if segment.vlan else ""
        if network.isolate == "vlans":
            yield f"iifname {ports} oifname {ports}"
        if network.uplink and (segment.vlan is None or segment.vlan in network.tagged):
            yield f'iifname "{network.uplink}"' + (f" oifname {ports}" if ports else "")
            yield (f"iifname {ports} " if ports else "") + f'oifname "{network.uplink}"'


def _bridges_out(network: BridgeNetwork) -> bool:
    """Whether frames of isolated ports leave by an uplink of the same device that the host routes by."""
    return network.isolate == "ports" and network.uplink is not None and not network.vlans


def _detours(segment: Segment) -> Iterator[str]:
    for subnet, address in zip(segment.subnets, segment.gateways, strict=True):
        family = "ip6" if ":" in subnet else "ip"
        yield f"{family} daddr {subnet} {family} daddr != {address.partition('/')[0]}"


def _within(rules: BridgesRules, all_segments: list[Segment]) -> Iterator[str]:
    """With br_netfilter, bridged frames traverse this chain too, as from a device to itself."""
    for segment in all_segments:
        network = rules.networks[segment.network]
        if not segment.switched and (network.isolate != "ports" or _bridges_out(network)):
            yield f'iifname "{segment.device}" oifname "{segment.device}"'


def _flow(flow: Allow, all_segments: list[Segment], devices: str) -> Iterator[str]:
    by_name = {segment.name: f'"{segment.device}"' for segment in all_segments}
    words = ["iifname", f"!= {devices}" if flow.from_ == WORLD else by_name[flow.from_]]
    if flow.to != HOST:
        words += ["oifname", f"!= {devices}" if flow.to == WORLD else by_name[flow.to]]
    if flow.proto == "icmp":
        yield " ".join([*words, "meta l4proto { icmp, ipv6-icmp }"])
    elif flow.proto == "any":
        yield " ".join(words)
    elif flow.port is None:
        yield " ".join([*words, "meta l4proto", flow.proto])
    else:
        yield " ".join([*words, flow.proto, "dport", str(flow.port)])


def _masqueraded(rules: BridgesRules, all_segments: list[Segment]) -> Iterator[str]:
    """Private subnets with an allowed flow to the world: the host masquerades them."""
    outwards = {flow.from_ for flow in rules.allow if flow.to == WORLD}
    for segment in all_segments:
        if segment.name in outwards:
            yield from (subnet for subnet in segment.subnets if ipaddress.ip_network(subnet).is_private)


def _on_bridges(all_segments: list[Segment]) -> Iterator[str]:
    yield 'meta iifkind "bridge"'
    if others := [segment.device for segment in all_segments if segment.vlan or segment.switched]:
        yield f"iifname {_names(others)}"
