"""Networks: containers that do not reach each other, and the switches that this and all bridged traffic stand on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, Install, RemoveFile, Subject, WriteFile, mending
from deploys.core.control import Control, Impact, Severity, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.templates import render
from deploys.engines import foreign_bridges as bridged
from deploys.engines.docker.daemon import configured, daemon_json, off
from deploys.networks import forwarding, nft
from deploys.networks import host_services as networks_host
from deploys.networks import ports as networks_ports
from deploys.networks.forwarding import check_forwarding, guard_forwarding
from deploys.networks.isolation import (
    ENABLE_ICC,
    LATER_BRIDGE,
    SERVICES,
    NetworksRules,
    closes_later,
    closes_unasked,
    covered,
    covers,
    in_rules,
    judge,
    lacks_default,
    lasting,
    later_rule,
    open_by,
    open_later,
    open_to_ip,
)
from deploys.networks.switches import check_br_netfilter, check_bridged_guests, plan_br_netfilter, plan_bridged_guests
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading, Network
from facts.kernel.kernel import Kernel
from facts.networks.networks import (
    LATER_FILE,
    PORTS_FILE,
    RULES_FILE,
    UNIT,
    UNIT_FILE,
    Networks,
    NetworksReading,
    chains,
)

ACCEPT = "network-isolation"  # accepting it: running containers of a network no longer reach each other
ICC, HOST, SPOOF = "networks.icc", "networks.host-services", "networks.antispoof"  # what our own tables do
NF_CALL_KEYS = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
SWITCHES = "\n".join(["# Written by hullproof: frames within a bridge meet the firewall.",
                      *(f"{key} = 1" for key in NF_CALL_KEYS), ""])  # fmt: skip


def _check_icc(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[NetworksRules]
    if rules.icc is not False:
        return not_applicable("the policy does not ask for it" if rules.icc is None else "the policy lets them talk")
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    reading, networks = survey[Networks], covered(rules, docker)
    wrong = [judge(network, docker, reading) for network in networks]
    reasons = [reason for reason in (*wrong, *_beyond(rules, docker, reading)) if reason]
    disk = {network.name: lasting(network, docker, reading) for network in networks}
    live = {network.name: not open_by(network, docker, reading) for network in networks}
    declared = {network.name: True for network in networks}
    if reasons:
        return failed("; ".join(reasons), declared, disk, live)
    if not networks:
        return not_applicable("the policy covers none of the host's networks")
    return passed(f"containers do not reach each other on {_list(disk)}", declared, disk, live)


def _beyond(rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> Iterator[str]:
    """What lies beside the networks that are there: those to come, and those that should be left alone."""
    if open_later(rules, docker, reading):
        yield "networks made from now on are open"
    if closes_unasked(rules, reading):
        yield "networks made from now on are closed, though the policy does not cover them"
    spared = {network.bridge: network.name for network in known(docker.networks) if not covers(rules, network)}
    ours = {*known(reading.dropped), *in_rules(reading.files.get(RULES_FILE))}
    for bridge in sorted(ours & set(spared)):
        yield f"network {spared[bridge]} is kept apart by our own table, though the policy leaves it alone"


CONTROLS = (
    Control(
        id=ICC,
        title="Containers on one bridge network do not reach each other",
        severity=Severity.MEDIUM,
        why="One container taken over is a way to every other on its network; a setting in a file stops no packet.",
        check=_check_icc,
        references=("CIS-Docker-2.2", "CIS-Docker-5.30", "NIST-800-190-4.4.2"),
        impact=Impact.RESTART,
        by_hand=f"set icc to false in daemon.json, restart Docker, and make other networks with {ENABLE_ICC}=false",
    ),
    Control(
        id=HOST,
        title="Containers reach no service of the host's own but those that are named",
        severity=Severity.MEDIUM,
        why="What listens on the host for its own network listens to every container too, behind its firewall's back.",
        check=networks_host.check_host_services,
        references=("NIST-800-190-4.4.2",),
        by_hand="have the host's own firewall refuse what comes from containers' bridges to the host itself",
    ),
    Control(
        id=SPOOF,
        title="Containers send from their own MAC and IP addresses alone",
        severity=Severity.LOW,
        why="CAP_NET_RAW, which Docker gives, forges any address: a container hears what is for others, and hides.",
        check=networks_host.check_antispoof,
        references=("NIST-800-190-4.4.2", "CIS-Debian12-3.3.7"),
        by_hand="start the containers with --cap-drop NET_RAW, without which they cannot forge an address",
    ),
    Control(
        id="networks.br-netfilter",
        title="Frames within a bridge meet the firewall",
        severity=Severity.MEDIUM,
        why="Without br_netfilter the engine's rules between containers exist and are never asked.",
        check=check_br_netfilter,
        references=("CIS-Docker-2.2",),
        by_hand="take away what sets bridge-nf-call-iptables to 0 or blocks br_netfilter (the finding names the file), "
        "then run harden again",
    ),
    Control(
        id="networks.bridged-guests",
        title="Guests on bridges that are not Docker's reach each other",
        severity=Severity.HIGH,
        why="With br_netfilter a FORWARD policy of DROP, which Docker sets, cuts virtual machines off on every bridge.",
        check=check_bridged_guests,
        by_hand="have iptables pass what stays within the bridge that the finding names (-m physdev "
        "--physdev-is-bridged -j ACCEPT), or set net.bridge.bridge-nf-call-iptables to 0",
    ),
    Control(
        id="networks.forwarding",
        title="What the host forwards meets the engine's rules",
        severity=Severity.MEDIUM,
        why="Containers need forwarding; where FORWARD accepts by default it makes the host a router for anybody.",
        check=check_forwarding,
        references=("CIS-Debian12-3.3.1", "CIS-Docker-2.4"),
        impact=Impact.RESTART,
        by_hand="restart Docker, which writes its own rules again, then set iptables -P FORWARD DROP",
    ),
)


# ------------------------------------------------------------------------------------------------ remediation


def plan(context: Context) -> Iterable[Change]:
    if context.failing("networks.br-netfilter"):
        yield from mending(["networks.br-netfilter"], plan_br_netfilter(context))
    if context.failing("networks.bridged-guests"):
        yield from mending(["networks.bridged-guests"], plan_bridged_guests(context))
    if context.failing("networks.forwarding"):
        yield from mending(["networks.forwarding"], guard_forwarding(context))
    if tables := context.which(ICC, HOST, SPOOF):
        yield from mending(tables, _guard(context))


def _guard(context: Context) -> Iterator[Change]:
    rules, docker, reading = context.policy[NetworksRules], context.survey[Docker], context.survey[Networks]
    lans = {n.name: why for n in covered(rules, docker) if (why := networks_host.on_a_lan(n, reading))}
    networks = [network for network in covered(rules, docker) if network.name not in lans]
    for name, why in lans.items():
        says = f"{why}: not containers alone would be cut off; name {name} under networks.except"
        yield Blocked("networks", f"close network {name}", why=says)
    if why := networks_host.our_way_in(networks, rules, reading):
        yield Blocked("networks", "close the host's own services to containers", why=why)
        return
    held = (
        [] if context.accepts(ACCEPT) or rules.icc is not False else [n for n in networks if _cuts(n, docker, reading)]
    )
    for network in held:
        what = f"keep containers on network {network.name} apart"
        yield Blocked("networks", what, why=_why_blocked(network), controls=(ICC,))
    using = networks_host.using(networks, rules, docker, reading)
    served = [] if context.accepts(SERVICES) else using
    for network in served:
        what = f"close the host's own services to network {network.name}"
        why = networks_host.why_served(network, rules, docker, reading)
        yield Blocked("networks", what, why=why, controls=(HOST,))
    if rules.icc is False:
        yield from mending([ICC], _daemon(context, rules, docker, networks))
    bridges = {network.bridge for network in networks}
    if strange := sorted(bridge for bridge in bridges if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", bridge)):
        yield Blocked("networks", f"keep containers on {_list(strange)} apart", why="a rule cannot hold such a name")
    sound = bridges.difference(strange)
    parted = [n for n in networks if n not in held and open_to_ip(n, docker, reading)] if rules.icc is False else []
    closed = [network for network in using if network not in served] + networks_host.losing(networks, rules, reading)
    told = [_who(parted), networks_host.who(rules, closed)]
    if rules.antispoof and not reading.ports:
        told.append(networks_ports.movers(rules, docker))
    text = rules_text(
        rules,
        {network.bridge: network not in held for network in networks if network.bridge in sound},
        {network.bridge: network not in served for network in networks if network.bridge in sound},
        _spared(rules, docker),
    )
    if why := nft.lacking(text, context.survey):
        yield Blocked("networks", "; ".join(_said(in_rules(text), chains(text))) or f"write {RULES_FILE}", why=why)
        return
    awry = any(networks_host.awry(network, rules, reading, served=network in served) for network in networks)
    yield from mending([SPOOF], networks_ports.plan_files(rules, reading))
    yield from _tables(reading, text, rules.cover == "all", awry, "; ".join(filter(None, told)))
    if rules.antispoof:
        yield from mending([SPOOF], networks_ports.plan_reading(networks, reading))


def _spared(rules: NetworksRules, docker: DockerReading) -> list[str]:
    """Bridges that the policy leaves alone, and udev would not."""
    networks = known(docker.networks) if rules.cover == "all" else ()
    return [n.bridge for n in networks if LATER_BRIDGE.fullmatch(n.bridge or "") and not covers(rules, n)]


def _cuts(network: Network, docker: DockerReading, reading: NetworksReading) -> bool:
    """Whether isolation would part containers of a user-made network that may well be talking now."""
    return network.name != "bridge" and len(network.containers) > 1 and bool(open_to_ip(network, docker, reading))


def _why_blocked(network: Network) -> str:
    return (
        f"{_list(sorted(network.containers))} run on it and could no longer reach each other; allow it with "
        f"`--data accept={ACCEPT}` or `accept: [{ACCEPT}]` in the policy, or name {network.name} under networks.except"
    )


def _who(networks: list[Network]) -> str:
    """The running containers that will be parted, by network."""
    parted = [f"{n.name}: {_list(sorted(n.containers))}" for n in networks if len(n.containers) > 1]
    return f"these containers no longer reach each other on {'; '.join(parted)}" if parted else ""


def _daemon(context: Context, rules: NetworksRules, docker: DockerReading, networks: list[Network]) -> Iterator[Change]:
    if bridged.stopped_by(docker, context.survey[Networks], called=(4,)):
        return  # with these keys Docker has bridged frames meet iptables, and our own table does without
    if any(network.name == "bridge" for network in networks) and not off(configured(docker, "icc")):
        yield daemon_json(context, "networks", "containers on the default bridge do not talk", {"icc": False})
    if rules.cover == "all" and lacks_default(docker):
        options = configured(docker, "default-network-opts")
        merged: dict[str, Any] = dict(options) if isinstance(options, dict) else {}
        merged["bridge"] = {**merged.get("bridge", {}), ENABLE_ICC: "false"}
        yield daemon_json(
            context,
            "networks",
            f"new networks keep containers apart unless made with {ENABLE_ICC}=true",
            {"default-network-opts": merged},
        )


def _tables(reading: NetworksReading, text: str, later: bool, awry: bool, interrupts: str) -> Iterator[Change]:
    """Our own nft tables and the unit that loads them at boot: what no engine rewrites; and, for networks made
    `later`, the udev rule that adds them. `awry`: the kernel has not what the file says."""
    bridges, unit = in_rules(text), templates.text(f"networks/{UNIT}")
    before, unit_before = known(reading.files.get(RULES_FILE)), known(reading.files.get(UNIT_FILE))
    said = list(_said(bridges, chains(text)))
    if not said and not later and before is None:
        return
    if reading.tables is None:
        yield Install("networks", "install nft, which keeps frames within a bridge apart", packages=("nftables",))
    if text != before:
        what = _list(said) if said else "keep no containers apart any more"
        yield WriteFile("networks", f"{what} ({RULES_FILE})", path=RULES_FILE, text=text, before=before,
                        validate="nft -c -f {}", activate=LOAD, interrupts=interrupts)  # fmt: skip
    elif awry or set(known(reading.dropped)) != set(bridges):
        yield Command("networks", f"load {RULES_FILE}", script=LOAD, undo="", interrupts=interrupts)
    if unit != unit_before:
        yield WriteFile(
            "networks", f"load it at boot ({UNIT})", path=UNIT_FILE, text=unit, before=unit_before, activate=ENABLE
        )
    elif not reading.unit_enabled:
        yield Command("networks", f"enable {UNIT}", script=ENABLE, undo=f"systemctl disable {UNIT}")
    if later and not closes_later(reading):
        yield WriteFile("networks", f"close networks as Docker makes them ({LATER_FILE})", path=LATER_FILE,
                        text=later_rule(), before=known(reading.files.get(LATER_FILE)),
                        activate="udevadm control --reload")  # fmt: skip
    elif not later and (left := known(reading.files.get(LATER_FILE))) is not None:
        yield RemoveFile("networks", f"leave networks open that Docker makes ({LATER_FILE})", path=LATER_FILE,
                         before=left, activate="udevadm control --reload")  # fmt: skip


def _said(apart: Iterable[str], table: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What a rules file does, in words."""
    if apart:
        yield f"keep containers apart on {_list(apart)}"
    if closed := networks_host.HOST.led(table):
        yield f"close the host's own services to {_list(closed)}"
    if bound := networks_host.SPOOF.led(table):
        yield f"drop what containers send from addresses that are not their own on {_list(bound)}"


def rules_text(rules: NetworksRules, apart: Mapping[str, bool], closed: Mapping[str, bool],
               spared: Iterable[str] = ()) -> str:  # fmt: skip
    """The file. Of each covered bridge: whether containers on it are kept `apart` (where icc is false), and whether the
    host's own services are `closed` to them. udev would close the others too, but for those that are named."""
    return render(
        "networks/networks.nft.j2",
        icc=rules.icc,
        later=rules.cover == "all",
        apart=sorted(bridge for bridge, wanted in apart.items() if wanted),
        spared=sorted({*spared, *(bridge for bridge, wanted in apart.items() if not wanted)}),
        ways=networks_host.rendered(rules, closed, list(spared)),
    )


# They run again after an undo, when the file is what it was before: gone, or an older one of ours.
LOAD = f"""if [ -e {RULES_FILE} ]; then nft -f {RULES_FILE} && {{ [ ! -e {PORTS_FILE} ] || sh {PORTS_FILE}; }}; else
  for family in bridge inet; do nft delete table $family hullproof 2>/dev/null || :; done
fi"""
# `enable` has systemd read its units anew.
ENABLE = f"""if [ -e {UNIT_FILE} ]; then systemctl -q enable {UNIT} && systemctl restart {UNIT}; else
  rm -f /etc/systemd/system/*.wants/{UNIT}; systemctl stop {UNIT} 2>/dev/null; systemctl daemon-reload
fi"""


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


SUBJECT = Subject(
    "networks",
    NetworksRules,
    CONTROLS,
    plan,
    (Networks, Docker, Kernel),
    (ACCEPT, SERVICES, forwarding.ACCEPT, bridged.ACCEPT),
)
