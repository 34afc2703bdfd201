"""What moves on the bridges of a host behind the policy's back, in the words of those who look after networks."""

from __future__ import annotations

from deploys.bridges.rules import BridgesRules, Segment, segments
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines.foreign_bridges import DOCKERS, ENGINES
from facts.core.reading import known
from facts.core.reverted import UNDO
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading
from facts.networks.bridges import Bridges, BridgesReading, Device
from facts.networks.networks import Networks, NetworksReading


def check_meeting(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[BridgesRules]
    if len(segments(rules)) < 2:
        return not_applicable("the policy declares no two networks that could meet")
    legs = legs_of(rules, survey[Bridges], survey[Networks], survey[Docker])
    live = {who: sorted(found) for who, found in legs.items()}
    wrong = [f"{who} stands in {' and '.join(pair)}, which must not meet{_except(rules, pair)}"
             for who, found in sorted(live.items()) if (pair := _parted(rules, found))]  # fmt: skip
    if wrong:
        return failed("; ".join(wrong), "one network each", None, live)
    return passed("nobody stands in two networks that must not meet", "one network each", None, live)


def legs_of(
    rules: BridgesRules, reading: BridgesReading, networks: NetworksReading, docker: DockerReading
) -> dict[str, set[str]]:
    """Who is in which segments, by the ports that lead to them."""
    names = containers_of(docker)
    legs: dict[str, set[str]] = {}
    for segment in segments(rules):
        for device in ports_of(segment, reading, networks):
            if device.peer:
                legs.setdefault(names.get(device.pid, device.peer), set()).add(segment.name)
    return legs


def ports_of(segment: Segment, reading: BridgesReading, networks: NetworksReading) -> list[Device]:
    """The ports that are in the segment now, whatever was declared."""
    ports = reading.ports(segment.bridge)
    if segment.switched:  # flows let nobody else in
        return [device for device in ports if device.name in segment.ports]
    if segment.vlan is None:
        return ports
    inside = {row.device for row in known(networks.memberships) if row.untagged and row.id <= segment.vlan <= row.last}
    return [device for device in ports if device.name in inside]


def _parted(rules: BridgesRules, found: list[str]) -> list[str]:
    """The first two of these segments between which not everything is allowed: who stands in both could route all."""
    allowed = {frozenset((flow.from_, flow.to)) for flow in rules.allow if flow.proto == "any"}
    pairs = ([one, other] for number, one in enumerate(found) for other in found[number + 1 :])
    return next((pair for pair in pairs if frozenset(pair) not in allowed), [])


def _except(rules: BridgesRules, pair: list[str]) -> str:
    """What is allowed there all the same: not enough to stand in both."""
    flows = [f"{flow.from_} -> {flow.to} ({flow})" for flow in rules.allow if {flow.from_, flow.to} == set(pair)]
    return f" except by {', '.join(flows)}" if flows else ""


def containers_of(docker: DockerReading) -> dict[int | None, str]:
    """Docker's containers by their first process."""
    if not isinstance(docker.containers, tuple):
        return {}
    return {container.pid: f"container {container.name}" for container in docker.containers}


def check_hand_made(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[BridgesRules]
    if rules.undeclared is None:
        return not_applicable("the policy does not ask for it")
    reading, docker = survey[Bridges], survey[Docker]
    told = {*(net.bridge for net in rules.networks.values()), *reading.interfaces}
    told |= {network.bridge for network in docker.networks} if isinstance(docker.networks, tuple) else set()
    strange = [device for device in known(reading.devices) if device.kind == "bridge" and not device.managed
               and device.name not in told
               and not DOCKERS.fullmatch(device.name) and not ENGINES.fullmatch(device.name)]  # fmt: skip
    if not strange:
        return passed("every bridge is declared, made by a file, or an engine's", [], None, [])
    says = [f"{device.name} was made by hand ({_with(device, reading)})" for device in strange]
    reason = f"{'; '.join(says)}: declare it, have a file make it, or remove it with `ip link del`"
    return failed(reason, [], None, [device.name for device in strange])


def _with(device: Device, reading: BridgesReading) -> str:
    ports = [f"{port.name} to {port.peer}" if port.peer else port.name for port in reading.ports(device.name)]
    return f"ports: {', '.join(ports)}" if ports else "no ports"


def check_reverted(survey: Survey, policy: Policy) -> Verdict:
    reverted = known(survey[Bridges].reverted)
    if reverted is None:
        return passed("no network change was taken back by the host", None, None, None)
    if reverted.why == UNDO:
        undo = f"the undo of run {reverted.run} could not be confirmed over a fresh connection"
        return failed(
            f"{undo}: the host put the run's networks back by itself at {reverted.time}; find out why, then undo it "
            "again, or accept reverted-network",
            None, None, reverted.run,
        )  # fmt: skip
    reason = (
        f"run {reverted.run} changed the network and could not be confirmed over a fresh connection: the host undid "
        f"it by itself at {reverted.time}; find out why, then accept reverted-network"
    )
    return failed(reason, None, None, reverted.run)
