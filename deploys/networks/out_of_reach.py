"""What passes between containers where no table of hullproof's sees it: networks without a bridge, filters of tc."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deploys.core.change import Blocked
from deploys.core.control import some
from deploys.networks.isolation import NetworksRules
from facts.core.reading import Unknown, UnknownReading, known
from facts.engines.shapes import EngineReading, Network, known_networks
from facts.networks.networks import NetworksReading
from facts.networks.tc import Redirect

# Drivers whose networks share a device of the host's, and the option with which containers on them are kept apart.
PRIVATE = {"macvlan": "macvlan_mode=private", "ipvlan": "ipvlan_flag=private"}


def bridgeless(rules: NetworksRules, engines: Sequence[EngineReading]) -> list[Network]:
    """Networks to which the policy applies, and whose frames pass no bridge."""
    named = rules.cover if isinstance(rules.cover, list) else ()
    networks = (network for network in known_networks(engines) if network.driver in PRIVATE)
    return [n for n in networks if (rules.cover == "all" or n.name in named) and n.name not in rules.except_]


def redirected(network: Network, reading: NetworksReading) -> list[Redirect]:
    """What tc passes from the network's ports to those of this or another bridge."""
    names, by_device = reading.remember("redirects", lambda: _redirects(reading))  # once for all networks
    own = dict.fromkeys((network.bridge, *reading.ports_of(network.bridge))) if by_device else ()
    return [each for device in own for each in by_device.get(device, ()) if each.to in names]


def _redirects(reading: NetworksReading) -> tuple[set[str], dict[str, list[Redirect]]]:
    """The devices of all bridges, with "" for what is not known; what tc passes on, by the device that it is from."""
    found: dict[str, list[Redirect]] = {}
    for each in () if isinstance(reading.redirects, Unknown) else reading.redirects:
        found.setdefault(each.device, []).append(each)
    bridges = known(reading.bridges)
    return {"", *(name for bridge in bridges for name in (bridge.name, *(port.name for port in bridge.ports)))}, found


def why_reachable(network: Network, reading: NetworksReading) -> str:
    """How containers on the network reach each other, whatever hullproof's tables hold; "" where they do not."""
    if network.driver in PRIVATE:
        passes = f"{network.driver} passes their frames by no bridge, so no table can drop them"
        return passes if network.icc else ""
    found = (each for each in redirected(network, reading) if each.to)
    ways = [f"tc passes frames from {each.device} ({each.where}) to {each.to}" for each in found]
    return f"{'; '.join(ways)}, before hullproof's table sees them" if ways else ""


def refuse_programs(networks: Iterable[Network], reading: NetworksReading) -> None:
    """UnknownReading where a BPF program may pass frames on, of which nothing says what it does, or tc says nothing."""
    known(reading.redirects)
    if names := [each.device for network in networks for each in redirected(network, reading) if not each.to]:
        raise UnknownReading(f"tc runs a BPF program on {some(names)}, which may pass frames to other containers")


def plan_bridgeless(
    rules: NetworksRules, engines: Sequence[EngineReading], icc: str, antispoof: str
) -> Iterator[Blocked]:
    """`icc`, `antispoof`: the controls; "" for one that is not about these engines."""
    for network in bridgeless(rules, engines):
        apart = icc and network.icc and rules.icc is False
        controls = ((icc,) if apart else ()) + ((antispoof,) if rules.antispoof else ())
        private = "" if rules.antispoof else f"create it again with -o {PRIVATE[network.driver]}, "
        if controls:
            yield Blocked(
                "networks",
                f"keep containers on network {network.name} apart",
                why=f"{network.driver} passes their frames by no bridge, and hullproof's tables see no others",
                by_hand=f"{private}move the containers of {network.name} to a bridge network, or name it under "
                "networks.except",
                controls=controls,
            )


def plan_redirects(networks: Iterable[Network], reading: NetworksReading) -> Iterator[Blocked]:
    for network in networks:
        for each in redirected(network, reading):
            if each.to:
                yield Blocked(
                    "networks",
                    f"keep tc from passing frames from {each.device} to {each.to}",
                    why="hullproof removes no filter that it has not written",
                    by_hand=f"remove it with `tc filter del dev {each.device} {each.where}`",
                )
