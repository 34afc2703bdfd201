"""What Open vSwitch does not store in its database: the flows, which decide what each port may send, and the host's
addresses.

nftables never sees frames that Open vSwitch switches. No flow uses NORMAL, with which an undeclared port would receive
flooded frames: frames enter only from declared ports and leave only through them.

Tables: 0 finds the segment by port, MAC and tag; 1 drops what no port may send; 2 checks the source addresses; 3 learns
the sender's port; 4 holds what was learnt; 5 outputs to the learnt port, or floods to all that the sender may reach.
Registers: 0 the segment, from 1; 1 the receiver's port; 2 whether the sender is isolated from its neighbours.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from deploys.bridges.nft_filter import UNSPECIFIED4, UNSPECIFIED6, Bound
from deploys.bridges.rules import METADATA, BridgeNetwork, BridgesRules, Port, Segment, segments
from deploys.bridges.wanted import put_address
from deploys.core.templates import render
from facts.networks.openvswitch import LOADED

HOST_MAC = "HOST-MAC"  # replaced by the bridge's MAC address when the flows are loaded
# Group addresses: a sender that has one as its source address would be sent what goes to the group.
GROUPS = "01:00:00:00:00:00/01:00:00:00:00:00"
LEARN = (
    "learn(table=4,priority=10,idle_timeout=300,NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
    "load:NXM_OF_IN_PORT[]->NXM_NX_REG1[0..15])"
)
OUT = f"{LEARN},resubmit(,4),resubmit(,5)"
NUMBERS = range(1024, 65000)  # OpenFlow port numbers, outside of those that the switch assigns by itself
LINK_LOCAL = "fe80::/10"


def switches(rules: BridgesRules) -> dict[str, BridgeNetwork]:
    return {name: net for name, net in rules.networks.items() if net.switch == "openvswitch"}


def numbers(net: BridgeNetwork) -> dict[str, int]:
    """The OpenFlow number of each device on the switch, by which flows match it; it stays when others come and go."""
    found: dict[str, int] = {}
    vlans = [f"{net.bridge}.{vlan.id}" for vlan in net.vlans]
    for name in [*vlans, *([net.uplink] if net.uplink else []), *net.ports]:
        number = NUMBERS[zlib.crc32(name.encode()) % len(NUMBERS)]
        while number in found.values():
            number += 1
        found[name] = number
    return found


def switch_text(rules: BridgesRules) -> str:
    """sh that loads all of it. The same rules give the same text on every host."""
    own = {name: [each for each in segments(rules) if each.network == name] for name in switches(rules)}
    return render(
        "bridges/openvswitch.sh.j2",
        host_mac=HOST_MAC,
        folder=LOADED.rpartition("/")[0],
        loaded=LOADED,
        switches=[
            {
                "bridge": net.bridge,
                "flows": list(flows(net, own[name], rules.metadata is not None)),
                "devices": list(dict.fromkeys([net.bridge, *(segment.device for segment in own[name])])),
                "addresses": [put_address(text, each.device) for each in own[name] for text in each.gateways],
            }
            for name, net in switches(rules).items()
        ],
    )


def flows(net: BridgeNetwork, own: list[Segment], closed: bool) -> Iterator[str]:
    """`closed`: ports reach the metadata addresses for DNS alone."""
    yield f"table=0,priority=50,dl_src={GROUPS},actions=drop"
    for number, segment in enumerate(own, 1):
        yield from _entries(net, segment, f"load:{number}->NXM_NX_REG0[]")
        yield from _exits(net, segment, number)
    for name in net.ports if closed else ():
        yield from _metadata(numbers(net)[name])
    yield f"table=3,priority=0,actions={OUT}"
    yield from (f"table={table},priority=0,actions=drop" for table in (0, 4, 5))
    if net.antispoof:
        yield from _never(own)
        yield from _claims(net)
        yield "table=1,priority=0,actions=resubmit(,2)"
        for segment in own:
            for name in segment.ports:
                yield from _sources(name, net.ports[name], segment, numbers(net)[name])
        yield "table=2,priority=0,actions=drop"


def _metadata(number: int) -> Iterator[str]:
    for address in METADATA:
        six, to = ("6", f"ipv6_dst={address}") if ":" in address else ("", f"nw_dst={address}")
        for proto in ("udp", "tcp"):
            yield f"table=3,priority=20,in_port={number},{proto}{six},{to},tp_dst=53,actions={OUT}"
        yield f"table=3,priority=10,in_port={number},{'ipv6' if six else 'ip'},{to},actions=drop"


def _entries(net: BridgeNetwork, segment: Segment, mark: str) -> Iterator[str]:
    """From the host and the uplink everything; from a port only what it may send."""
    number = numbers(net)
    yield f"table=0,priority=40,in_port={number.get(segment.device, 'LOCAL')},actions={mark},resubmit(,3)"
    if net.uplink and segment.vlan is None:
        yield f"table=0,priority=40,in_port={number[net.uplink]},actions={mark},resubmit(,3)"
    elif net.uplink and segment.vlan in net.tagged:
        match = f"in_port={number[net.uplink]},dl_vlan={segment.vlan}"
        yield f"table=0,priority=40,{match},actions=strip_vlan,{mark},resubmit(,3)"
    isolated = ",load:1->NXM_NX_REG2[]" if net.isolate == "ports" else ""
    for name in segment.ports:
        port, match = net.ports[name], f"in_port={number[name]}"
        if net.antispoof or net.vlans:
            yield f"table=0,priority=30,{match},vlan_tci=0x1000/0x1000,actions=drop"
        onwards = f"{mark}{isolated},resubmit(,{1 if net.antispoof else 3})"
        if port.mac and net.antispoof:
            yield f"table=0,priority=20,{match},dl_src={port.mac},actions={onwards}"
            yield f"table=0,priority=15,dl_src={port.mac},actions=drop"
        else:
            yield f"table=0,priority=10,{match},actions={onwards}"


def _exits(net: BridgeNetwork, segment: Segment, number: int) -> Iterator[str]:
    outputs = {name: str(port) for name, port in numbers(net).items()} | {net.bridge: "LOCAL"}
    inner, outer = outputs[segment.device], ""
    apart = ",reg2=0" if net.isolate == "ports" else ""
    # Fixed, so that a port cannot attract the host's frames by sending from its MAC address.
    yield f"table=4,priority=20,reg0={number},dl_dst={HOST_MAC},actions=load:{_register(inner)}->NXM_NX_REG1[0..15]"
    yield f"table=5,priority=20,reg0={number},reg1={_register(inner)},actions=output:{inner}"
    if net.uplink and (segment.vlan is None or segment.vlan in net.tagged):
        tag = f"push_vlan:0x8100,set_field:{4096 + segment.vlan}->vlan_vid," if segment.vlan else ""
        outer = f",{tag}output:{outputs[net.uplink]}"
        yield f"table=5,priority=20,reg0={number},reg1={outputs[net.uplink]},actions={outer[1:]}"
    for name in segment.ports:
        yield f"table=5,priority=20,reg0={number},reg1={outputs[name]}{apart},actions=output:{outputs[name]}"
    everywhere = ",".join(f"output:{port}" for port in (inner, *(outputs[name] for name in segment.ports)))
    yield f"table=5,priority=10,reg0={number},reg1=0,reg2=0,actions={everywhere}{outer}"
    yield f"table=5,priority=10,reg0={number},reg1=0,reg2=1,actions=output:{inner}{outer}"


def _register(port: str) -> str:
    """An OpenFlow port number, as a register holds it."""
    return "0xfffe" if port == "LOCAL" else port


def _never(own: list[Segment]) -> Iterator[str]:
    """DHCP and router answers, and whatever claims one of the host's own addresses."""
    gateways = [address.partition("/")[0] for segment in own for address in segment.gateways]
    matches = ["udp,tp_src=67", "udp6,tp_src=547", "icmp6,icmp_type=134", "icmp6,icmp_type=137"]
    for text in gateways:
        matches += [*_from(text), *([f"icmp6,icmp_type=136,nd_target={text}"] if ":" in text else [])]
    yield from (f"table=1,priority=10,{match},actions=drop" for match in matches)


def _claims(net: BridgeNetwork) -> Iterator[str]:
    """Neighbour advertisements: a port with addresses sends them for these alone, and no other port sends them."""
    claim, number = "icmp6,icmp_type=136", numbers(net)
    for name, port in net.ports.items():
        if not port.addresses:
            continue
        for text in Bound(name, port).six:
            yield f"table=1,priority=9,in_port={number[name]},{claim},nd_target={text},actions=resubmit(,2)"
        for text in (text for text in port.addresses if ":" in text):
            yield f"table=1,priority=8,{claim},nd_target={text},actions=drop"
        yield f"table=1,priority=7,in_port={number[name]},{claim},actions=drop"


def _sources(name: str, port: Port, segment: Segment, number: int) -> Iterator[str]:
    """The addresses that a port may send from: its own, or else any of the segment that no other port declares."""
    if port.addresses:
        four, six = [text for text in port.addresses if ":" not in text], Bound(name, port).six
        yield from _may(number, 20, port, [*four, UNSPECIFIED4], [*six, UNSPECIFIED6])
        yield from (f"table=2,priority=15,in_port={number},{what},actions=drop" for what in ("arp", "ip", "ipv6"))
        for text in port.addresses:
            yield from (f"table=2,priority=12,{match},actions=drop" for match in _from(text))
    elif segment.subnets:
        four, six = [[text for text in segment.subnets if (":" in text) == wanted] for wanted in (False, True)]
        yield from _may(number, 10, port, [*four, UNSPECIFIED4], [*six, LINK_LOCAL, UNSPECIFIED6])
    else:
        yield from (
            f"table=2,priority=10,in_port={number},{what},actions=resubmit(,3)" for what in ("arp", "ip", "ipv6")
        )


def _may(number: int, priority: int, port: Port, four: list[str], six: list[str]) -> Iterator[str]:
    """The unspecified IPv4 address is valid for ARP and for DHCP alone."""
    sender = f",arp_sha={port.mac}" if port.mac else ""
    matches = [f"arp,arp_spa={text}{sender}" for text in four]
    matches += [f"ip,nw_src={text}" for text in four if text != UNSPECIFIED4]
    matches += [f"udp,nw_src={UNSPECIFIED4},tp_dst=67", *(f"ipv6,ipv6_src={text}" for text in six)]
    yield from (f"table=2,priority={priority},in_port={number},{match},actions=resubmit(,3)" for match in matches)


def _from(text: str) -> list[str]:
    return [f"ipv6,ipv6_src={text}"] if ":" in text else [f"arp,arp_spa={text}", f"ip,nw_src={text}"]
