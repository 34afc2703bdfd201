"""The addresses of container ports on engines' bridges: what reads them as a port appears, and what has been read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from deploys.core import templates
from deploys.core.change import Change, Command, RemoveFile, WriteFile
from deploys.core.same_text import same_text
from deploys.networks.isolation import NetworksRules, covered
from facts.core.reading import known
from facts.engines.shapes import EngineReading, Network
from facts.networks.networks import PORT_RULES_FILE, PORT_UNIT_FILE, PORTS_FILE, NetworksReading

# By path: its template, and the command that makes it effective.
FILES = {
    PORTS_FILE: ("ports.sh", ""),
    PORT_UNIT_FILE: ("hullproof-port@.service", "systemctl daemon-reload"),
    PORT_RULES_FILE: ("ports.rules", "udevadm control --reload"),
}


def unknown_ports(network: Network, reading: NetworksReading) -> list[str]:
    """Ports of the network's bridge whose addresses have not been read."""
    ports = [name for name in reading.ports_of(network.bridge) if re.fullmatch(r"veth[\w.-]+", name)]
    return [port for port in ports if not reading.knows(port)]


@cache
def text_of(path: str) -> str:
    return templates.text(f"networks/{FILES[path][0]}")


def lacking(reading: NetworksReading) -> list[str]:
    """hullproof's files that differ from what they should be."""
    return [path for path in FILES if not same_text(known(reading.files.get(path)), text_of(path))]


def plan_files(rules: NetworksRules, reading: NetworksReading) -> Iterator[Change]:
    """The files alone: they run when the rules are loaded, and for each port that appears later."""
    for path, (_, activate) in FILES.items():
        before, text = known(reading.files.get(path)), text_of(path)
        if rules.antispoof and not same_text(before, text):
            what = f"read the addresses of new container ports ({path})"
            yield WriteFile("networks", what, path=path, text=text, before=before, activate=activate)
        elif not rules.antispoof and before is not None:
            what = f"remove {path}, which the policy no longer needs"
            yield RemoveFile("networks", what, path=path, before=before, activate=activate)


def plan_reading(networks: Iterable[Network], reading: NetworksReading) -> Iterator[Change]:
    """Once the rules are loaded. A port that was put on such a bridge by hand is named and left as it is."""
    if ports := sorted({port for network in networks for port in unknown_ports(network, reading)}):
        script = f'FILE={PORTS_FILE}\nALL="{" ".join(ports)}"\n{templates.text("networks/read-ports.sh")}'
        yield Command("networks", f"read the addresses of {', '.join(ports)}", script=script, undo="")


def movers(rules: NetworksRules, engines: Sequence[EngineReading]) -> str:
    """Containers that can change their addresses, which antispoof may cut off: a sentence; "" for none."""
    names = sorted(name for engine in engines if engine.installed for name in _movers(rules, engine))
    return (
        f"containers with CAP_NET_ADMIN can send only from their present addresses: {', '.join(names)}" if names else ""
    )


def _movers(rules: NetworksRules, engine: EngineReading) -> Iterator[str]:
    covers = {network.name for network in covered(rules, (engine,))}
    able = (container for container in known(engine.containers) if container.net_admin)
    yield from (container.name for container in able if covers & set(container.networks))
