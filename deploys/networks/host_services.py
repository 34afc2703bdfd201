"""The services of the host that containers reach, and the addresses that they send from: the controls, and what
closing them would cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from deploys.core.control import Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines import foreign_bridges as bridged
from deploys.networks.guard_chains import (
    FROM_NETWORK,
    FROM_PORT,
    TO_HOST,
    GuardChain,
    later_on_disk,
    live,
    on_disk,
    on_host,
)
from deploys.networks.isolation import (
    NetworksRules,
    by_udev,
    closes_later,
    closes_unasked,
    covered,
    later_patterns,
    none_installed,
    uncovered,
)
from deploys.networks.out_of_reach import bridgeless
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.shapes import EngineReading, Network, by_bridge, owner
from facts.networks.networks import Networks, NetworksReading


def check_host_services(survey: Survey, policy: Policy) -> Verdict:
    named = ", ".join(policy[NetworksRules].host_services or ()) or "nothing"
    wants = f"the policy allows {named} (networks.host_services)"
    return _check((TO_HOST,), survey, policy, f"containers reach {named} of the host's own services", wants)


def check_antispoof(survey: Survey, policy: Policy) -> Verdict:
    wants = "the policy drops packets from addresses that are not the container's own (networks.antispoof)"
    right = "containers send from their own addresses alone"
    return _check((FROM_NETWORK, FROM_PORT), survey, policy, right, wants)


def _check(chains: tuple[GuardChain, ...], survey: Survey, policy: Policy, right: str, wants: str) -> Verdict:
    rules, reading = policy[NetworksRules], survey[Networks]
    engines = present.senders(survey) if FROM_PORT in chains and rules.antispoof else present.engines(survey)
    if why := none_installed(engines):
        return not_applicable(why)
    if not chains[0].asked(rules):
        return _not_asked(chains, reading)
    read = [engine for engine in engines if not isinstance(engine.networks, Unknown)]
    networks = covered(rules, read)
    faults = [why for chain in chains for network in networks if (why := _fault(chain, network, rules, reading))]
    faults += [why for chain in chains for why in _beyond(chain, rules, read, reading)]
    if FROM_PORT in chains:
        found = bridgeless(rules, read)
        faults += [f"on network {each.name} ({each.driver}) {FROM_PORT.fault}: it has no bridge" for each in found]
    disk = {network.name: all(chain.lasts(network, rules, reading) for chain in chains) for network in networks}
    live = {network.name: not any(chain.unmet(network, rules, reading) for chain in chains) for network in networks}
    declared = dict.fromkeys(live, True)
    if faults:
        return failed("; ".join([*dict.fromkeys(faults), wants]), declared=declared, disk=disk, live=live)
    networks = covered(rules, engines)  # what is not known of one engine hides no fault of another's
    if not networks:
        return not_applicable("networks.cover names none of the host's networks")
    return passed(f"{right}, on {', '.join(live)}", declared=declared, disk=disk, live=live)


def _not_asked(chains: tuple[GuardChain, ...], reading: NetworksReading) -> Verdict:
    left = [] if isinstance(reading.own, Unknown) else [chain.chain for chain in chains if chain.place in reading.own]
    if left:
        reason = f"hullproof's chain {' and '.join(left)} is left from an earlier policy"
        return failed(reason, declared=None, disk=None, live=True)
    return not_applicable(f"the policy does not declare networks.{chains[0].key}")


def _fault(chain: GuardChain, network: Network, rules: NetworksRules, reading: NetworksReading) -> str:
    why, kept = chain.unmet(network, rules, reading), chain.lasts(network, rules, reading)
    if why:
        set_only = " (set on disk, not in force)" if kept else ""
        return f"on network {network.name} {chain.fault}{set_only}: {why}"
    if not kept:
        return f"on network {network.name} hullproof's chain {chain.chain} applies now, but no file restores it at boot"
    return ""


def _beyond(
    chain: GuardChain, rules: NetworksRules, engines: Sequence[EngineReading], reading: NetworksReading
) -> Iterator[str]:
    """New networks, and those that the policy excludes."""
    patterns = later_patterns(rules, engines) if not chain.cuts else ()
    if not all(chain.leads_by(live(reading), each) for each in patterns) or (
        by_udev(rules, engines) and not closes_later(reading)
    ):
        yield f"on new networks {chain.fault}"
    if closes_unasked(rules, reading):
        yield "new networks are closed, though networks.cover is not all"
    for bridge in sorted(on_host(reading, patterns) - by_bridge(engines).keys()):
        if chain.leads(live(reading), bridge, ()):
            yield f"hullproof's table closes the bridge {bridge}, which is no container engine's"
    for network in uncovered(rules, engines):
        if network.bridge and chain.leads(live(reading), network.bridge, reading.named_later()):
            yield f"hullproof's table closes network {network.name}, though the policy does not cover it"


# ------------------------------------------------------------------------------------------------ for plans


def using(
    networks: Sequence[Network], rules: NetworksRules, engines: Sequence[EngineReading], reading: NetworksReading
) -> list[Network]:
    """Networks whose containers may be using services of the host that the new file closes for the first time."""
    if not TO_HOST.asked(rules):
        return []
    table = on_disk(reading)
    asked = {engine.name: own_resolver(rules, engine, reading) for engine in engines if engine.installed}
    used = [network for network in networks if network.containers or asked[owner(network, engines).name]]
    return [each for each in used if not TO_HOST.leads(table, each.bridge, later_on_disk(each, reading))]


def losing(networks: Sequence[Network], rules: NetworksRules, reading: NetworksReading) -> list[Network]:
    """Networks that reach fewer services than the file on disk allows."""
    named = set(on_disk(reading).rows.get(TO_HOST.place, ()))
    return [] if not TO_HOST.asked(rules) or named <= set(TO_HOST.rows(rules)) else list(networks)


def cuts_connection(networks: Sequence[Network], rules: NetworksRules, reading: NetworksReading) -> str:
    """Why closing the host to these networks would cut the SSH connection; "" where it would not."""
    doors = known(reading.doors) if TO_HOST.asked(rules) else ()
    came = next((network.name for network in networks if network.bridge in doors), "")
    service = f"tcp/{known(reading.ssh_port)}"
    if not came or service in (rules.host_services or ()):
        return ""
    return f"your SSH connection comes in through network {came}: name {service} in networks.host_services"


def on_a_lan(network: Network, engines: Sequence[EngineReading], reading: NetworksReading) -> str:
    """Why other machines are on its bridge, which closing it would cut off; "" where there are none."""
    if network.bridge in reading.default_devices:
        return f"the host's default route leads through {network.bridge}"
    others = bridged.strangers(network.bridge, reading.ports_of(network.bridge), len(network.containers))
    if others and others[0].startswith("veth"):
        return f"{network.bridge} has more ports ({some(others)}) than the network has containers"
    whose = owner(network, engines).name
    return f"{others[0]}, a port of {network.bridge}, does not lead to a container of {whose}'s" if others else ""


def own_resolver(rules: NetworksRules, engine: EngineReading, reading: NetworksReading) -> str:
    """The host's own address that containers use as their DNS server, by the engine's setting or else the resolv.conf
    that it gives them; "" for none."""
    addresses = {address.partition("/")[0] for found in known(reading.addresses).values() for address in found}
    given = known(engine.dns) or reading.resolvers
    own = [name for name in given if name in addresses and not ip_address(name).is_loopback]
    return own[0] if own and "udp/53" not in (rules.host_services or ()) else ""


def why_served(network: Network, rules: NetworksRules, engine: EngineReading, reading: NetworksReading) -> str:
    asked = own_resolver(rules, engine, reading)
    found = [f"containers on it may use them ({', '.join(sorted(network.containers))})"] if network.containers else []
    found += [f"{asked}, which containers use as their DNS server, is this host (udp/53)"] if asked else []
    return f"{'; '.join(found)}: name what they need in networks.host_services"


def who(rules: NetworksRules, networks: Iterable[Network]) -> str:
    """The containers that lose the host's services, in a sentence; "" for none."""
    names = sorted({name for network in networks for name in network.containers})
    left = f" except {', '.join(rules.host_services)}" if rules.host_services else ""
    return f"these containers no longer reach the host's own services{left}: {', '.join(names)}" if names else ""
