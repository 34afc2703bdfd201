"""What the Docker section says of containers, their processes, networks, and what the data root holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from facts.core.json_text import load
from facts.core.numbers import whole_number
from facts.core.reading import Block, Section, Unknown, attempt, known
from facts.engines.docker.shapes import Container, Mount, Network, Process, Stored

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")


def read_inspected(section: Section) -> list[dict[str, Any]] | Unknown:
    """What the client's `inspect` gave, a JSON object per line: containers have a `pid`, networks a `Driver`."""
    networks = section.text("networks")
    block = section.block("inspect")
    if isinstance(networks, Unknown):
        return Unknown(f"docker network ls: {networks.unknown}")
    if isinstance(block, Unknown):
        return block
    if block.status != 0 and any(
        line and not line.startswith("{") and "No such" not in line for line in block.text.splitlines()
    ):
        return Unknown(f"docker inspect: {block.complaint}")
    lines = (line for line in block.text.splitlines() if line.startswith("{"))
    return attempt("docker inspect", lambda: [load(line) for line in lines])


def read_containers(section: Section, rows: list[dict[str, Any]] | Unknown) -> tuple[Container, ...] | Unknown:
    if isinstance(rows, Unknown):
        return rows
    return attempt("docker inspect", lambda: _containers(rows, _processes(section)))


def _containers(rows: list[dict[str, Any]], processes: dict[int, Process]) -> tuple[Container, ...]:
    found = (_container(row, processes) for row in rows if row.get("pid"))
    return tuple(sorted(found, key=lambda container: container.name))


def _container(row: dict[str, Any], processes: dict[int, Process]) -> Container:
    host: dict[str, Any] = row["host"]
    lists = {name: tuple(host.pop(name) or ()) for name in ("security_opt", "cap_add", "devices")}
    return Container(
        id=row["id"],
        name=row["name"].lstrip("/"),
        image=row["image"],
        pid=row["pid"],
        started=row["started"],
        **host,
        security_opt=lists["security_opt"],
        cap_add=lists["cap_add"],
        devices=tuple(device["PathOnHost"] for device in lists["devices"]),
        mounts=tuple(
            Mount(mount["Type"], mount.get("Source", ""), mount["Destination"], bool(mount["RW"]))
            for mount in row["mounts"] or ()
        ),
        networks=tuple(sorted(row["networks"] or {})),
        process=processes.get(row["pid"], Unknown(f"process {row['pid']} could not be read, or is gone")),
        published=tuple(sorted(_published(row.get("ports")))),
    )


def _published(ports: Any) -> Iterator[str]:
    """From `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": null}`."""
    for port, bindings in (ports or {}).items():
        for binding in (bindings or ()) if port.endswith("/tcp") else ():
            host = binding.get("HostIp", "")
            yield f"{f'[{host}]' if ':' in host else host}:{binding.get('HostPort', '')}"


def _per_process(block: Block | None) -> Iterator[tuple[int, str, str]]:
    """(pid, file, text) of lines such as `/proc/812/status:Seccomp: 2` or `/proc/812/ns/pid pid:[4026531836]`."""
    for line in block.text.splitlines() if block else ():
        if match := re.match(r"/proc/([0-9]{1,10})/([a-z/_]+)[: ](.*)", line):
            yield int(match[1]), match[2], match[3]


_STATUS = {"Seccomp": "[0-9]", "NoNewPrivs": "[01]", "CapEff": "[0-9a-f]{1,16}"}


def _processes(section: Section) -> dict[int, Process]:
    status: dict[int, dict[str, str]] = {}
    maps: dict[int, list[tuple[int, int, int]]] = {}
    for pid, file, text in _per_process(section.blocks.get("processes.status")):
        if file == "uid_map":
            if row := re.fullmatch(r" *([0-9]{1,10}) +([0-9]{1,10}) +([0-9]{1,10})", text):
                maps.setdefault(pid, []).append((int(row[1]), int(row[2]), int(row[3])))
        else:
            name, _, value = text.partition(":")
            status.setdefault(pid, {})[name] = value.strip()
    labels: dict[int, str] = {}
    for pid, _, text in _per_process(section.blocks.get("processes.label")):
        labels.setdefault(pid, text.strip("\0 "))
    spaces: dict[int, dict[str, str]] = {}
    for pid, file, text in _per_process(section.blocks.get("processes.ns")):
        spaces.setdefault(pid, {})[file.removeprefix("ns/")] = text
    host = spaces.get(1, {})
    return {
        pid: Process(
            uid_map=tuple(maps[pid]),
            seccomp=int(values["Seccomp"]),
            no_new_privs=values["NoNewPrivs"] == "1",
            cap_eff=int(values["CapEff"], 16),
            label=labels.get(pid, ""),
            host_namespaces=tuple(name for name in NAMESPACES if spaces[pid][name] == host[name]),
        )
        for pid, values in status.items()
        if all(re.fullmatch(pattern, values.get(name, "")) for name, pattern in _STATUS.items())
        and pid in maps
        and {*NAMESPACES} <= set(spaces.get(pid, {})) & set(host)
    }


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
    return Network(
        name=row["Name"],
        driver=row["Driver"],
        bridge=options.get("com.docker.network.bridge.name", default),
        internal=bool(row["Internal"]),
        icc=icc not in ("false", "f", "0"),
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
