"""The policy's `networks` section; and whether containers on a network reach each other, judged from readings alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from deploys.core import templates
from deploys.core.policy import Rules
from deploys.core.same_text import same_text
from deploys.engines import foreign_bridges as bridged
from facts.core.reading import known
from facts.engines.shapes import EngineReading, Network, owner
from facts.networks.networks import LATER_FILE, LOADED_FILE, UNIT, NetworksReading
from facts.networks.own_tables import HEADS, Rows, opening, stranger

LATER_BRIDGE = re.compile(r"br-[0-9a-f]{12}")  # Docker's names for the bridges of new networks
RAW = "iptables drops IP packets alone, and no rule of hullproof's on the bridge drops raw frames (CAP_NET_RAW)"
SERVICES = "host-services"  # accepting it: running containers reach only the services of the host that the policy names


def _service(text: str) -> str:
    match = re.fullmatch(r"(?:tcp|udp)/([1-9]\d{0,4})", text)
    if not match or int(match[1]) > 65535:
        raise ValueError(f'"{text}" is not a service such as tcp/9100 or udp/53')
    return text


HostService = Annotated[str, AfterValidator(_service)]
# A source address belongs to a container where the host would answer it through the bridge that the packet came in by.
# The rules below are written as nft prints them.
FROM_OWN = ["ip saddr 0.0.0.0 udp dport 67 accept", "ip6 saddr :: accept", "fib saddr . iif oif missing drop"]
# A frame belongs to a port where it has the addresses that the port's other end was given. A container without an
# address asks for one from 0.0.0.0 and ::. Link-local IPv6 addresses are not checked: on a bridge routers use them.
AS_ITSELF = [
    "iifname . ether saddr != @macs drop",
    "iifname . arp saddr ether != @macs drop",
    "arp saddr ip != 0.0.0.0 iifname . arp saddr ip != @four drop",
    "ip saddr 0.0.0.0 udp dport 67 accept",
    "iifname . ip saddr != @four drop",
    "ip6 saddr != { ::, fe80::/10 } iifname . ip6 saddr != @six drop",
    "icmpv6 type nd-neighbor-advert @th,64,16 & 0xffc0 != 0xfe80 iifname . @th,64,128 != @targets drop",
]


def to_host(services: Iterable[str]) -> list[str]:
    """Rules for packets from containers to the host itself, as nft prints them. Without neighbour discovery no IPv6
    packet crosses a bridge at all."""
    kinds = ("nd-router-solicit", "nd-neighbor-solicit", "nd-neighbor-advert")
    found = [f"icmpv6 type {kind} accept" for kind in kinds]
    named = [f"{proto} dport {port} accept" for proto, _, port in (service.partition("/") for service in services)]
    return ["ct state established,related accept", *found, *named, "drop"]


class NetworksRules(Rules):
    """Bridge networks of the container engine."""

    model_config = ConfigDict(populate_by_name=True)

    icc: bool | None = Field(
        None, description="false: containers on the same bridge network do not reach each other (Docker's icc option)."
    )
    cover: Literal["all", "default"] | list[str] = Field(
        "default",
        description="The networks to which icc, host_services and antispoof apply: all, default (the container "
        "engine's default network), or a list of names.",
    )
    except_: list[str] = Field([], alias="except", description="Names of networks that are left as they are.")
    host_services: list[HostService] | None = Field(
        None,
        description="The only services of the host that containers reach, such as tcp/9100 or udp/53; [] is none. A "
        "published port is not a service of the host, except where Docker's userland proxy serves it.",
    )
    antispoof: Literal[True] | None = Field(
        None,
        description="true: packets that a container sends from a MAC or IP address not its own are dropped, on the "
        "networks of Docker and of root's Podman.",
    )
    br_netfilter: bool | None = Field(
        None,
        description="true: bridged frames pass through iptables, now and after a reboot, where the isolation of "
        "containers depends on it; with icc: false it depends on hullproof's own nft table instead.",
    )
    bridged_guests: Literal[True] | None = Field(
        None,
        description="true: iptables does not drop frames between the ports of bridges that are not the container "
        "engine's.",
    )
    guarded_forwarding: Literal[True] | None = Field(
        None,
        description="true: the FORWARD policy of each of IPv4 and IPv6 that the host forwards is DROP, so that only "
        "what a rule accepts is forwarded.",
    )


def covers(rules: NetworksRules, network: Network, default: bool) -> bool:
    """`default`: it is its engine's default network."""
    if network.driver != "bridge" or not network.bridge or network.name in rules.except_:
        return False
    if rules.cover == "all":
        return True
    return default if rules.cover == "default" else network.name in rules.cover


def covered(rules: NetworksRules, engines: Sequence[EngineReading]) -> list[Network]:
    return [network for network, wanted in _networks(rules, engines) if wanted]


def uncovered(rules: NetworksRules, engines: Sequence[EngineReading]) -> list[Network]:
    return [network for network, wanted in _networks(rules, engines) if not wanted]


def _networks(rules: NetworksRules, engines: Sequence[EngineReading]) -> Iterator[tuple[Network, bool]]:
    """Those of the engines that are installed, and whether the policy covers them."""
    for engine in engines:
        for network in known(engine.networks) if engine.installed else ():
            yield network, covers(rules, network, network.name == engine.default_network)


def none_installed(engines: Sequence[EngineReading]) -> str:
    """A clause that says so; "" where an engine is installed."""
    absent = [f"{engine.name} is not installed" for engine in engines if not engine.installed]
    return "; ".join(absent) if len(absent) == len(engines) else ""


# ------------------------------------------------------------------------------------------------ on disk


def isolated_on_disk(network: Network, engines: Sequence[EngineReading], reading: NetworksReading) -> bool:
    """Whether a file restores the isolation after a restart."""
    if reading.unit_enabled and (network.bridge in reading.on_disk().apart or made_later(network, reading)):
        return True
    engine = owner(network, engines)
    if not known(engine.iptables):
        return False
    return not known(engine.icc) if network.name == engine.default_network else not network.icc


def made_later(network: Network, reading: NetworksReading) -> bool:
    """Whether udev closes the network as its bridge appears: no rule of hullproof's exempts it."""
    later = bool(LATER_BRIDGE.fullmatch(network.bridge)) and closes_later(reading)
    return later and network.bridge not in reading.on_disk().spared


def by_udev(rules: NetworksRules, engines: Iterable[EngineReading]) -> bool:
    """Whether udev has to tell the bridges of networks that come later."""
    return rules.cover == "all" and any(engine.installed and not engine.own_bridges for engine in engines)


def later_patterns(rules: NetworksRules, engines: Iterable[EngineReading]) -> list[str]:
    """The names that bridges of networks have that come later, of engines that choose them so."""
    return [each.own_bridges for each in engines if rules.cover == "all" and each.installed and each.own_bridges]


def closes_later(reading: NetworksReading) -> bool:
    return same_text(known(reading.files.get(LATER_FILE)), later_rule())


def closes_unasked(rules: NetworksRules, reading: NetworksReading) -> bool:
    """Whether udev closes networks that Docker creates, though the policy no longer covers them."""
    return rules.cover != "all" and known(reading.files.get(LATER_FILE)) is not None


@cache
def later_rule() -> str:
    return templates.text("networks/later.rules")


# ------------------------------------------------------------------------------------------------ live


def why_not_isolated(network: Network, engines: Sequence[EngineReading], reading: NetworksReading) -> str:
    """Why containers on `network` reach each other in the running kernel; "" where they do not."""
    if reading.drops(network.bridge):
        return ""
    return _opened(network, reading) or why_reachable_by_ip(network, engines, reading) or RAW


def _opened(network: Network, reading: NetworksReading) -> str:
    """Why hullproof's tables, which should, do not keep them apart; "" where they should not, or no reason is known."""
    if network.bridge not in reading.on_disk().apart and not made_later(network, reading):
        return ""
    rows, silent = known(reading.own), out_of_force(reading)
    if silent:
        return next(iter(silent.values()))
    strange, sets = reading.remember("own rules", lambda: _looked_through(rows))  # once for all networks
    if row := strange or opening(network.bridge, sets):
        return f"the rule `{row}` in hullproof's chain forward is not hullproof's"
    return ""


def _looked_through(rows: Rows) -> tuple[str, dict[str, frozenset[str]]]:
    """The first rule that is not hullproof's, and all of them as sets."""
    strange = (stranger(place, rows) for place in HEADS if place in rows)
    return next(filter(None, strange), ""), {place: frozenset(found) for place, found in rows.items()}


def out_of_force(reading: NetworksReading) -> dict[str, str]:
    """Why none of the rules of hullproof's tables applies as hullproof loaded them, by the table's family."""
    rows, asleep = known(reading.own), known(reading.dormant)
    if (rows or asleep) and known(reading.files.get(LOADED_FILE)) is None:
        return dict.fromkeys(("bridge", "inet"), f"{UNIT} has not loaded the tables that are in the kernel")
    return {each: f"hullproof's table {each} hullproof is dormant, so none of its rules applies" for each in asleep}


def why_reachable_by_ip(network: Network, engines: Sequence[EngineReading], reading: NetworksReading) -> str:
    """The same for IP alone, the only protocol that containers use for anything but an attack."""
    if reading.drops(network.bridge):
        return ""
    found = _reachable_by(4, network, reading)
    if not found and any(":" in subnet for subnet in network.subnets):
        found = _reachable_by(6, network, reading)
    # A daemon that has not restarted since iptables=false was written still has its rules.
    if not found or known((engine := owner(network, engines)).iptables):
        return found
    return f"{found}, because {engine.name} runs with iptables=false"


def _reachable_by(version: int, network: Network, reading: NetworksReading) -> str:
    """The same for IPv4 or IPv6: isolation needs a rule that drops, and bridged frames that pass through iptables."""
    table, tool = (reading.filter4, "iptables") if version == 4 else (reading.filter6, "ip6tables")
    rules = known(table)
    if rules is None:
        return f"{tool} is not installed, so nothing enforces icc"
    subnets = tuple(subnet for subnet in network.subnets if (":" in subnet) == (version == 6))
    verdict = rules.between_ports(network.bridge, subnets)
    if not verdict.drop:
        despite = "" if network.icc else " although its icc is false"
        return f"{tool} accepts their packets{despite} ({verdict.by})"
    if not known(reading.br_netfilter):
        hint = ": Docker does not load it where ip_forward is 0" if reading.forwarding4 == 0 else ""
        return f"{tool} has the rule, but br_netfilter is not loaded and bridged frames bypass {tool}{hint}"
    return _not_called(tool, network, reading)


def _not_called(tool: str, network: Network, reading: NetworksReading) -> str:
    own = reading.bridge(network.bridge)
    called = own is not None and (own.nf_call_iptables if tool == "iptables" else own.nf_call_ip6tables)
    if called or known(reading.nf_call.get(tool, 0)) == 1:
        return ""
    return f"{tool} has the rule, but net.bridge.bridge-nf-call-{tool} is 0 and bridged frames bypass {tool}"


def isolation_fault(network: Network, engines: Sequence[EngineReading], reading: NetworksReading) -> str:
    if why := why_not_isolated(network, engines, reading):
        set_only = " (set on disk, not in force)" if isolated_on_disk(network, engines, reading) else ""
        return f"on network {network.name} containers reach each other{set_only}: {why}"
    if not isolated_on_disk(network, engines, reading):
        return f"on network {network.name} containers do not reach each other now, but no file restores that at boot"
    return ""


# ------------------------------------------------------------------------------------------------ new networks


def open_later(rules: NetworksRules, engines: Sequence[EngineReading], reading: NetworksReading) -> bool:
    """Whether the policy wants new networks isolated and something for that is missing: the udev rule, or an engine's
    own setting where changing it cuts off no guests."""
    if rules.cover != "all":
        return False
    if not closes_later(reading):
        return True
    lacking = any(lacks_default(engine) for engine in engines if engine.installed)
    return lacking and not bridged.stopped_by(engines, reading, called=(4,))


def lacks_default(engine: EngineReading) -> bool:
    """Whether the engine could isolate new networks by itself, for IP at least, and is not configured to. Raw frames,
    and networks created with an option against it, are left to the udev rule."""
    return known(engine.icc_later) is True
