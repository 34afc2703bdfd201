"""The subnets of networks that engines without a daemon define in files; no route shows a network that is down."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterator

from facts.core.lines import Lines
from facts.core.reading import Section

# Podman's default network, for which a file exists only where it was changed: podman-network(1).
PODMAN = "10.88.0.0/16"
SCRIPT = """
run subnets grep -sHE '"subnet"[[:space:]]*:|<ip ' /etc/containers/networks/*.json /etc/cni/net.d/*.conf* \\
  /etc/libvirt/qemu/networks/*.xml
have podman && run podman true
"""


def read_subnets(section: Section) -> tuple[tuple[str, str], ...]:
    """Each with its file; text that is not a subnet is skipped."""
    lines = Lines(section.block("subnets"))
    found = [(subnet, path) for path, rows in lines.found.items() for row in rows for subnet in _subnets(row)]
    if "podman" in section.blocks and not any(path.endswith("/podman.json") for _, path in found):
        found.append((PODMAN, "Podman's own network"))
    return tuple(found)


def _subnets(row: str) -> Iterator[str]:
    """A line of JSON or of libvirt's XML: <ip address='192.168.122.1' netmask='255.255.255.0'>, or prefix='24'."""
    given = dict(re.findall(r"\b(\w++)='([^']*)'", row))
    texts = re.findall(r'"subnet"\s*:\s*"([^"]+)"', row)
    for text in texts or [f"{given.get('address')}/{given.get('netmask') or given.get('prefix')}"]:
        with contextlib.suppress(ValueError):
            yield str(ipaddress.ip_interface(text).network)
