"""What the Docker section says of containers, their processes, networks, and what the data root holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from facts.docker_shapes import Container, Mount, Network, Process, Stored
from facts.reading import Block, Section, Unknown, known

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")


def read_containers(section: Section, names: dict[str, str] | Unknown) -> tuple[Container, ...] | Unknown:
    if isinstance(names, Unknown):
        return names
    block = section.blocks.get("inspect")
    rows = [json.loads(line) for line in block.text.splitlines() if line.startswith("{")] if block else []
    if block and block.status != 0 and not rows and "No such container" not in block.text:
        return Unknown(f"docker container inspect: {block.complaint}")
    processes = _processes(section)
    found = (_container(row, processes) for row in rows if row["pid"])
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
    )


def _per_process(block: Block | None) -> Iterator[tuple[int, str, str]]:
    """(pid, file, text) of lines such as `/proc/812/status:Seccomp: 2` or `/proc/812/ns/pid pid:[4026531836]`."""
    for line in block.text.splitlines() if block else ():
        if match := re.match(r"/proc/(\d+)/([a-z/_]+)[: ](.*)", line):
            yield int(match[1]), match[2], match[3]


def _processes(section: Section) -> dict[int, Process]:
    status: dict[int, dict[str, str]] = {}
    maps: dict[int, list[tuple[int, int, int]]] = {}
    for pid, file, text in _per_process(section.blocks.get("processes.status")):
        if file == "uid_map":
            inside, outside, count = map(int, text.split())
            maps.setdefault(pid, []).append((inside, outside, count))
        else:
            name, _, value = text.partition(":")
            status.setdefault(pid, {})[name] = value.strip()
    labels = {pid: text.strip("\0 ") for pid, _, text in _per_process(section.blocks.get("processes.label"))}
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
        if {"Seccomp", "NoNewPrivs", "CapEff"} <= set(values)
        and pid in maps
        and {*NAMESPACES} <= set(spaces.get(pid, {})) & set(host)
    }


def read_networks(section: Section) -> tuple[Network, ...] | Unknown:
    text = section.text("networks")
    if isinstance(text, Unknown):
        return Unknown(f"docker network inspect: {text.unknown}")
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return tuple(sorted((_network(row) for row in rows), key=lambda network: network.name))


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


def read_ps(section: Section) -> dict[str, str] | Unknown:
    """Every container's name and state."""
    text = section.text("ps")
    if isinstance(text, Unknown):
        return Unknown(f"docker {text.unknown}")
    rows = (line.split() for line in text.splitlines())
    return {row[2]: row[1] for row in rows if len(row) == 3}


_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def read_stored(section: Section, names: dict[str, str] | Unknown) -> Stored | Unknown:
    """Sizes are as exact as the client prints them (three digits), and count a layer once per image."""
    images = section.text("images")
    volumes = section.text("volumes")
    if isinstance(images, Unknown):
        return Unknown(f"docker image ls: {images.unknown}")
    rows = [line.split() for line in images.splitlines() if " " in line]
    sizes = (re.fullmatch(r"([0-9.]+)([kMGT]?B)", row[1]) for row in rows)
    return Stored(
        images=tuple(sorted(row[0] for row in rows)),
        images_bytes=sum(round(float(size[1]) * _UNITS[size[2]]) for size in sizes if size),
        containers=tuple(sorted(known(names))),
        volumes=tuple(sorted(known(volumes).split())),
    )
