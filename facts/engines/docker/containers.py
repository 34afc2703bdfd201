"""What the Docker section says of containers, networks, and what the data root holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from facts.core.json_text import load
from facts.core.numbers import whole_number
from facts.core.reading import Section, Unknown, attempt, known
from facts.engines.docker.shapes import Container, Network, Stored
from facts.engines.shapes import Waiting
from facts.waiting import capabilities_of, real, security_of


def read_inspected(section: Section) -> list[dict[str, Any]] | Unknown:
    """What the client's `inspect` gave, a JSON object per line: containers have a `pid`, networks a `Driver`."""
    networks = section.text("networks")
    block = section.block("inspect")
    if isinstance(networks, Unknown):
        return Unknown(f"docker network ls: {networks.unknown}")
    if isinstance(block, Unknown):
        return block
    if block.status in (124, 137):  # timeout(1): without a word, which is not to say that nothing is there
        return Unknown("docker inspect: the daemon gave no answer in 15 seconds")
    if block.status != 0 and any(
        line and not line.startswith("{") and "No such" not in line for line in block.text.splitlines()
    ):
        return Unknown(f"docker inspect: {block.complaint}")
    lines = (line for line in block.text.splitlines() if line.startswith("{"))
    return attempt("docker inspect", lambda: [load(line) for line in lines])


def read_containers(rows: list[dict[str, Any]] | Unknown) -> tuple[Container, ...] | Unknown:
    if isinstance(rows, Unknown):
        return rows
    return attempt("docker inspect", lambda: _containers(rows))


def _containers(rows: list[dict[str, Any]]) -> tuple[Container, ...]:
    found = (_container(row) for row in rows if row.get("pid"))
    return tuple(sorted(found, key=lambda container: container.name))


def _container(row: dict[str, Any]) -> Container:
    host: dict[str, Any] = row["host"]
    return Container(
        id=row["id"],
        name=row["name"].lstrip("/"),
        pid=row["pid"],
        started=row["started"],
        auto_remove=host["auto_remove"],
        privileged=host["privileged"],
        network_mode=host["network_mode"],
        pid_mode=host["pid_mode"],
        userns_mode=host["userns_mode"],
        security_opt=tuple(host["security_opt"] or ()),
        cap_add=tuple(host["cap_add"] or ()),
        devices=tuple(device["PathOnHost"] for device in host["devices"] or ()),
        networks=tuple(sorted(row["networks"] or {})),
        published=tuple(sorted(_published(row.get("ports")))),
        image=row.get("image") or "",
    )


def read_waiting(rows: list[dict[str, Any]] | Unknown) -> tuple[Waiting, ...] | Unknown:
    if isinstance(rows, Unknown):
        return rows
    return attempt("docker inspect", lambda: tuple(sorted(_waiting(rows), key=lambda waiting: waiting.name)))


def _waiting(rows: list[dict[str, Any]]) -> Iterator[Waiting]:
    for row in rows:
        if row.get("pid") != 0 or not (status := _status(row)):
            continue
        host: dict[str, Any] = row["host"]
        mounts = [mount for mount in row.get("mounts") or () if mount.get("Source")]
        yield Waiting(
            id=row["id"],
            name=row["name"].lstrip("/"),
            status=status,
            privileged=host["privileged"],
            shares=tuple(kind for kind in ("network", "pid", "ipc", "uts") if host.get(f"{kind}_mode") == "host"),
            devices=tuple(device["PathOnHost"] for device in host["devices"] or ()),
            mounts=tuple((real(mount["Source"]), bool(mount.get("RW", True))) for mount in mounts),
            image=row.get("image") or "",
            capabilities=capabilities_of(host.get("cap_add") or ()),
            user_namespace=host.get("userns_mode") or "",
            security=security_of(host.get("security_opt") or ()),
        )


def _status(row: dict[str, Any]) -> str:
    """ "" for one that stays as it is."""
    if row["status"] == "exited" and row["host"].get("restart_policy") not in ("", "no", None):
        return "stopped"
    return row["status"] if row["status"] in ("created", "restarting") else ""


def _published(ports: Any) -> Iterator[str]:
    """From `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": null}`."""
    for port, bindings in (ports or {}).items():
        for binding in (bindings or ()) if port.endswith("/tcp") else ():
            host = binding.get("HostIp", "")
            yield f"{f'[{host}]' if ':' in host else host}:{binding.get('HostPort', '')}"


def read_networks(rows: list[dict[str, Any]] | Unknown) -> tuple[Network, ...] | Unknown:
    if isinstance(rows, Unknown):
        return rows
    return attempt("docker inspect", lambda: _networks(rows))


def _networks(rows: list[dict[str, Any]]) -> tuple[Network, ...]:
    return tuple(sorted((_network(row) for row in rows if "Driver" in row), key=lambda network: network.name))


def _network(row: dict[str, Any]) -> Network:
    options = row.get("Options") or {}
    default = f"br-{row['Id'][:12]}" if row["Driver"] == "bridge" else ""
    pools = (row.get("IPAM") or {}).get("Config") or ()
    icc = str(options.get("com.docker.network.bridge.enable_icc", "true")).lower()
    private = "private" in (options.get("macvlan_mode"), options.get("ipvlan_flag"))
    return Network(
        name=row["Name"],
        driver=row["Driver"],
        bridge=options.get("com.docker.network.bridge.name", default),
        internal=bool(row["Internal"]),
        icc=icc not in ("false", "f", "0") and not private,
        subnets=tuple(pool["Subnet"] for pool in pools if pool.get("Subnet")),
        containers=tuple(sorted(item["Name"] for item in (row.get("Containers") or {}).values())),
    )


_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def read_stored(section: Section, rows: list[dict[str, Any]] | Unknown) -> Stored | Unknown:
    if isinstance(rows, Unknown):
        return rows
    return attempt("what Docker holds", lambda: _stored(section, rows))


def _stored(section: Section, rows: list[dict[str, Any]]) -> Stored:
    images, size = _images(section)
    return Stored(
        images=images,
        images_bytes=size,
        containers=tuple(sorted(row["name"].lstrip("/") for row in rows if "pid" in row)),
        volumes=tuple(sorted(known(section.text("volumes")).split())),
    )


def _images(section: Section) -> tuple[tuple[str, ...], int]:
    """Tags and bytes: of the layers as the graph driver notes them, or (containerd's store) as the client rounds."""
    if "images" in section.blocks:
        repositories = known(section.json("images"))["Repositories"]
        tags = (tag for repository in repositories.values() for tag in repository if "@" not in tag)
        layers = section.blocks["layers"].text.split()
        return tuple(sorted(tags)), sum(whole_number(layer) or 0 for layer in layers)
    rows = [line.split() for line in known(section.text("images.listed")).splitlines() if " " in line]
    sizes = (re.fullmatch(r"([0-9.]+)([kMGT]?B)", row[1]) for row in rows)
    total = sum(round(float(size[1]) * _UNITS[size[2]]) for size in sizes if size)
    return tuple(sorted(row[0] for row in rows)), total
