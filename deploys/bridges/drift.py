"""What has changed on a host's bridges without the policy: containers in two networks, bridges created by hand, changes
that the host reverted."""

from __future__ import annotations

from deploys.bridges.rules import BridgesRules, Segment
from deploys.bridges.view import BridgesView, bridges_view
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines.foreign_bridges import DOCKERS, ENGINES
from facts.core.reading import known
from facts.core.reverted import UNDO
from facts.core.survey import Survey
from facts.engines.shapes import by_bridge
from facts.networks.bridges import Bridges, Device


def check_meeting(survey: Survey, policy: Policy) -> Verdict:
    view = bridges_view(survey, policy)
    if len(view.segments) < 2:
        return not_applicable("the policy declares fewer than two bridge networks")
    live = {who: sorted(found) for who, found in legs_of(view).items()}
    wrong = [
        f"{who} is in {' and '.join(pair)}, which bridges.allow keeps apart{_except(view, pair)}"
        for who, found in sorted(live.items())
        if (pair := _parted(view, found))
    ]
    if wrong:
        return failed("; ".join(wrong), declared="one network each", disk=None, live=live)
    right = "no container is in two networks that bridges.allow keeps apart"
    return passed(right, declared="one network each", disk=None, live=live)


def legs_of(view: BridgesView) -> dict[str, set[str]]:
    """By container (or namespace), the segments that its ports are in."""
    names = containers_of(view)
    legs: dict[str, set[str]] = {}
    for segment in view.segments:
        for device in ports_of(segment, view):
            if device.peer:
                legs.setdefault(names.get(device.pid, device.peer), set()).add(segment.name)
    return legs


def ports_of(segment: Segment, view: BridgesView) -> list[Device]:
    """The ports that are in the segment now, declared or not."""
    ports = view.reading.ports(segment.bridge)
    if segment.switched:  # the flows drop what other ports send
        return [device for device in ports if device.name in segment.ports]
    if segment.vlan is None:
        return ports
    rows = (row for row in known(view.networks.memberships) if row.untagged)
    inside = {row.device for row in rows if row.id <= segment.vlan <= row.last}
    return [device for device in ports if device.name in inside]


def _parted(view: BridgesView, found: list[str]) -> list[str]:
    """The first two of these segments between which not everything is allowed: a container in both could route
    anything."""
    allowed = {frozenset((flow.from_, flow.to)) for flow in view.rules.allow if flow.proto == "any"}
    pairs = ([one, other] for number, one in enumerate(found) for other in found[number + 1 :])
    return next((pair for pair in pairs if frozenset(pair) not in allowed), [])


def _except(view: BridgesView, pair: list[str]) -> str:
    """What is allowed between them all the same, and does not suffice."""
    flows = [f"{flow.from_} -> {flow.to} ({flow})" for flow in view.rules.allow if {flow.from_, flow.to} == set(pair)]
    return f" except for {', '.join(flows)}" if flows else ""


def containers_of(view: BridgesView) -> dict[int | None, str]:
    """The engines' containers by their first process."""
    listed = (engine.containers for engine in view.engines)
    found = (each for containers in listed if isinstance(containers, tuple) for each in containers)
    return {container.pid: f"container {container.name}" for container in found}


def check_hand_made(survey: Survey, policy: Policy) -> Verdict:
    if policy[BridgesRules].undeclared is None:
        return not_applicable("the policy does not declare bridges.undeclared")
    view = bridges_view(survey, policy)
    sources = {*(net.bridge for net in view.rules.networks.values()), *view.reading.interfaces}
    sources |= by_bridge(view.engines).keys()
    unmanaged = [device for device in known(view.reading.devices) if device.kind == "bridge" and not device.managed]
    strange = [device for device in unmanaged if device.name not in sources and not _engines(device.name)]
    if not strange:
        return passed(
            "every bridge comes from the policy, a file or a container engine", declared=[], disk=None, live=[]
        )
    found = [f"{device.name} was created by hand ({_ports(device, view)})" for device in strange]
    reason = (
        f"{'; '.join(found)}; the policy refuses that (bridges.undeclared): declare the bridge under bridges.networks, "
        "define it in a file of the network manager, or delete it with `ip link del`"
    )
    return failed(reason, declared=[], disk=None, live=[device.name for device in strange])


def _engines(bridge: str) -> bool:
    return bool(DOCKERS.fullmatch(bridge) or ENGINES.fullmatch(bridge))


def _ports(device: Device, view: BridgesView) -> str:
    ports = [f"{port.name} to {port.peer}" if port.peer else port.name for port in view.reading.ports(device.name)]
    return f"ports: {', '.join(ports)}" if ports else "no ports"


def check_reverted(survey: Survey, policy: Policy) -> Verdict:
    reverted = known(survey[Bridges].reverted)
    if reverted is None:
        return passed("the host has reverted no network change")
    if reverted.why == UNDO:
        reason = (
            f"the rollback of run {reverted.run} was not confirmed over a fresh connection, so at {reverted.time} the "
            "host restored the networks of that run"
        )
    else:
        reason = (
            f"run {reverted.run} changed the network and was not confirmed over a fresh connection, so the host "
            f"reverted the change at {reverted.time}"
        )
    return failed(reason, declared=None, disk=None, live=reverted.run)
