"""Who may speak to a scheduler: it has Dask run whatever it likes as the user of the workers, who hold the keys."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

NAMES = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


class TlsError(Exception):
    """One sentence: what is missing or unsafe, and what to do."""


def files(folder: str) -> dict[str, str]:
    """The paths of the CA, the certificate and the key in `folder`, by NAMES."""
    found = {what: Path(folder).absolute() / name for what, name in NAMES.items()}
    for path in found.values():
        if not path.is_file():
            raise TlsError(f"--tls {folder}: there is no {path.name}; it wants {', '.join(NAMES.values())}")
    if os.stat(found["key"]).st_mode & 0o077:
        raise TlsError(f"{found['key']} can be read by others: chmod 600 {found['key']}")
    return {what: str(path) for what, path in found.items()}


def check(address: str, tls: str, unencrypted: bool) -> str:
    """The scheduler's `address`, if it may be used. Without TLS only on this machine, or where it was said so."""
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not _port(address):
        raise TlsError(f"{address} is no scheduler: want tls://HOST:PORT, or tcp://127.0.0.1:PORT on this machine")
    if parts.scheme == "tls":
        if not tls:
            raise TlsError(f"{address} wants certificates: name their folder by --tls")
    elif tls:
        raise TlsError(f"{address} does not use the certificates in {tls}: write tls://")
    elif not (_loopback(parts.hostname) or unencrypted):
        raise TlsError(
            f"{address} would carry reports unencrypted, and let whoever reaches it run programs on the workers: use "
            "tls:// with --tls, or add --unencrypted where the network between them is yours alone"
        )
    return address


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
