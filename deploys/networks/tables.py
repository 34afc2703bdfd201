"""hullproof's nft tables for container networks: what they hold on a host, and the changes that bring them there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from posixpath import dirname

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, Install, RemoveFile, WriteFile, mending, unit_script
from deploys.core.same_text import same_text
from deploys.core.templates import render
from deploys.engines import foreign_bridges as bridged
from deploys.engines.protocol import NetworkEngine
from deploys.networks import host_services, nft, ports
from deploys.networks.guard_chains import (
    FROM_NETWORK,
    FROM_PORT,
    NO_SENDERS,
    TO_HOST,
    Senders,
    live_differs,
    matched,
    on_host,
    rendered,
    senders_on_disk,
)
from deploys.networks.isolation import (
    LATER_BRIDGE,
    SERVICES,
    NetworksRules,
    by_udev,
    closes_later,
    covered,
    lacks_default,
    later_patterns,
    later_rule,
    made_later,
    uncovered,
    why_reachable_by_ip,
)
from deploys.networks.out_of_reach import plan_bridgeless, plan_redirects
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.shapes import EngineReading, Network, by_bridge, owner
from facts.networks.networks import (
    LATER_FILE,
    LOADED_FILE,
    PORTS_FILE,
    RULES_FILE,
    UNIT,
    UNIT_FILE,
    Networks,
    NetworksReading,
)
from facts.networks.own_tables import PRINTED

ACCEPT = "network-isolation"  # accepting it: running containers of a network no longer reach each other
ICC, HOST_SERVICES, ANTISPOOF = "networks.icc", "networks.host-services", "networks.antispoof"  # by these tables


def rules_text(
    rules: NetworksRules,
    apart: Mapping[str, bool],
    closed: Mapping[str, bool],
    spared: Iterable[str] = (),
    senders: Senders = NO_SENDERS,
) -> str:
    """The file. Of each covered bridge: whether containers on it are kept `apart` (where icc is false), and whether the
    host's own services are `closed` to them. `spared`: bridges that udev would close too, were they not named.
    `senders`: bridges of other engines, which `antispoof` alone is about."""
    return render(
        "networks/networks.nft.j2",
        icc=rules.icc,
        later=rules.cover == "all",
        apart=sorted(bridge for bridge, wanted in apart.items() if wanted),
        spared=sorted({*spared, *(bridge for bridge, wanted in apart.items() if not wanted)}),
        guards=rendered(rules, closed, list(spared), senders),
    )


@dataclass(frozen=True)
class Tables:
    """What the tables are to hold on this host now: what waits to be accepted is not closed yet."""

    context: Context
    networks: tuple[Network, ...]  # covered, and only containers are on them
    others: tuple[Network, ...] = ()  # those of engines of which no more is asked than antispoof

    @property
    def rules(self) -> NetworksRules:
        return self.context.policy[NetworksRules]

    @property
    def survey(self) -> Survey:
        return self.context.survey

    @property
    def engines(self) -> tuple[EngineReading, ...]:
        return present.engines(self.survey)

    @property
    def also_sending(self) -> tuple[EngineReading, ...]:
        return also_sending(self.context)

    @property
    def reading(self) -> NetworksReading:
        return self.survey[Networks]

    @cached_property
    def held(self) -> list[Network]:
        """Networks whose isolation waits to be accepted."""
        if self.context.accepts(ACCEPT) or self.rules.icc is not False:
            return []
        return [network for network in self.networks if self._cuts(network)]

    def _cuts(self, network: Network) -> bool:
        """Whether isolation would separate containers of a user-defined network that may be talking now, and that no
        file of hullproof's kept apart before."""
        default = owner(network, self.engines).default_network
        before = network.bridge in self.reading.on_disk().apart or made_later(network, self.reading)
        several = network.name != default and len(network.containers) > 1
        return several and not before and bool(why_reachable_by_ip(network, self.engines, self.reading))

    @cached_property
    def using(self) -> list[Network]:
        return host_services.using(self.networks, self.rules, self.engines, self.reading)

    @property
    def served(self) -> list[Network]:
        """Networks that keep the host's services until that is accepted."""
        return [] if self.context.accepts(SERVICES) else self.using

    @cached_property
    def unusable(self) -> list[str]:
        """Bridges with a name that nft's rules cannot contain."""
        bridges = sorted({network.bridge for network in (*self.networks, *self.others)})
        return [bridge for bridge in bridges if not _usable(bridge)]

    @cached_property
    def apart(self) -> dict[str, bool]:
        """By bridge: whether containers on it are kept apart."""
        return self._bridges(self.held)

    @cached_property
    def closed(self) -> dict[str, bool]:
        """By bridge: whether the host's services are closed to it."""
        return self._bridges(self.served)

    def _bridges(self, waiting: list[Network]) -> dict[str, bool]:
        named = [network for network in self.networks if network.bridge not in self.unusable]
        return {network.bridge: network not in waiting for network in named}

    @cached_property
    def dropped(self) -> list[str]:
        """The bridges that the bridge table isolates."""
        return sorted(bridge for bridge, wanted in self.apart.items() if wanted and self.rules.icc is False)

    @cached_property
    def text(self) -> str:
        return rules_text(self.rules, self.apart, self.closed, self._spared(), self.senders)

    def _spared(self) -> list[str]:
        """Bridges that the policy excludes, and udev would close."""
        networks = uncovered(self.rules, self.engines) if self.rules.cover == "all" else ()
        return [network.bridge for network in networks if LATER_BRIDGE.fullmatch(network.bridge or "")]

    @cached_property
    def senders(self) -> Senders:
        """Of an engine whose networks are unknown the file keeps what it has."""
        if self.rules.antispoof and any(_unread(each) for each in present.also_sending(self.survey)):
            return senders_on_disk(self.reading, but=by_bridge(self.engines))
        patterns = later_patterns(self.rules, self.also_sending)
        covered = {each.bridge for each in self.others}
        named = covered - set(self.unusable) - matched(covered, patterns)
        there = {*by_bridge(self.also_sending), *on_host(self.reading, patterns)}
        left = matched(there, patterns) - covered - {each.bridge for each in self.networks}
        return Senders((*sorted(named), *patterns), tuple(sorted(filter(_usable, left))))

    @cached_property
    def actions(self) -> list[str]:
        """What the file does, for the plan."""
        closed = sorted(bridge for bridge, wanted in self.closed.items() if wanted)
        found = [f"keep containers apart on {_list(self.dropped)}"] if self.dropped else []
        found += [f"close the host's own services to {_list(closed)}"] if closed and TO_HOST.asked(self.rules) else []
        if (senders := [*sorted(self.closed), *self.senders.bridges]) and FROM_NETWORK.asked(self.rules):
            found.append(f"drop packets from foreign addresses on {_list(senders)}")
        return found

    @property
    def needed(self) -> bool:
        """Whether there is anything to write, or a file of an earlier policy to change."""
        before = known(self.reading.files.get(RULES_FILE))
        return bool(self.actions) or self.rules.cover == "all" or before is not None

    @property
    def interrupts(self) -> str:
        parted = self.networks if self.rules.icc is False else ()
        parted = tuple(n for n in parted if n not in self.held and why_reachable_by_ip(n, self.engines, self.reading))
        closed = [network for network in self.using if network not in self.served]
        closed += host_services.losing(self.networks, self.rules, self.reading)
        return "; ".join(filter(None, [_parted(parted), host_services.who(self.rules, closed), self._moved()]))

    def _moved(self) -> str:
        """The containers that antispoof holds to their addresses for the first time, and that can change them."""
        if not self.rules.antispoof:
            return ""
        first = () if self.reading.ports else self.engines
        newly = any(FROM_PORT.rule_missing(each, self.rules, self.reading) for each in self.others)
        return ports.movers(self.rules, (*first, *(self.also_sending if newly else ())))

    @property
    def live_differs(self) -> bool:
        """Whether the kernel does not have what the file says."""
        rows = (live_differs(each, self.rules, self.reading, each in self.served) for each in self.networks)
        others = (live_differs(each, self.rules, self.reading, served=True) for each in self.others)
        return any(rows) or any(others) or self.reading.dropped != set(self.dropped)


def _usable(bridge: str) -> bool:
    """Whether nft's rules can contain its name."""
    return bool(re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", bridge))


def _unread(engine: EngineReading) -> bool:
    return engine.installed and isinstance(engine.networks, Unknown)


def _parted(networks: Iterable[Network]) -> str:
    """The running containers that will be separated, by network."""
    parted = [f"{n.name}: {_list(sorted(n.containers))}" for n in networks if len(n.containers) > 1]
    return f"these containers no longer reach each other on {'; '.join(parted)}" if parted else ""


# ------------------------------------------------------------------------------------------------ the plan


def plan_tables(engines: Sequence[NetworkEngine], context: Context) -> Iterator[Change]:
    rules, reading = context.policy[NetworksRules], context.survey[Networks]
    there = present.engines(context.survey)
    others = also_sending(context)
    found, also = covered(rules, there), covered(rules, others)
    every = [(network, engines) for networks, engines in ((found, there), (also, others)) for network in networks]
    lans = {network: why for network, whose in every if (why := host_services.on_a_lan(network, whose, reading))}
    yield from _lans(lans)
    tables = Tables(context, *(tuple(net for net in nets if net not in lans) for nets in (found, also)))
    if why := host_services.cuts_connection(tables.networks, rules, reading):
        yield Blocked("networks", "close the host's own services to containers", why=why)
        return
    yield from _waiting(tables)
    yield from plan_bridgeless(rules, there, ICC, ANTISPOOF)
    yield from plan_bridgeless(rules, others, "", ANTISPOOF)
    if rules.icc is False:
        yield from mending([ICC], plan_redirects(tables.networks, reading))
        yield from mending([ICC], _by_engines(engines, tables))
    if tables.unusable:
        what = f"keep containers on {_list(tables.unusable)} apart"
        yield Blocked("networks", what, why="nft's rules cannot contain such a device name: rename the bridge")
    if why := nft.lacking(tables.text, context.survey):
        yield Blocked("networks", "; ".join(tables.actions) or f"write {RULES_FILE}", why=why)
        return
    yield from mending([ANTISPOOF], ports.plan_files(rules, reading))
    if tables.needed:
        yield from _write(tables)
        yield from _unit(reading)
        yield from _later(tables)
    if rules.antispoof:
        yield from mending([ANTISPOOF], ports.plan_reading((*tables.networks, *tables.others), reading))


def also_sending(context: Context) -> tuple[EngineReading, ...]:
    """The engines that antispoof alone is about, where the policy asks for it. What is not known of one stops nothing
    that is asked of the others."""
    found = present.also_sending(context.survey) if context.policy[NetworksRules].antispoof else ()
    return tuple(replace(each, networks=()) if isinstance(each.networks, Unknown) else each for each in found)


def _lans(lans: Mapping[Network, str]) -> Iterator[Change]:
    for network, why in lans.items():
        says = f"{why}: that would cut off more than containers; name {network.name} under networks.except"
        yield Blocked("networks", f"close network {network.name}", why=says)


def _waiting(tables: Tables) -> Iterator[Change]:
    """What waits to be accepted."""
    for network in tables.held:
        yield Blocked(
            "networks",
            f"keep containers on network {network.name} apart",
            why=f"{_list(sorted(network.containers))} run on it and could no longer reach each other",
            by_hand=f"name {network.name} under networks.except",
            accepts=(ACCEPT,),
            controls=(ICC,),
        )
    for network in tables.served:
        what = f"close the host's own services to network {network.name}"
        why = host_services.why_served(network, tables.rules, owner(network, tables.engines), tables.reading)
        yield Blocked("networks", what, why=why, accepts=(SERVICES,), controls=(HOST_SERVICES,))


def _by_engines(engines: Sequence[NetworkEngine], tables: Tables) -> Iterator[Change]:
    if bridged.stopped_by(tables.engines, tables.reading, called=(4,)):
        return  # with these settings the engine would pass bridged frames through iptables
    for engine in engines:
        reading = engine.reading(tables.survey)
        own = [network for network in tables.networks if network.bridge in reading.by_bridge]
        if any(network.name == reading.default_network for network in own) and known(reading.icc):
            yield engine.keep_default_apart(tables.context, "networks")
        if tables.rules.cover == "all" and reading.installed and lacks_default(reading):
            yield engine.keep_later_apart(tables.context, "networks")


def _write(tables: Tables) -> Iterator[Change]:
    reading = tables.reading
    before = known(reading.files.get(RULES_FILE))
    if reading.tables is None:
        what = "install nft, which isolates containers on a bridge"
        yield Install("networks", what, packages=("nftables",))
    if not same_text(before, tables.text):
        yield WriteFile(
            "networks",
            f"{_list(tables.actions) or 'stop keeping containers apart'} ({RULES_FILE})",
            path=RULES_FILE,
            text=tables.text,
            before=before,
            validate="nft -c -f {}",
            activate=LOAD,
            interrupts=tables.interrupts,
        )
    elif tables.live_differs:
        yield Command("networks", f"load {RULES_FILE}", script=LOAD, undo="", interrupts=tables.interrupts)


def _unit(reading: NetworksReading) -> Iterator[Change]:
    """It loads the tables at boot: no engine rewrites them."""
    unit, before = templates.text(f"networks/{UNIT}"), known(reading.files.get(UNIT_FILE))
    if not same_text(before, unit):
        what = f"load {RULES_FILE} at boot ({UNIT})"
        yield WriteFile("networks", what, path=UNIT_FILE, text=unit, before=before, activate=ENABLE)
    elif not reading.unit_enabled:
        yield Command("networks", f"enable {UNIT}", script=ENABLE, undo=f"systemctl disable {UNIT}")


def _later(tables: Tables) -> Iterator[Change]:
    """The udev rule that adds the bridges of new networks to the tables."""
    before, wanted = known(tables.reading.files.get(LATER_FILE)), by_udev(tables.rules, tables.engines)
    reload = "udevadm control --reload"
    if wanted and not closes_later(tables.reading):
        what = f"close new networks as Docker creates them ({LATER_FILE})"
        yield WriteFile("networks", what, path=LATER_FILE, text=later_rule(), before=before, activate=reload)
    elif not wanted and before is not None:
        what = f"leave new networks of Docker open ({LATER_FILE})"
        yield RemoveFile("networks", what, path=LATER_FILE, before=before, activate=reload)


# Both run again after an undo, when the file is what it was before: missing, or an older one of hullproof's.
LOAD = f"""if [ -e {RULES_FILE} ]; then
  nft -f {RULES_FILE} && mkdir -p {dirname(LOADED_FILE)} && (
    umask 077; cat {RULES_FILE} && echo '{PRINTED}' && nft -s list table bridge hullproof &&
      nft -s list table inet hullproof
  ) >{LOADED_FILE} && {{ [ ! -e {PORTS_FILE} ] || sh {PORTS_FILE}; }}
else
  for family in bridge inet; do nft delete table $family hullproof 2>/dev/null || :; done
  rm -f {LOADED_FILE}
fi"""
ENABLE = unit_script(
    UNIT_FILE, live=f"systemctl restart {UNIT}", gone=f"systemctl stop {UNIT} 2>/dev/null; systemctl daemon-reload"
)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
