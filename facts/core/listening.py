"""TCP sockets that listen, as /proc/net/tcp and tcp6 have them (proc_net_tcp.txt of the kernel)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ADDRESS = "([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})"
_ROW = re.compile(rf"^ *[0-9]+: {_ADDRESS} [0-9A-F]+:[0-9A-F]{{4}} 0A (?:[^ \n]+ +){{5}}([0-9]+) ", re.MULTILINE)
MAPPED = f"{'0' * 16}FFFF0000"  # in front of an address of IPv4


def listening(text: str) -> Iterator[tuple[str, str]]:
    """ADDRESS:PORT, and the socket's inode. Of addresses of IPv6 these are told apart: all, the host's own, others."""
    for address, port, inode in _ROW.findall(text):
        yield f"{_host(address.removeprefix(MAPPED))}:{int(port, 16)}", inode


def _host(address: str) -> str:
    if len(address) == 8:
        return ".".join(str(int(address[at : at + 2], 16)) for at in (6, 4, 2, 0))
    return "[::]" if not int(address, 16) else "[::1]" if address == f"{'0' * 24}01000000" else "[IPv6]"
