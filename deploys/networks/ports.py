"""As whom containers send on Docker's bridges: what reads a port's own addresses as it comes, and what it has read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from deploys.core import templates
from deploys.core.change import Change, Command, RemoveFile, WriteFile
from deploys.networks.isolation import NetworksRules, covered
from facts.core.reading import known
from facts.engines.docker.docker import DockerReading, Network
from facts.networks.networks import PORT_RULES_FILE, PORT_UNIT_FILE, PORTS_FILE, NetworksReading

# By path: its template, and what makes it live.
FILES = {
    PORTS_FILE: ("ports.sh", ""),
    PORT_UNIT_FILE: ("hullproof-port@.service", "systemctl daemon-reload"),
    PORT_RULES_FILE: ("ports.rules", "udevadm control --reload"),
}
MOVES = {"NET_ADMIN", "CAP_NET_ADMIN", "ALL", "CAP_ALL"}


def unknown_ports(network: Network, reading: NetworksReading) -> list[str]:
    """Ports of the network's bridge of which nobody has read whose they are."""
    ports = [name for name in reading.ports_of(network.bridge) if re.fullmatch(r"veth[\w.-]+", name)]
    return [port for port in ports if not reading.knows(port)]


@cache
def text_of(path: str) -> str:
    return templates.text(f"networks/{FILES[path][0]}")


def lacking(reading: NetworksReading) -> list[str]:
    """Those of our files that are not as they should be."""
    return [path for path in FILES if known(reading.files.get(path)) != text_of(path)]


def plan_files(rules: NetworksRules, reading: NetworksReading) -> Iterator[Change]:
    """The files alone: they are used as the rules are loaded, and for each port that comes later."""
    for path, (_, activate) in FILES.items():
        before, text = known(reading.files.get(path)), text_of(path)
        if rules.antispoof and before != text:
            yield WriteFile("networks", f"read as whom new containers may send ({path})", path=path, text=text,
                            before=before, activate=activate)  # fmt: skip
        elif not rules.antispoof and before is not None:
            yield RemoveFile("networks", f"read no more as whom containers may send ({path})", path=path,
                             before=before, activate=activate)  # fmt: skip


def plan_reading(networks: Iterable[Network], reading: NetworksReading) -> Iterator[Change]:
    """Once the rules are loaded. A port that somebody has put on a bridge of Docker's by hand is told, and left."""
    if ports := sorted({port for network in networks for port in unknown_ports(network, reading)}):
        script = f"""sh {PORTS_FILE}; left=
for port in {" ".join(ports)}; do
  [ ! -e /sys/class/net/$port ] || nft list set bridge hullproof known | grep -q "\\"$port\\"" || left="$left $port"
done
[ -z "$left" ] || {{ echo "no container of Docker's is behind$left, which may send as anybody"; exit 1; }}"""
        yield Command("networks", f"read as whom may be sent by {', '.join(ports)}", script=script, undo="")


def movers(rules: NetworksRules, docker: DockerReading) -> str:
    """Whom it may cut off: containers that can take other addresses than they were given."""
    covers = {network.name for network in covered(rules, docker)}
    names = sorted(
        container.name
        for container in known(docker.containers)
        if covers & set(container.networks) and (container.privileged or MOVES & set(container.cap_add))
    )
    return f"{', '.join(names)} (CAP_NET_ADMIN) may send from no other address than it has now" if names else ""
