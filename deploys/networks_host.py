"""What containers reach of the host's own services, and from which addresses they send: the rules in our inet table,
and whether the kernel has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from deploys.engine.control import Verdict, failed, not_applicable, passed
from deploys.engine.policy import Policy
from deploys.isolation import FROM_OWN, SERVICES, NetworksRules, closes_later, covered, covers, made_later, to_host
from facts.docker import Docker, DockerReading, Network
from facts.networks import RULES_FILE, Networks, NetworksReading, chains
from facts.reading import Unknown, known
from facts.survey import Survey

LATER = "iifname . iifname @later goto "
Table = Mapping[str, Sequence[str]]  # the rules of each chain, as nft prints them


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

    def asked(self, rules: NetworksRules) -> bool:
        return getattr(rules, self.key) is not None

    def led(self, table: Table) -> list[str]:
        """The bridges from where the base chain leads to it."""
        lines = "\n".join(table.get(self.base, ()))
        return re.findall(rf'^iifname "([^"]+)" goto {self.chain}$', lines, re.MULTILINE)

    def leads(self, table: Table, bridge: str, later: Iterable[str]) -> bool:
        found = table.get(self.base, ())
        made_later = bridge in later and LATER + self.chain in found
        return f'iifname "{bridge}" accept' not in found and (bridge in self.led(table) or made_later)

    def against(self, table: Table, rules: NetworksRules) -> str:
        """What keeps our chains from being what the policy asks for, whatever the bridge; "" for nothing."""
        if self.chain not in table:
            return "no rule of ours asks"
        ours = re.compile(rf'iifname "[^"]+" (goto {self.chain}|accept)|{re.escape(LATER + self.chain)}')
        if strange := [row for row in table.get(self.base, ()) if not ours.fullmatch(row)]:
            return f"the rule `{strange[0]}` in our table is not ours"
        if list(table[self.chain]) != self.rows(rules):
            return f"our rules are not as the policy says: {'; '.join(table[self.chain]) or 'there are none'}"
        return ""


HOST = Way("host_services", "input", "input priority -1", "to-host",
           lambda rules: to_host(rules.host_services or ()), True,
           "What the host itself serves; not what is published, which is routed.",
           "containers reach the host's own services")  # fmt: skip
SPOOF = Way("antispoof", "prerouting", "prerouting priority -300", "from-own", lambda _: FROM_OWN, False,
            "Nor from an address that the host would not answer by the bridge that it came in by.",
            "containers may send from addresses that are not the network's")  # fmt: skip
WAYS = (HOST, SPOOF)


def rendered(rules: NetworksRules, closed: Mapping[str, bool], spared: list[str]) -> list[dict[str, object]]:
    """For the template: the ways that the policy asks for. `closed`: of each covered bridge, whether the host's own
    services may be closed to it by now."""
    not_yet = [bridge for bridge, wanted in closed.items() if not wanted]
    return [
        {
            "way": way,
            "rows": way.rows(rules),
            "bridges": sorted(bridge for bridge, wanted in closed.items() if wanted or not way.cuts),
            "spared": sorted([*spared, *not_yet] if way.cuts else spared),
        }
        for way in WAYS
        if way.asked(rules)
    ]


def open_by(way: Way, network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
    """Why it is not in force on this network, as the kernel has it; "" where it is."""
    table = known(reading.own)
    if why := way.against(table, rules):
        return why
    return "" if way.leads(table, network.bridge, known(reading.later)) else "no rule of ours asks"


def lasts(way: Way, network: Network, rules: NetworksRules, reading: NetworksReading) -> bool:
    text = known(reading.files.get(RULES_FILE))
    table = chains(text or "")
    led = way.leads(table, network.bridge, _later(network, text, reading))
    return reading.unit_enabled and not way.against(table, rules) and led


def _later(network: Network, text: str | None, reading: NetworksReading) -> tuple[str, ...]:
    """The bridge, where udev names it in the table of our file."""
    return (network.bridge,) if made_later(network, text, reading) else ()


def check_host_services(survey: Survey, policy: Policy) -> Verdict:
    named = ", ".join(policy[NetworksRules].host_services or ()) or "nothing"
    return _check(HOST, survey, policy, f"containers reach {named} of the host's own services")


def check_antispoof(survey: Survey, policy: Policy) -> Verdict:
    return _check(SPOOF, survey, policy, "containers send from their network's addresses alone")


def _check(way: Way, survey: Survey, policy: Policy, right: str) -> Verdict:
    rules, docker, reading = policy[NetworksRules], survey[Docker], survey[Networks]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if not way.asked(rules):
        left = not isinstance(reading.own, Unknown) and way.chain in reading.own
        return failed("left from an earlier policy", None, None, True) if left else not_applicable(
            f"the policy does not declare networks.{way.key}")  # fmt: skip
    networks = covered(rules, docker)
    live = {network.name: open_by(way, network, rules, reading) for network in networks}
    disk = {network.name: lasts(way, network, rules, reading) for network in networks}
    reasons = [*_wrong(way, live, disk), *_beyond(way, rules, docker, reading)]
    states = {name: not why for name, why in live.items()}
    if reasons:
        return failed("; ".join(reasons), dict.fromkeys(live, True), disk, states)
    if not networks:
        return not_applicable("the policy covers none of the host's networks")
    return passed(f"{right}, on {', '.join(live)}", dict.fromkeys(live, True), disk, states)


def _wrong(way: Way, live: Mapping[str, str], disk: Mapping[str, bool]) -> Iterator[str]:
    for name, why in live.items():
        if why:
            set_only = " (set on disk, not in force)" if disk[name] else ""
            yield f"on network {name} {way.wrong}{set_only}: {why}"
        elif not disk[name]:
            yield f"on network {name} that is closed now, but nothing on disk says so after a restart"


def _beyond(way: Way, rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> Iterator[str]:
    """Networks to come, and those that should be left alone."""
    if rules.cover == "all" and not closes_later(reading):
        yield f"on networks made from now on {way.wrong}"
    spared = {network.bridge: network.name for network in known(docker.networks) if not covers(rules, network)}
    for bridge in way.led(known(reading.own)):
        if bridge in spared:
            yield f"network {spared[bridge]} is closed by our own table, though the policy leaves it alone"


def awry(network: Network, rules: NetworksRules, reading: NetworksReading) -> bool:
    """Whether the kernel has not what the policy asks for, or more."""
    table = known(reading.own)
    return any(open_by(way, network, rules, reading) if way.asked(rules) else way.chain in table for way in WAYS)


def using(rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> list[Network]:
    """Networks whose containers may well be using what our file closes to them for the first time."""
    if not HOST.asked(rules):
        return []
    text = known(reading.files.get(RULES_FILE)) or ""
    table, asked = chains(text), bool(own_resolver(rules, reading))
    return [network for network in covered(rules, docker) if (network.containers or asked)
            and not HOST.leads(table, network.bridge, _later(network, text, reading))]  # fmt: skip


def losing(rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> list[Network]:
    """Those that the policy names less to than our file does."""
    named = set(chains(known(reading.files.get(RULES_FILE)) or "").get(HOST.chain, ()))
    return [] if not HOST.asked(rules) or named <= set(HOST.rows(rules)) else covered(rules, docker)


def our_way_in(rules: NetworksRules, docker: DockerReading, reading: NetworksReading) -> str:
    """Why closing the host would cut the connection that we came by; "" where it would not."""
    doors = known(reading.doors) if HOST.asked(rules) else ()
    came = next((network.name for network in covered(rules, docker) if network.bridge in doors), "")
    service = f"tcp/{known(reading.ssh_port)}"
    if not came or service in (rules.host_services or ()):
        return ""
    return f"your own SSH connection comes in by network {came}: name {service} in networks.host_services"


def own_resolver(rules: NetworksRules, reading: NetworksReading) -> str:
    """The host's own address that containers ask for names, by the resolv.conf that Docker gives them; "" for none."""
    addresses = {address.partition("/")[0] for found in known(reading.addresses).values() for address in found}
    own = [name for name in reading.resolvers if name in addresses and not ip_address(name).is_loopback]
    return own[0] if own and "udp/53" not in (rules.host_services or ()) else ""


def why_served(network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
    asked = own_resolver(rules, reading)
    found = [f"{', '.join(sorted(network.containers))} run on it and may use them"] if network.containers else []
    found += [f"containers ask {asked} for names, which is this host (udp/53)"] if asked else []
    return f"{'; '.join(found)}: name what they need in networks.host_services, and allow it with accept={SERVICES}"


def who(rules: NetworksRules, networks: Iterable[Network]) -> str:
    """Whose way to the host's services is closed now."""
    names = sorted({name for network in networks for name in network.containers})
    left = f" but {', '.join(rules.host_services)}" if rules.host_services else ""
    return f"{', '.join(names)} reach none of the host's own services any more{left}" if names else ""
