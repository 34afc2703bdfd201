"""Which networks are to keep their containers apart, and whether the kernel does: the rules, and the pure judging."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from deploys.core import templates
from deploys.core.policy import Rules
from deploys.engines import foreign_bridges as bridged
from deploys.engines.docker.daemon import configured, off
from facts.core.reading import Unknown, known
from facts.engines.docker.docker import DockerReading, Network
from facts.networks.networks import LATER_FILE, RULES_FILE, NetworksReading

ENABLE_ICC = "com.docker.network.bridge.enable_icc"
LATER_BRIDGE = re.compile(r"br-[0-9a-f]{12}")  # as Docker names the bridges of networks
RAW = "iptables stops IP alone, and no rule of ours on the bridge stops raw frames (CAP_NET_RAW)"
SERVICES = "host-services"  # accepting it: running containers reach of the host only what the policy names


def _service(text: str) -> str:
    match = re.fullmatch(r"(?:tcp|udp)/([1-9]\d{0,4})", text)
    if not match or int(match[1]) > 65535:
        raise ValueError(f'"{text}" is no service such as tcp/9100 or udp/53')
    return text


HostService = Annotated[str, AfterValidator(_service)]
# An address is a container's own where the host would answer it by the bridge that it came in by. As nft prints it.
FROM_OWN = ["ip saddr 0.0.0.0 udp dport 67 accept", "ip6 saddr :: accept", "fib saddr . iif oif missing drop"]
# A frame is its port's own where it names what that was given. Without an address one asks by 0.0.0.0 and ::, and
# link-local ones, which nobody speaks to over a bridge but routers, are anybody's.
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
    """Rules for what comes from containers to the host itself, as nft prints them. Without neighbour discovery no IPv6
    passes a bridge at all."""
    kinds = ("nd-router-solicit", "nd-neighbor-solicit", "nd-neighbor-advert")
    found = [f"icmpv6 type {kind} accept" for kind in kinds]
    named = [f"{proto} dport {port} accept" for proto, _, port in (service.partition("/") for service in services)]
    return ["ct state established,related accept", *found, *named, "drop"]


class NetworksRules(Rules):
    """Bridge networks of the container engine."""

    model_config = ConfigDict(populate_by_name=True)

    icc: bool | None = Field(None, description="false: containers on one bridge network do not reach each other")
    cover: Literal["all", "default"] | list[str] = Field(
        "default",
        description="the networks that icc, host_services and antispoof are about: all, default (Docker's own "
        "bridge), or names",
    )
    except_: list[str] = Field([], alias="except", description="names of networks that are left as they are")
    host_services: list[HostService] | None = Field(
        None,
        description="all that containers reach of the host's own services, such as tcp/9100 or udp/53; [] is none. "
        "What is published is no service of the host's, but where Docker's userland proxy serves it",
    )
    antispoof: Literal[True] | None = Field(
        None, description="true: what a container sends from a MAC or IP address that is not its own is dropped"
    )
    br_netfilter: bool | None = Field(
        None,
        description="true: bridged frames meet iptables, now and after a reboot, where that is what keeps containers "
        "apart; with icc: false hullproof's own table does, and needs it not",
    )
    bridged_guests: Literal[True] | None = Field(
        None, description="true: iptables does not drop what bridges that are not Docker's pass on between their ports"
    )
    guarded_forwarding: Literal[True] | None = Field(
        None, description="true: what the engine's rules leave over is not forwarded: a FORWARD policy of DROP"
    )


def covers(rules: NetworksRules, network: Network) -> bool:
    if network.driver != "bridge" or not network.bridge or network.name in rules.except_:
        return False
    if rules.cover == "all":
        return True
    return network.name == "bridge" if rules.cover == "default" else network.name in rules.cover


def covered(rules: NetworksRules, docker: DockerReading) -> list[Network]:
    return [network for network in known(docker.networks) if covers(rules, network)]


def in_rules(text: str | Unknown | None) -> tuple[str, ...]:
    """The bridges that our rules file keeps apart."""
    return tuple(re.findall(r'^[ \t]*meta ibrname "([^"\n]+)" drop$', known(text) or "", re.MULTILINE))


def _spared(text: str | Unknown | None) -> tuple[str, ...]:
    """Those that it leaves alone."""
    return tuple(re.findall(r'ibrname "([^"\n]+)" accept', known(text) or ""))


def lasting(network: Network, docker: DockerReading, reading: NetworksReading) -> bool:
    """Whether the isolation is written where a restart finds it."""
    closed = reading.remember("closed", lambda: frozenset(in_rules(reading.files.get(RULES_FILE))))
    if reading.unit_enabled and (network.bridge in closed or made_later(network, reading)):
        return True
    if off(configured(docker, "iptables")):
        return False
    return off(configured(docker, "icc")) if network.name == "bridge" else not network.icc


def made_later(network: Network, reading: NetworksReading) -> bool:
    """Whether udev closes the network as it comes up, since our rules do not say otherwise."""
    spared = reading.remember("spared", lambda: frozenset(_spared(reading.files.get(RULES_FILE))))
    later = bool(LATER_BRIDGE.fullmatch(network.bridge)) and closes_later(reading)
    return later and network.bridge not in spared


def closes_later(reading: NetworksReading) -> bool:
    return known(reading.files.get(LATER_FILE)) == later_rule()


def closes_unasked(rules: NetworksRules, reading: NetworksReading) -> bool:
    """Whether udev closes networks that Docker makes, and the policy covers them no more."""
    return rules.cover != "all" and known(reading.files.get(LATER_FILE)) is not None


@cache
def later_rule() -> str:
    return templates.text("networks/later.rules")


def open_by(network: Network, docker: DockerReading, reading: NetworksReading) -> str:
    """Why containers on `network` still reach each other, as the kernel has it; "" where they do not."""
    if reading.drops(network.bridge):
        return ""
    return open_to_ip(network, docker, reading) or RAW


def open_to_ip(network: Network, docker: DockerReading, reading: NetworksReading) -> str:
    """The same for IP alone, which is what containers talk unless they attack."""
    if reading.drops(network.bridge):
        return ""
    found = _open_to(4, network, reading)
    if not found and any(":" in subnet for subnet in network.subnets):
        found = _open_to(6, network, reading)
    # A daemon that has not taken it up yet has its rules still.
    return f"{found}, as iptables=false has it" if found and off(configured(docker, "iptables")) else found


def _open_to(version: int, network: Network, reading: NetworksReading) -> str:
    """The same for IPv4 or IPv6: a rule that drops, and bridged frames that meet it."""
    table, tool = (reading.filter4, "iptables") if version == 4 else (reading.filter6, "ip6tables")
    rules = known(table)
    if rules is None:
        return f"{tool} is not installed, so nothing enforces icc"
    subnets = tuple(subnet for subnet in network.subnets if (":" in subnet) == (version == 6))
    verdict = rules.between_ports(network.bridge, subnets)
    if not verdict.drop:
        asked = "" if network.icc else " although its icc is false"
        return f"{tool} lets them through{asked} ({verdict.by})"
    if not known(reading.br_netfilter):
        hint = ", as Docker leaves it where ip_forward is 0" if reading.forwarding4 == 0 else ""
        return f"{tool} has the rule, but br_netfilter is not loaded and frames within a bridge never meet it{hint}"
    return _not_called(tool, network, reading)


def _not_called(tool: str, network: Network, reading: NetworksReading) -> str:
    own = reading.bridge(network.bridge)
    called = own is not None and (own.nf_call_iptables if tool == "iptables" else own.nf_call_ip6tables)
    if called or known(reading.nf_call.get(tool, 0)) == 1:
        return ""
    return f"{tool} has the rule, but net.bridge.bridge-nf-call-{tool} is 0 and frames within a bridge never meet it"


def judge(network: Network, docker: DockerReading, reading: NetworksReading) -> str:
    if why := open_by(network, docker, reading):
        set_only = " (set on disk, not in force)" if lasting(network, docker, reading) else ""
        return f"on network {network.name} containers reach each other{set_only}: {why}"
    if not lasting(network, docker, reading):
        return f"on network {network.name} containers are kept apart now, but nothing on disk says so after a restart"
    return ""


def open_later(rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> bool:
    """Whether networks to come should be closed, and something of what sees to it is missing. The udev rule does it;
    Docker, which can by iptables, is asked too where that cuts nobody off."""
    if rules.cover != "all":
        return False
    return not closes_later(reading) or (lacks_default(docker) and not bridged.stopped_by(docker, reading, called=(4,)))


def lacks_default(docker: DockerReading) -> bool:
    """Whether Docker could make networks closed by itself, to IP at least, and is not told to. Raw frames, and networks
    made with an option against it, are the udev rule's business."""
    if not has_default_opts(docker):
        return False
    options = configured(docker, "default-network-opts")
    bridge = options.get("bridge") if isinstance(options, dict) else None
    return not (isinstance(bridge, dict) and off(bridge.get(ENABLE_ICC)))


def has_default_opts(docker: DockerReading) -> bool:
    """Docker 24 and later."""
    return "default-network-opts" in known(docker.keys_known)
