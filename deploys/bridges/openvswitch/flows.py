"""What Open vSwitch does not keep in its database: flows, which say who may send what, and the host's addresses.

nftables never sees what goes through Open vSwitch. No flow says NORMAL, with which a port that somebody attaches would
hear what is flooded: nothing comes in but from declared ports, and nothing goes out but by them.

Tables: 0 which port, MAC and tag, and so which segment; 1 what nobody may send; 2 from which addresses; 3 learns where
the sender is; 4 what was learnt; 5 out, to where it was learnt, or else to all that the sender may reach.
Registers: 0 the segment, from 1; 1 the port where the receiver is; 2 whether the sender's neighbours are barred.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from deploys.bridges.devices import put_address
from deploys.bridges.nft_filter import NOBODY4, NOBODY6, Bound
from deploys.bridges.rules import METADATA, BridgeNetwork, BridgesRules, Port, Segment, segments
from facts.networks.openvswitch import LOADED

HEAD = "# Written by hullproof from the policy's `bridges`: what Open vSwitch's own database does not keep.\n"
HOST_MAC = "HOST-MAC"  # the bridge's is put in when they are loaded
# What the switch makes of the flows is kept beside, so that one put between ours is seen.
FLOWS = f"""umask 077
flows() {{
  sed "s/{HOST_MAC}/$(cat "/sys/class/net/$1/address")/" |
    ovs-ofctl -O OpenFlow13 --timeout=30 replace-flows "$1" - || exit 1
  mkdir -p {LOADED.rpartition("/")[0]} && ovs-ofctl -O OpenFlow13 --timeout=30 --no-stats dump-flows "$1" >{LOADED}"$1"
}}
"""
GROUPS = (
    "01:00:00:00:00:00/01:00:00:00:00:00"  # addresses that nobody may send from, or he would hear what goes to them
)
LEARN = (
    "learn(table=4,priority=10,idle_timeout=300,NXM_NX_REG0[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
    "load:NXM_OF_IN_PORT[]->NXM_NX_REG1[0..15])"
)
OUT = f"{LEARN},resubmit(,4),resubmit(,5)"
NUMBERS = range(1024, 65000)  # OpenFlow's for ports, clear of those that the switch gives by itself
LINK_LOCAL = "fe80::/10"


def switches(rules: BridgesRules) -> dict[str, BridgeNetwork]:
    return {name: net for name, net in rules.networks.items() if net.switch == "openvswitch"}


def numbers(net: BridgeNetwork) -> dict[str, int]:
    """A number for each device on the switch, which stays when others come and go: a flow knows a port by it."""
    found: dict[str, int] = {}
    vlans = [f"{net.bridge}.{vlan.id}" for vlan in net.vlans]
    for name in [*vlans, *([net.uplink] if net.uplink else []), *net.ports]:
        number = NUMBERS[zlib.crc32(name.encode()) % len(NUMBERS)]
        while number in found.values():
            number += 1
        found[name] = number
    return found


def switch_text(rules: BridgesRules) -> str:
    """sh that loads it all; the same for the same rules, whatever the host."""
    text = HEAD + FLOWS
    for name, net in switches(rules).items():
        own = [segment for segment in segments(rules) if segment.network == name]
        lines = flows(net, own, rules.metadata is not None)
        text += f"flows {net.bridge} <<'END'\n" + "".join(f"{line}\n" for line in lines) + "END\n"
        for device in {net.bridge: None, **{segment.device: None for segment in own}}:
            text += f"ip link set {device} up || exit 1\n"
        for segment in own:
            text += "".join(f"{put_address(address, segment.device)} || exit 1\n" for address in segment.gateways)
    return text


def flows(net: BridgeNetwork, own: list[Segment], closed: bool) -> Iterator[str]:
    """`closed`: nothing on it reaches the metadata addresses, but to ask for names."""
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
    """From the host and the uplink all of it, from ports what may come from them."""
    number = numbers(net)
    yield f"table=0,priority=40,in_port={number.get(segment.device, 'LOCAL')},actions={mark},resubmit(,3)"
    if net.uplink and segment.vlan is None:
        yield f"table=0,priority=40,in_port={number[net.uplink]},actions={mark},resubmit(,3)"
    elif net.uplink and segment.vlan in net.tagged:
        match = f"in_port={number[net.uplink]},dl_vlan={segment.vlan}"
        yield f"table=0,priority=40,{match},actions=strip_vlan,{mark},resubmit(,3)"
    barred = ",load:1->NXM_NX_REG2[]" if net.isolate == "ports" else ""
    for name in segment.ports:
        port, match = net.ports[name], f"in_port={number[name]}"
        if net.antispoof or net.vlans:
            yield f"table=0,priority=30,{match},vlan_tci=0x1000/0x1000,actions=drop"
        onwards = f"{mark}{barred},resubmit(,{1 if net.antispoof else 3})"
        if port.mac and net.antispoof:
            yield f"table=0,priority=20,{match},dl_src={port.mac},actions={onwards}"
            yield f"table=0,priority=15,dl_src={port.mac},actions=drop"
        else:
            yield f"table=0,priority=10,{match},actions={onwards}"


def _exits(net: BridgeNetwork, segment: Segment, number: int) -> Iterator[str]:
    ways = {name: str(port) for name, port in numbers(net).items()} | {net.bridge: "LOCAL"}
    inner, outer = ways[segment.device], ""
    apart = ",reg2=0" if net.isolate == "ports" else ""
    # Nobody draws the host's frames to himself by sending from its MAC address.
    yield f"table=4,priority=20,reg0={number},dl_dst={HOST_MAC},actions=load:{_register(inner)}->NXM_NX_REG1[0..15]"
    yield f"table=5,priority=20,reg0={number},reg1={_register(inner)},actions=output:{inner}"
    if net.uplink and (segment.vlan is None or segment.vlan in net.tagged):
        tag = f"push_vlan:0x8100,set_field:{4096 + segment.vlan}->vlan_vid," if segment.vlan else ""
        outer = f",{tag}output:{ways[net.uplink]}"
        yield f"table=5,priority=20,reg0={number},reg1={ways[net.uplink]},actions={outer[1:]}"
    for name in segment.ports:
        yield f"table=5,priority=20,reg0={number},reg1={ways[name]}{apart},actions=output:{ways[name]}"
    everywhere = ",".join(f"output:{way}" for way in (inner, *(ways[name] for name in segment.ports)))
    yield f"table=5,priority=10,reg0={number},reg1=0,reg2=0,actions={everywhere}{outer}"
    yield f"table=5,priority=10,reg0={number},reg1=0,reg2=1,actions=output:{inner}{outer}"


def _register(way: str) -> str:
    """OpenFlow's number of a port, as a register holds it."""
    return "0xfffe" if way == "LOCAL" else way


def _never(own: list[Segment]) -> Iterator[str]:
    """Answers of a DHCP server or a router, and whatever comes from the host's own addresses."""
    gateways = [address.partition("/")[0] for segment in own for address in segment.gateways]
    matches = ["udp,tp_src=67", "udp6,tp_src=547", "icmp6,icmp_type=134", "icmp6,icmp_type=137"]
    for text in gateways:
        matches += [*_from(text), *([f"icmp6,icmp_type=136,nd_target={text}"] if ":" in text else [])]
    yield from (f"table=1,priority=10,{match},actions=drop" for match in matches)


def _claims(net: BridgeNetwork) -> Iterator[str]:
    """Neighbour advertisements: a port with addresses speaks for these alone, and nobody else speaks for them."""
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
    """The addresses that a port may send from: its own, or else any of the segment that nobody else has declared."""
    if port.addresses:
        four, six = [text for text in port.addresses if ":" not in text], Bound(name, port).six
        yield from _may(number, 20, port, [*four, NOBODY4], [*six, NOBODY6])
        yield from (f"table=2,priority=15,in_port={number},{what},actions=drop" for what in ("arp", "ip", "ipv6"))
        for text in port.addresses:
            yield from (f"table=2,priority=12,{match},actions=drop" for match in _from(text))
    elif segment.subnets:
        four, six = [[text for text in segment.subnets if (":" in text) == wanted] for wanted in (False, True)]
        yield from _may(number, 10, port, [*four, NOBODY4], [*six, LINK_LOCAL, NOBODY6])
    else:
        yield from (
            f"table=2,priority=10,in_port={number},{what},actions=resubmit(,3)" for what in ("arp", "ip", "ipv6")
        )


def _may(number: int, priority: int, port: Port, four: list[str], six: list[str]) -> Iterator[str]:
    """Of IPv4, nobody's address is good for ARP and for DHCP alone."""
    sender = f",arp_sha={port.mac}" if port.mac else ""
    matches = [f"arp,arp_spa={text}{sender}" for text in four]
    matches += [f"ip,nw_src={text}" for text in four if text != NOBODY4]
    matches += [f"udp,nw_src={NOBODY4},tp_dst=67", *(f"ipv6,ipv6_src={text}" for text in six)]
    yield from (f"table=2,priority={priority},in_port={number},{match},actions=resubmit(,3)" for match in matches)


def _from(text: str) -> list[str]:
    return [f"ipv6,ipv6_src={text}"] if ":" in text else [f"arp,arp_spa={text}", f"ip,nw_src={text}"]
