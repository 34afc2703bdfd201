"""Bridges that are not Docker's: their ports, and what iptables would do to the frames between them.

With br_netfilter, bridged frames pass through iptables where bridge-nf-call-iptables is 1, and Docker sets the FORWARD
policy to DROP. Then virtual machines on a bridge of the operator's own reach neither each other nor the network behind
the bridge. A change that could cause that is blocked here, whichever subject plans it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from deploys.core.change import Context, Obstacle
from deploys.core.control import some
from facts.core.reading import UnknownReading, known
from facts.engines import present
from facts.engines.shapes import EngineReading, by_bridge
from facts.networks.forward import Filter, Packet
from facts.networks.networks import SYSCTL_FILE, Bridge, Networks, NetworksReading

ACCEPT = "bridged-guests"  # accepting it: guests on such a bridge no longer reach each other
# How engines name the bridges that they create: Docker; Podman and netavark, CNI, LXC, LXD, Incus, libvirt.
DOCKERS = re.compile(r"docker\d+|docker_gwbridge|br-[0-9a-f]{12}")
PODMANS = re.compile(r"podman\d+")
ENGINES = re.compile(r"podman\d+|cni\d+|cni-podman\d+|lxcbr\d+|lxdbr\d+|incusbr\d+|virbr\d+")
FAMILIES = {4: "iptables", 6: "ip6tables"}
SWITCH = "net.bridge.bridge-nf-call-"  # followed by the tool
NO_RULES = Filter("ACCEPT", "ACCEPT", ())


@dataclass(frozen=True)
class Stopped:
    """A bridge whose frames are dropped: by a rule or policy of `tool`; or perhaps ("") by rules that are not read."""

    bridge: Bridge
    tool: str
    by: str

    def __str__(self) -> str:
        return f"{ports_of(self.bridge)}: {self.by}"

    @property
    def remedy(self) -> str:
        name = self.bridge.name
        return (
            f"`{self.tool} -I FORWARD -i {name} -o {name} -j ACCEPT`"
            if self.tool
            else f"a rule that accepts frames within {name}"
        )


def ports_of(bridge: Bridge) -> str:
    return f"{bridge.name} ({some(sorted(port.name for port in bridge.ports))})"


def strangers(bridge: str, ports: Sequence[str], containers: int) -> Sequence[str]:
    """Ports of an engine's network's bridge that do not lead to its containers: those whose name it would not give; or
    any of them, where there are more ports than `containers` and the bridge existed before the network."""
    others = [port for port in ports if not port.startswith("veth")]
    own = DOCKERS.fullmatch(bridge) or PODMANS.fullmatch(bridge)
    return others or (() if own or len(ports) <= containers else ports)


def carrying(engines: Sequence[EngineReading], reading: NetworksReading) -> list[Bridge]:
    """Bridges on which others than the containers of these engines communicate: those with two ports that are not
    isolated, and the one with the default route, which guests may join."""
    counts = {bridge: len(network.containers) for bridge, network in by_bridge(engines).items()}

    def foreign(bridge: Bridge) -> bool:
        named = bridge.name in counts or DOCKERS.fullmatch(bridge.name)
        ports = [port.name for port in bridge.ports]
        return not named or bool(strangers(bridge.name, ports, counts.get(bridge.name, 0)))

    def talks(bridge: Bridge) -> bool:
        several = len(bridge.ports) > 1 and not all(port.isolated for port in bridge.ports)
        return several or (bool(bridge.ports) and bridge.name in reading.outward_devices)

    return [bridge for bridge in known(reading.bridges) if foreign(bridge) and talks(bridge)]


def stopped_now(engines: Sequence[EngineReading], reading: NetworksReading) -> list[Stopped]:
    """The bridges on which iptables drops every new connection between two ports."""
    found = []
    for bridge in carrying(engines, reading):
        for family, tool in FAMILIES.items():
            if _met(bridge, family, reading) and (verdict := _table(family, reading).verdict(_packet(bridge))).drop:
                found.append(Stopped(bridge, tool, verdict.by))
                break
    return found


def stopped_by(
    engines: Sequence[EngineReading],
    reading: NetworksReading,
    *,
    called: Collection[int] = (),
    drops: Collection[int] = (),
) -> list[Stopped]:
    """The bridges some of whose frames pass now and would be dropped, if bridged frames passed through iptables of the
    families `called`, and if the FORWARD policy of the families `drops` were DROP."""
    found = []
    for bridge in carrying(engines, reading):
        rows = (_newly(bridge, family, reading, family in called, family in drops) for family in FAMILIES)
        if stopped := next(filter(None, rows), None):
            found.append(stopped)
    return found


def _newly(bridge: Bridge, family: int, reading: NetworksReading, called: bool, drops: bool) -> Stopped | None:
    # This run removes what an earlier one set (networks.br-netfilter): the frames are not lost because of that.
    met = _met(bridge, family, reading) and reading.files.get(SYSCTL_FILE) is None
    table = _table(family, reading)
    policy = "DROP" if drops else table.policy
    if not (called or met) or (met and policy == table.policy):
        return None  # nothing changes for them
    verdict = replace(table, policy=policy).passes(_packet(bridge))
    if verdict.drop:
        return Stopped(bridge, FAMILIES[family], verdict.by)
    unread = "" if met else _unread(family, reading)
    return Stopped(bridge, "", unread) if unread else None


def _unread(family: int, reading: NetworksReading) -> str:
    """What else may drop forwarded packets; "" for nothing."""
    if "firewalld" in known(reading.firewalls):
        return "firewalld may reject them"
    families = ("inet", "ip" if family == 4 else "ip6")
    own = (f"{families[1]} filter", "FORWARD")  # iptables', whose rules were evaluated
    guards = (guard for guard in known(reading.guards) or () if guard.hook == "forward")
    strange = (g for g in guards if g.table.split()[0] in families and (g.table, g.chain) != own)
    return next((f"the chain {guard.chain} of nft's table {guard.table} may drop them" for guard in strange), "")


def _met(bridge: Bridge, family: int, reading: NetworksReading) -> bool:
    """Whether the bridge's frames pass through iptables, by the host's sysctl or the bridge's own setting."""
    own = bridge.nf_call_iptables if family == 4 else bridge.nf_call_ip6tables
    return known(reading.br_netfilter) and (own or known(reading.nf_call.get(FAMILIES[family], 0)) == 1)


def _table(family: int, reading: NetworksReading) -> Filter:
    return known(reading.filter4 if family == 4 else reading.filter6) or NO_RULES


def _packet(bridge: Bridge) -> Packet:
    """A packet between two ports. On an engine's bridge it has addresses of the bridge's subnets; on another, any."""
    subnets = bridge.addresses if ENGINES.fullmatch(bridge.name) else ()
    return Packet(bridge.name, bridge.name, subnets, subnets, bridged=True)


# ------------------------------------------------------------------------------------------------ for plans


def obstacle(
    context: Context, cause: str, *, called: Collection[int] = (), drops: Collection[int] = ()
) -> Obstacle | None:
    """Why a change may not be made: its `cause` would cut guests off; None where it would not, or that is accepted."""
    if context.accepts(ACCEPT):
        return None
    try:
        found = stopped_by(present.engines(context.survey), context.survey[Networks], called=called, drops=drops)
    except UnknownReading as error:
        return Obstacle(why=f"{cause}; cannot determine whether frames on other bridges would then be dropped: {error}")
    return refusal(cause, found)


def refusal(cause: str, found: Sequence[Stopped]) -> Obstacle | None:
    if not found:
        return None
    return Obstacle(
        why=f"{cause}, which would drop frames between the ports of {' and of '.join(map(str, found))}. Guests there "
        "would reach neither each other nor the network behind the bridge",
        by_hand=f"accept those frames, now and at boot ({' and '.join(stopped.remedy for stopped in found)})",
        accepts=(ACCEPT,),
    )


def cut_off(context: Context, *, called: Collection[int] = (), drops: Collection[int] = ()) -> str:
    """Where that is accepted: the guests that a change cuts off, in a sentence; "" for none."""
    if not context.accepts(ACCEPT):
        return ""
    found = stopped_by(present.engines(context.survey), context.survey[Networks], called=called, drops=drops)
    names = " and on ".join(ports_of(stopped.bridge) for stopped in found)
    return f"guests on {names} reach neither each other nor the network behind the bridge any more" if found else ""
