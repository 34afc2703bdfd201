"""Which of the engines' paths are watched, by the ids of the CIS Docker Benchmark, and the rules that do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploys.core.templates import render
from facts.audit import AuditReading, Watch

KEY = "hullproof"
PEOPLE = "auid!=-1"  # processes of somebody who logged in: the engines' own writes to their store would be a flood


@dataclass(frozen=True)
class Row:
    """`places`: where a distribution may have it, the first that exists counts. `anyway`: what is to be watched before
    it is there, since making it changes what Docker does. `needs`: the folder that must be there for that."""

    id: str
    places: tuple[str, ...]
    permissions: str = "wa"
    anyway: bool = False
    folder: bool = False
    people: bool = False
    needs: str = ""
    mode: str = ""


@dataclass(frozen=True)
class Wanted:
    """A row on one host."""

    id: str
    path: str
    permissions: str
    folder: bool
    people: bool
    needs: tuple[str, str] | None

    def covered(self, watches: Iterable[Watch]) -> bool:
        """Whether one of these rules records what is to be recorded, whoever wrote it."""
        allowed = {PEOPLE} if self.people else set()
        return any(
            watch.path == self.path
            and set(self.permissions) <= set(watch.permissions)
            and set(watch.narrowed) <= allowed
            for watch in watches
        )


def program(number: int, *places: str) -> Row:
    return Row(f"1.1.{number}", places, permissions="wxa")


def unit(number: int, name: str) -> Row:
    folders = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
    return Row(f"1.1.{number}", tuple(f"{folder}/{name}" for folder in folders))


ROWS = (
    program(3, "/usr/bin/dockerd", "/usr/sbin/dockerd"),
    Row("1.1.4", ("/run/containerd",), folder=True, people=True, needs="/run/containerd", mode="0711"),
    Row("1.1.5", ("/var/lib/docker",), folder=True, people=True, needs="/var/lib/docker"),
    Row("1.1.6", ("/etc/docker",), anyway=True, folder=True, needs="/etc/docker"),
    unit(7, "docker.service"),
    Row("1.1.8", ("/run/containerd/containerd.sock",), needs="/run/containerd", mode="0711"),
    unit(9, "docker.socket"),
    Row("1.1.10", ("/etc/default/docker",)),
    Row("1.1.11", ("/etc/docker/daemon.json",), anyway=True, needs="/etc/docker"),
    Row("1.1.12", ("/etc/containerd/config.toml",), needs="/etc/containerd"),
    Row("1.1.13", ("/etc/sysconfig/docker",)),
    program(14, "/usr/bin/containerd"),
    program(15, "/usr/bin/containerd-shim"),
    program(16, "/usr/bin/containerd-shim-runc-v1"),
    program(17, "/usr/bin/containerd-shim-runc-v2"),
    program(18, "/usr/bin/runc", "/usr/sbin/runc"),
    Row("docker.sock", ("/run/docker.sock",)),
)


def wanted(reading: AuditReading, docker: bool) -> tuple[Wanted, ...]:
    """What is to be watched on this host."""
    found = []
    for row in ROWS:
        path = next((place for place in row.places if place in reading.there), row.places[0])
        if path in reading.there or (row.anyway and docker):
            needs = (row.needs, row.mode) if row.needs else None
            found.append(Wanted(row.id, path, row.permissions, row.folder, row.people, needs))
    return tuple(found)


def rules_text(rows: Sequence[Wanted]) -> str:
    return render("audit/engines.rules.j2", key=KEY, watches=rows)


def folders_text(rows: Sequence[Wanted]) -> str:
    """tmpfiles.d(5): the folders that must be there when the rules are loaded at boot; "" where none is needed."""
    folders = sorted({row.needs for row in rows if row.needs})
    return render("audit/folders.conf.j2", folders=folders) if folders else ""
