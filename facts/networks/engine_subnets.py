"""The subnets of networks that engines without a daemon to ask keep in files; no route shows one that is not up."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterator

from facts.core.lines import Lines
from facts.core.reading import Section

PODMAN = (
    "10.88.0.0/16"  # of its network `podman`, for which there is a file only where it was changed: podman-network(1)
)
SCRIPT = """
run subnets grep -sHE '"subnet"[[:space:]]*:|<ip ' /etc/containers/networks/*.json /etc/cni/net.d/*.conf* \\
  /etc/libvirt/qemu/networks/*.xml
have podman && run podman true
"""


def read_subnets(section: Section) -> tuple[tuple[str, str], ...]:
    """Each with the file that says so; what makes no sense is no subnet."""
    lines = Lines(section.block("subnets"))
    found = [(subnet, path) for path, rows in lines.found.items() for row in rows for subnet in _subnets(row)]
    if "podman" in section.blocks and not any(path.endswith("/podman.json") for _, path in found):
        found.append((PODMAN, "Podman's own network"))
    return tuple(found)


def _subnets(row: str) -> Iterator[str]:
    """Of a line of JSON; of libvirt's XML: <ip address='192.168.122.1' netmask='255.255.255.0'>, or prefix='24'."""
    given = dict(re.findall(r"\b(\w++)='([^']*)'", row))
    texts = re.findall(r'"subnet"\s*:\s*"([^"]+)"', row)
    for text in texts or [f"{given.get('address')}/{given.get('netmask') or given.get('prefix')}"]:
        with contextlib.suppress(ValueError):
            yield str(ipaddress.ip_interface(text).network)
