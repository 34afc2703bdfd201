"""Chains of hullproof's nft tables that restrict packets from containers, and whether a host has them: pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from deploys.networks.isolation import AS_ITSELF, FROM_OWN, NetworksRules, made_later, out_of_force, to_host
from deploys.networks.ports import lacking, unknown_ports
from facts.core.reading import known
from facts.engines.shapes import Network
from facts.networks.networks import NetworksReading

Rows = Mapping[str, Sequence[str]]  # the rules of each chain ("inet input"), after its head if it has one


class Table:
    """Rules to look up, and what was found among them: a host may have any number of networks."""

    def __init__(self, rows: Rows, out_of_force: Mapping[str, str] = MappingProxyType({})) -> None:
        self.rows = rows
        self.out_of_force = out_of_force  # why none of its rules applies, by the table's family
        self.sets: dict[str, frozenset[str]] = {}
        self.faults: dict[tuple[str, ...], str] = {}

    def has(self, chain: str, row: str) -> bool:
        if chain not in self.sets:
            self.sets[chain] = frozenset(self.rows.get(chain, ()))
        return row in self.sets[chain]


def live(reading: NetworksReading) -> Table:
    return reading.remember("live", lambda: Table(known(reading.own), out_of_force(reading)))


def on_disk(reading: NetworksReading) -> Table:
    return reading.remember("disk", lambda: Table(reading.on_disk().chains))


@dataclass(frozen=True)
class Senders:
    """Bridges of engines of whose containers no more is asked than that they send as themselves alone."""

    bridges: tuple[str, ...] = ()  # names, and patterns of names
    spared: tuple[str, ...] = ()  # those that a pattern matches, and that are left as they are


NO_SENDERS = Senders()


def patterns_of(bridge: str) -> list[str]:
    """All that match its name (15 characters at most): `podman*` is one of podman3, and of podman-lan."""
    return [f"{bridge[:length]}*" for length in range(1, min(len(bridge), 15) + 1)]


def matched(bridges: Iterable[str], patterns: Collection[str]) -> set[str]:
    return {each for each in bridges if not set(patterns).isdisjoint(patterns_of(each))}


def on_host(reading: NetworksReading, patterns: Collection[str]) -> set[str]:
    """Bridges of the host that one of the patterns matches, whoever made them."""
    return matched((each.name for each in known(reading.bridges)), patterns) if patterns else set()


@dataclass(frozen=True, kw_only=True)
class GuardChain:
    """A base chain, and the chain that it leads to, which judges packets that come in by a bridge."""

    key: str  # of the policy
    family: str  # of its table: "bridge" for ports whose addresses are known, else "inet"
    base: str
    hook: str
    chain: str
    rows: Callable[[NetworksRules], list[str]]  # the rules that the judging chain must have
    cuts: bool  # running containers may depend on what it closes
    comment: str
    fault: str  # on a network …

    @property
    def by_port(self) -> bool:
        return self.family == "bridge"

    @property
    def entry(self) -> str:
        return f"{self.family} {self.base}"

    @property
    def place(self) -> str:
        return f"{self.family} {self.chain}"

    @property
    def head(self) -> str:
        return f"type filter hook {self.hook}; policy accept;"

    def asked(self, rules: NetworksRules) -> bool:
        return getattr(rules, self.key) is not None

    def leading(self, bridge: str) -> str:
        return f"{self._by(bridge)} {self._goto}"

    @property
    def leading_later(self) -> str:
        return f"{'meta ibrname @later' if self.by_port else 'iifname . iifname @later'} {self._goto}"

    def sparing(self, bridge: str) -> str:
        return f"{self._by(bridge)} accept"

    def _by(self, bridge: str) -> str:
        return f'{"meta ibrname" if self.by_port else "iifname"} "{bridge}"'

    @property
    def _goto(self) -> str:
        return f"iifname @known goto {self.chain}" if self.by_port else f"goto {self.chain}"

    def leads(self, table: Table, bridge: str, later: Collection[str]) -> bool:
        made_later = bridge in later and table.has(self.entry, self.leading_later)
        named = any(self.leads_by(table, name) for name in (bridge, *patterns_of(bridge)))
        return (named or made_later) and not table.has(self.entry, self.sparing(bridge))

    def leads_by(self, table: Table, name: str) -> bool:
        """`name`: of a bridge, or a pattern of names."""
        return table.has(self.entry, self.leading(name))

    def table_fault(self, table: Table, rules: NetworksRules) -> str:
        """How the chains differ from the policy, whatever the bridge; "" where they do not."""
        wanted = self.rows(rules)
        key = (self.place, *wanted)
        if key not in table.faults:
            table.faults[key] = table.out_of_force.get(self.family) or self._fault(table.rows, wanted)
        return table.faults[key]

    def _fault(self, rows: Rows, wanted: list[str]) -> str:
        if self.place not in rows or self.entry not in rows:
            return self._no_rule()
        head, *leading = rows[self.entry] or ("",)
        if head != self.head:
            return f"hullproof's chain {self.base} begins with `{head}` and not with `{self.head}`"
        if strange := [row for row in leading if not self._own(row)]:
            return f"the rule `{strange[0]}` in hullproof's chain {self.base} is not hullproof's"
        if list(rows[self.place]) != wanted:
            return f"hullproof's chain {self.chain} differs from the policy: {'; '.join(rows[self.place]) or 'empty'}"
        return ""

    def _no_rule(self) -> str:
        return f"no rule leads to hullproof's chain {self.chain}"

    def _own(self, row: str) -> bool:
        name = re.search('"([^"]+)"', row)
        return row in ((self.leading(name[1]), self.sparing(name[1])) if name else (self.leading_later,))

    # -------------------------------------------------------------------------------------------- on a host

    def unmet(self, network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
        """Why it does not apply to this network in the running kernel; "" where it does."""
        strangers = unknown_ports(network, reading) if self.by_port else []
        return self.rule_missing(network, rules, reading) or (
            f"cannot determine which container owns port{'s' * (len(strangers) > 1)} {', '.join(strangers)}"
            if strangers
            else ""
        )

    def rule_missing(self, network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
        table = live(reading)
        if why := self.table_fault(table, rules):
            return why
        return "" if self.leads(table, network.bridge, reading.named_later()) else self._no_rule()

    def lasts(self, network: Network, rules: NetworksRules, reading: NetworksReading) -> bool:
        """Whether hullproof's files restore it at boot."""
        table = on_disk(reading)
        led = self.leads(table, network.bridge, later_on_disk(network, reading))
        there = not self.by_port or not lacking(reading)
        return reading.unit_enabled and not self.table_fault(table, rules) and led and there


def later_on_disk(network: Network, reading: NetworksReading) -> tuple[str, ...]:
    """The bridge, where udev adds it to the tables of the file."""
    return (network.bridge,) if made_later(network, reading) else ()


TO_HOST = GuardChain(
    key="host_services",
    family="inet",
    base="input",
    hook="input priority -1",
    chain="to-host",
    rows=lambda rules: to_host(rules.host_services or ()),
    cuts=True,
    comment="Services of the host itself. Published ports are routed and do not pass through here.",
    fault="containers reach the host's own services",
)
FROM_NETWORK = GuardChain(
    key="antispoof",
    family="inet",
    base="prerouting",
    hook="prerouting priority -300",
    chain="from-own",
    rows=lambda _: FROM_OWN,
    cuts=False,
    comment="Source addresses that the host would not answer through the bridge that the packet came in by.",
    fault="containers can send from addresses outside the network",
)
FROM_PORT = GuardChain(
    key="antispoof",
    family="bridge",
    base="ports",
    hook="prerouting priority -300",
    chain="as-itself",
    rows=lambda _: AS_ITSELF,
    cuts=False,
    comment="Source addresses of a neighbour, which neither ARP nor the bridge itself would notice.",
    fault="containers can send from their neighbours' addresses",
)
GUARD_CHAINS = (TO_HOST, FROM_NETWORK, FROM_PORT)


def rendered(
    rules: NetworksRules, closed: Mapping[str, bool], spared: list[str], senders: Senders
) -> list[dict[str, object]]:
    """For the template: the chains that the policy wants. `closed`: of each covered bridge, whether the host's own
    services may be closed to it by now. Where they may not, nor may they be to networks created later: one of these may
    be the same network, created again. `senders` are restricted by what cuts nothing off alone."""
    not_yet = [bridge for bridge, wanted in closed.items() if not wanted]
    return [
        {
            "chain": chain,
            "rows": chain.rows(rules),
            "bridges": sorted(set(closed) - set(not_yet) if chain.cuts else {*closed, *senders.bridges}),
            "spared": sorted({*spared, *(not_yet if chain.cuts else senders.spared)}),
            "later": rules.cover == "all" and not (chain.cuts and not_yet),
        }
        for chain in GUARD_CHAINS
        if chain.asked(rules)
    ]


def senders_on_disk(reading: NetworksReading, but: Collection[str]) -> Senders:
    """The bridges that hullproof's file names, but for these."""
    rows = on_disk(reading).rows.get(FROM_NETWORK.entry, ())
    names = sorted({name[1] for row in rows if (name := re.search('"([^"]+)"', row))} - set(but))
    led, spared = ({row(name): name for name in names} for row in (FROM_NETWORK.leading, FROM_NETWORK.sparing))
    return Senders(*(tuple(each[row] for row in each if row in rows) for each in (led, spared)))


def live_differs(network: Network, rules: NetworksRules, reading: NetworksReading, served: bool) -> bool:
    """Whether the running kernel lacks rules that the policy wants, or has more. Where the host's services stay open to
    the network for now, the rules that close them are not missing."""
    chains_there = live(reading).rows
    return any(
        bool(chain.rule_missing(network, rules, reading)) and not (served and chain.cuts)
        if chain.asked(rules)
        else chain.place in chains_there
        for chain in GUARD_CHAINS
    )
