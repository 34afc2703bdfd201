"""The cloud's metadata address: what hands out an instance's credentials is closed to bridges, names are not."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.rules import METADATA, BridgesRules
from deploys.core.change import Blocked, Change, Context
from deploys.core.control import some
from deploys.engines.foreign_bridges import DOCKERS
from facts.core.reading import UnknownReading, known
from facts.engines.docker.docker import Docker, DockerReading
from facts.networks.bridges import RULES_FILE, Bridges, BridgesReading
from facts.networks.openvswitch import SWITCH_FILE

ACCEPT = "metadata"  # accepting it: who runs on the host's bridges no longer gets its cloud's credentials
WHAT = "close the metadata address to all bridges"
GUESTS = ("veth", "tun")  # what leads to containers and virtual machines; the rest leads out


def without(rules: BridgesRules) -> BridgesRules:
    """The same, but for the metadata address, which is left alone."""
    return rules.model_copy(update={"metadata": None})


def for_now(context: Context) -> BridgesRules:
    """The policy's rules as far as they may be enforced: without closing what runs may be living by."""
    rules = context.policy[BridgesRules]
    return without(rules) if _held(context) else rules


def plan_metadata(context: Context) -> Iterator[Change]:
    if why := _held(context):
        yield Blocked("bridges", WHAT, why=f"{why}; allow it with accept={ACCEPT}")


def losing(context: Context) -> Iterator[str]:
    """Where it is closed for the first time: who runs on the host's bridges."""
    if _closes(context) and (who := "; ".join(_who(context))):
        yield f"{who} get no credentials of the instance from {METADATA[0]} any more"


def _held(context: Context) -> str:
    """Why it may not be closed now; "" where it may."""
    if context.accepts(ACCEPT) or not _closes(context):
        return ""
    try:
        who = "; ".join(_who(context))
    except UnknownReading as error:
        return f"who runs here and may get the instance's credentials from {METADATA[0]} is not known: {error}"
    return f"{who} may get the instance's credentials from {METADATA[0]}: see that they need none of it" if who else ""


def _closes(context: Context) -> bool:
    """Whether the policy asks for it, and no file of ours does it yet."""
    files = context.survey[Bridges].files
    written = "".join(known(files.get(path)) or "" for path in (RULES_FILE, SWITCH_FILE))
    return context.policy[BridgesRules].metadata is not None and METADATA[0] not in written


def _who(context: Context) -> Iterator[str]:
    docker, reading = context.survey[Docker], context.survey[Bridges]
    if names := _containers(docker):
        yield f"running containers ({some(names)})"
    yield from _guests(docker, reading)


def _containers(docker: DockerReading) -> list[str]:
    """Those on a bridge: the rest sends by the host's own devices, or by none."""
    if not docker.installed or docker.running is False:
        return []
    bridged = {network.name for network in known(docker.networks) if network.driver == "bridge"}
    return sorted(container.name for container in known(docker.containers) if bridged & set(container.networks))


def _guests(docker: DockerReading, reading: BridgesReading) -> Iterator[str]:
    dockers = {network.bridge for network in docker.networks} if isinstance(docker.networks, tuple) else set()
    for bridge in known(reading.devices):
        if bridge.kind == "bridge" and bridge.name not in dockers and not DOCKERS.fullmatch(bridge.name):
            names = sorted(port.peer or port.name for port in reading.ports(bridge.name) if port.kind in GUESTS)
            if names:
                yield f"guests on {bridge.name} ({some(names)})"
