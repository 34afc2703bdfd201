"""The cloud's metadata addresses, which serve an instance's credentials: closed to bridges, except for DNS."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.rules import METADATA
from deploys.bridges.view import BridgesView, bridges_view
from deploys.core.change import Blocked, Change, Context
from deploys.core.control import some
from deploys.engines.foreign_bridges import DOCKERS
from facts.core.reading import UnknownReading, known
from facts.engines.shapes import EngineReading, by_bridge

ACCEPT = "metadata"  # accepting it: containers and guests on the host's bridges lose the cloud's credentials
WHAT = "close the metadata addresses to all bridges"
GUESTS = ("veth", "tun")  # the devices that lead to containers and virtual machines


def for_now(context: Context) -> BridgesView:
    """The policy as far as it may be enforced now: the metadata addresses stay open until that is accepted."""
    view = bridges_view(context.survey, context.policy)
    return view.without_metadata if _held(context, view) else view


def plan_metadata(context: Context) -> Iterator[Change]:
    if why := _held(context, bridges_view(context.survey, context.policy)):
        yield Blocked("bridges", WHAT, why=why, accepts=(ACCEPT,))


def losing(view: BridgesView) -> Iterator[str]:
    """Who runs on the host's bridges, where the metadata addresses are closed for the first time."""
    if _closes(view) and (who := " and ".join(_who(view))):
        yield f"{who} no longer get the instance's credentials from {METADATA[0]}"


def _held(context: Context, view: BridgesView) -> str:
    """Why they may not be closed now; "" where they may."""
    if context.accepts(ACCEPT) or not _closes(view):
        return ""
    try:
        who = " and ".join(_who(view))
    except UnknownReading as error:
        return f"cannot determine who gets the instance's credentials from {METADATA[0]}: {error}"
    need = f"may get the instance's credentials from {METADATA[0]}, which bridges.metadata closes"
    return f"{who} {need}: make sure that they do not need them" if who else ""


def _closes(view: BridgesView) -> bool:
    """Whether the policy wants them closed, and no file of hullproof's closes them yet."""
    return view.rules.metadata is not None and not view.reading.filter_on_disk().metadata


def _who(view: BridgesView) -> Iterator[str]:
    if names := _containers(view):
        yield f"running containers ({some(names)})"
    yield from _guests(view)


def _containers(view: BridgesView) -> list[str]:
    running = (engine for engine in view.engines if engine.installed and engine.running is not False)
    return sorted(name for engine in running for name in _on_bridges(engine))


def _on_bridges(engine: EngineReading) -> Iterator[str]:
    """Names of its containers on a bridge: the others use the host's own devices, or none."""
    bridged = {network.name for network in known(engine.networks) if network.driver == "bridge"}
    yield from (each.name for each in known(engine.containers) if not bridged.isdisjoint(each.networks))


def _guests(view: BridgesView) -> Iterator[str]:
    engines = by_bridge(view.engines)
    for bridge in known(view.reading.devices):
        if bridge.kind == "bridge" and bridge.name not in engines and not DOCKERS.fullmatch(bridge.name):
            ports = (port for port in view.reading.ports(bridge.name) if port.kind in GUESTS)
            if names := sorted(port.peer or port.name for port in ports):
                yield f"guests on {bridge.name} ({some(names)})"
