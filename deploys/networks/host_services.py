"""What containers reach of the host's own services, and as whom they send: the rules in our tables, and whether the
kernel has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from deploys.core.control import Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines import foreign_bridges as bridged
from deploys.engines.docker.daemon import configured
from deploys.networks.isolation import (
    AS_ITSELF,
    FROM_OWN,
    SERVICES,
    NetworksRules,
    closes_later,
    closes_unasked,
    covered,
    covers,
    made_later,
    to_host,
)
from deploys.networks.ports import lacking, unknown_ports
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading, Network
from facts.networks.networks import RULES_FILE, Networks, NetworksReading, chains

Rows = Mapping[str, Sequence[str]]  # the rules of each chain, as nft prints them


class Table:
    """Them, to look rules up in, and what has been found in them: the host may have any number of networks."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.sets: dict[str, frozenset[str]] = {}
        self.against: dict[tuple[str, ...], str] = {}

    def has(self, chain: str, row: str) -> bool:
        if chain not in self.sets:
            self.sets[chain] = frozenset(self.rows.get(chain, ()))
        return row in self.sets[chain]


def live(reading: NetworksReading) -> Table:
    return reading.remember("live", lambda: Table(known(reading.own)))


def on_disk(reading: NetworksReading) -> Table:
    return reading.remember("disk", lambda: Table(chains(known(reading.files.get(RULES_FILE)) or "")))


@dataclass(frozen=True)
class Way:
    """A base chain, and the chain that decides on what comes in by a bridge."""

    key: str  # of the policy
    base: str
    hook: str
    chain: str
    rows: Callable[[NetworksRules], list[str]]  # what the deciding chain has to hold
    cuts: bool  # running containers may live by what it closes
    why: str
    wrong: str  # on a network …
    by_port: bool = False  # in the bridge table, for ports whose addresses are known; else in the inet one

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

    def led(self, rows: Rows) -> list[str]:
        """The bridges from where the base chain leads to it."""
        names = (re.search('"(.+)"', row) for row in rows.get(self.base, ()) if self._goto in row)
        return [name[1] for name in names if name]

    def leads(self, table: Table, bridge: str, later: Collection[str]) -> bool:
        made_later = bridge in later and table.has(self.base, self.leading_later)
        spared = table.has(self.base, self.sparing(bridge))
        return not spared and (table.has(self.base, self.leading(bridge)) or made_later)

    def against(self, table: Table, rules: NetworksRules) -> str:
        """What keeps our chains from being what the policy asks for, whatever the bridge; "" for nothing."""
        wanted = self.rows(rules)
        key = (self.chain, *wanted)
        if key not in table.against:
            table.against[key] = self._against(table.rows, wanted)
        return table.against[key]

    def _against(self, rows: Rows, wanted: list[str]) -> str:
        if self.chain not in rows:
            return "no rule of ours asks"
        if strange := [row for row in rows.get(self.base, ()) if not self._ours(row)]:
            return f"the rule `{strange[0]}` in our table is not ours"
        if list(rows[self.chain]) != wanted:
            return f"our rules are not as the policy says: {'; '.join(rows[self.chain]) or 'there are none'}"
        return ""

    def _ours(self, row: str) -> bool:
        name = re.search('"([^"]+)"', row)
        return row in ((self.leading(name[1]), self.sparing(name[1])) if name else (self.leading_later,))


HOST = Way("host_services", "input", "input priority -1", "to-host",
           lambda rules: to_host(rules.host_services or ()), True,
           "What the host itself serves; not what is published, which is routed.",
           "containers reach the host's own services")  # fmt: skip
SPOOF = Way("antispoof", "prerouting", "prerouting priority -300", "from-own", lambda _: FROM_OWN, False,
            "Nor from an address that the host would not answer by the bridge that it came in by.",
            "containers may send from addresses that are not the network's")  # fmt: skip
PORTS = Way("antispoof", "ports", "prerouting priority -300", "as-itself", lambda _: AS_ITSELF, False,
            "Nor as a neighbour, which neither ARP nor the bridge would tell from it.",
            "containers may send as their neighbours", by_port=True)  # fmt: skip
WAYS = (HOST, SPOOF, PORTS)


def rendered(rules: NetworksRules, closed: Mapping[str, bool], spared: list[str]) -> list[dict[str, object]]:
    """For the template: the ways that the policy asks for. `closed`: of each covered bridge, whether the host's own
    services may be closed to it by now. Where they may not, nor may they to networks made later: one of these may be
    the same network, made anew."""
    not_yet = [bridge for bridge, wanted in closed.items() if not wanted]
    return [
        {
            "way": way,
            "rows": way.rows(rules),
            "bridges": sorted(bridge for bridge, wanted in closed.items() if wanted or not way.cuts),
            "spared": sorted([*spared, *not_yet] if way.cuts else spared),
            "later": rules.cover == "all" and not (way.cuts and not_yet),
        }
        for way in WAYS
        if way.asked(rules)
    ]


def open_by(way: Way, network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
    """Why it is not in force on this network, as the kernel has it; "" where it is."""
    strangers = unknown_ports(network, reading) if way.by_port else []
    return _not_asked(way, network, rules, reading) or (
        f"nobody has read whose {', '.join(strangers)} is" if strangers else ""
    )


def _not_asked(way: Way, network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
    table = live(reading)
    if why := way.against(table, rules):
        return why
    return "" if way.leads(table, network.bridge, reading.named_later()) else "no rule of ours asks"


def lasts(way: Way, network: Network, rules: NetworksRules, reading: NetworksReading) -> bool:
    table = on_disk(reading)
    led = way.leads(table, network.bridge, _later(network, reading))
    there = not way.by_port or not lacking(reading)
    return reading.unit_enabled and not way.against(table, rules) and led and there


def _later(network: Network, reading: NetworksReading) -> tuple[str, ...]:
    """The bridge, where udev names it in the table of our file."""
    return (network.bridge,) if made_later(network, reading) else ()


def check_host_services(survey: Survey, policy: Policy) -> Verdict:
    named = ", ".join(policy[NetworksRules].host_services or ()) or "nothing"
    return _check((HOST,), survey, policy, f"containers reach {named} of the host's own services")


def check_antispoof(survey: Survey, policy: Policy) -> Verdict:
    return _check((SPOOF, PORTS), survey, policy, "containers send as themselves alone")


def _check(ways: tuple[Way, ...], survey: Survey, policy: Policy, right: str) -> Verdict:
    rules, docker, reading = policy[NetworksRules], survey[Docker], survey[Networks]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if not ways[0].asked(rules):
        left = not isinstance(reading.own, Unknown) and any(way.chain in reading.own for way in ways)
        return failed("left from an earlier policy", None, None, True) if left else not_applicable(
            f"the policy does not declare networks.{ways[0].key}")  # fmt: skip
    networks = covered(rules, docker)
    wrong = [why for way in ways for network in networks if (why := _wrong(way, network, rules, reading))]
    wrong += [why for way in ways for why in _beyond(way, rules, docker, reading)]
    disk = {network.name: all(lasts(way, network, rules, reading) for way in ways) for network in networks}
    live = {network.name: not any(open_by(way, network, rules, reading) for way in ways) for network in networks}
    if wrong:
        return failed("; ".join(dict.fromkeys(wrong)), dict.fromkeys(live, True), disk, live)
    if not networks:
        return not_applicable("the policy covers none of the host's networks")
    return passed(f"{right}, on {', '.join(live)}", dict.fromkeys(live, True), disk, live)


def _wrong(way: Way, network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
    why, kept = open_by(way, network, rules, reading), lasts(way, network, rules, reading)
    if why:
        set_only = " (set on disk, not in force)" if kept else ""
        return f"on network {network.name} {way.wrong}{set_only}: {why}"
    if not kept:
        return f"on network {network.name} that is closed now, but nothing on disk says so after a restart"
    return ""


def _beyond(way: Way, rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> Iterator[str]:
    """Networks to come, and those that should be left alone."""
    if rules.cover == "all" and not closes_later(reading):
        yield f"on networks made from now on {way.wrong}"
    if closes_unasked(rules, reading):
        yield "networks made from now on are closed, though the policy does not cover them"
    spared = {network.bridge: network.name for network in known(docker.networks) if not covers(rules, network)}
    table = live(reading)
    by_udev = known(reading.later) if table.has(way.base, way.leading_later) else ()
    for bridge in dict.fromkeys([*way.led(table.rows), *by_udev]):
        if bridge in spared and not table.has(way.base, way.sparing(bridge)):
            yield f"network {spared[bridge]} is closed by our own table, though the policy leaves it alone"


def awry(network: Network, rules: NetworksRules, reading: NetworksReading, served: bool) -> bool:
    """Whether the kernel has not the rules that the policy asks for, or more. Where the host is still to serve a
    network, it is none of that."""
    chains_there = live(reading).rows
    return any(
        bool(_not_asked(way, network, rules, reading)) and not (served and way.cuts)
        if way.asked(rules)
        else way.chain in chains_there
        for way in WAYS
    )


def using(
    networks: Sequence[Network], rules: NetworksRules, docker: DockerReading, reading: NetworksReading
) -> list[Network]:
    """Those whose containers may well be using what our file closes to them for the first time."""
    if not HOST.asked(rules):
        return []
    table, asked = on_disk(reading), bool(own_resolver(rules, docker, reading))
    return [network for network in networks if (network.containers or asked)
            and not HOST.leads(table, network.bridge, _later(network, reading))]  # fmt: skip


def losing(networks: Sequence[Network], rules: NetworksRules, reading: NetworksReading) -> list[Network]:
    """Those that the policy names less to than our file does."""
    named = set(on_disk(reading).rows.get(HOST.chain, ()))
    return [] if not HOST.asked(rules) or named <= set(HOST.rows(rules)) else list(networks)


def our_way_in(networks: Sequence[Network], rules: NetworksRules, reading: NetworksReading) -> str:
    """Why closing the host to these would cut the connection that we came by; "" where it would not."""
    doors = known(reading.doors) if HOST.asked(rules) else ()
    came = next((network.name for network in networks if network.bridge in doors), "")
    service = f"tcp/{known(reading.ssh_port)}"
    if not came or service in (rules.host_services or ()):
        return ""
    return f"your own SSH connection comes in by network {came}: name {service} in networks.host_services"


def on_a_lan(network: Network, reading: NetworksReading) -> str:
    """Why others than containers are on its bridge, whom closing it would cut off; "" where they are not."""
    if network.bridge in reading.default_devices:
        return f"the host's default route goes by {network.bridge}"
    others = bridged.strangers(network.bridge, reading.ports_of(network.bridge), len(network.containers))
    if others and others[0].startswith("veth"):
        return f"{network.bridge} has more ports ({some(others)}) than the network has containers"
    return f"{others[0]} is on {network.bridge}, and who is behind it" if others else ""


def own_resolver(rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> str:
    """The host's own address that containers ask for names, by Docker's `dns` or else the resolv.conf that it gives
    them; "" for none."""
    addresses = {address.partition("/")[0] for found in known(reading.addresses).values() for address in found}
    given = configured(docker, "dns") or reading.resolvers
    names = [str(name) for name in (given.split() if isinstance(given, str) else given)]
    own = [name for name in names if name in addresses and not ip_address(name).is_loopback]
    return own[0] if own and "udp/53" not in (rules.host_services or ()) else ""


def why_served(network: Network, rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> str:
    asked = own_resolver(rules, docker, reading)
    found = [f"{', '.join(sorted(network.containers))} run on it and may use them"] if network.containers else []
    found += [f"containers ask {asked} for names, which is this host (udp/53)"] if asked else []
    return f"{'; '.join(found)}: name what they need in networks.host_services, and allow it with accept={SERVICES}"


def who(rules: NetworksRules, networks: Iterable[Network]) -> str:
    """Whose way to the host's services is closed now."""
    names = sorted({name for network in networks for name in network.containers})
    left = f" but {', '.join(rules.host_services)}" if rules.host_services else ""
    return f"{', '.join(names)} reach none of the host's own services any more{left}" if names else ""
