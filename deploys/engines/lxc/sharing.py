"""What of the host's LXC's file gives each new container (lxc.container.conf(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploys.core.control import some
from facts.core.reading import known
from facts.engines.lxc.lxc import LxcReading
from facts.lxc_files import Line

# What of the host's LXC's own files mount in containers, and that tells nothing.
HARMLESS = ("/sys/fs/fuse/connections", "/sys/kernel/debug", "/sys/kernel/security", "/sys/fs/pstore", "/dev/fuse")
WRITABLE = frozenset(("proc", "proc:rw", "sys", "sys:rw", "cgroup-full", "cgroup-full:rw"))
NAMESPACES = frozenset(("cgroup", "ipc", "mnt", "net", "pid", "uts"))
ADDING = ("lxc.mount.auto", "lxc.mount.entry", "lxc.namespace.clone", "lxc.namespace.keep")  # of others the last counts
# All devices, disks that can be read or written, all character devices, and the host's memory and ports.
DEVICES = re.compile(r"a.*|b .*\s\S*[rw]\S*|c\s+(\*:|1:[124*]\s).*[rw]\S*")


def shared(lxc: LxcReading, wanted: Any) -> str:
    said = [f"{line.key} is {line.value} ({line.at})" for line in _counting(lxc) if _gives(line)]
    return some([*said, *_uncloned(lxc)])


def _counting(lxc: LxcReading) -> Iterator[Line]:
    """The lines that no later one takes back."""
    for key in dict.fromkeys(line.key for line in known(lxc.lines)):
        last = lxc.last(key)
        if key in ADDING or key.startswith(("lxc.cgroup.", "lxc.cgroup2.")):
            yield from lxc.all(key)
        elif last:
            yield last


def _gives(line: Line) -> bool:
    key, value = line.key, line.value
    if key.startswith("lxc.net."):
        return key.endswith(".type") and value in ("none", "phys")
    if key == "lxc.mount.auto":
        return any(word.removesuffix(":force") in WRITABLE for word in value.split())
    if key == "lxc.mount.entry":
        return _mounts(value.split())
    if key in ("lxc.cgroup.devices.allow", "lxc.cgroup2.devices.allow"):
        return DEVICES.fullmatch(value) is not None
    return key in ("lxc.namespace.keep", "lxc.mount.fstab") or key.startswith("lxc.namespace.share.")


def _mounts(words: list[str]) -> bool:
    """Whether a row as in fstab(5) mounts a folder, file or disk of the host's."""
    source, options = words[0], ",".join(words[3:4]).split(",")
    return source not in HARMLESS and (source.startswith("/") or bool({"bind", "rbind"} & set(options)))


def _uncloned(lxc: LxcReading) -> list[str]:
    """Of namespaces that a list does not have, containers get the host's."""
    rows = lxc.all("lxc.namespace.clone")
    own = {word.replace("mount", "mnt") for row in rows for word in re.split(r"[\s|]+", row.value)}
    needed = NAMESPACES | ({"user"} if lxc.all("lxc.idmap") else set())
    left = sorted(needed - own) if rows else []
    return [f"lxc.namespace.clone ({rows[-1].at}) leaves {some(left)} the host's"] if left else []
