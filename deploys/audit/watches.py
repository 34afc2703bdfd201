"""Which paths of the container engines are watched, by the CIS Docker Benchmark's ids, and the rules that do it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from deploys.core.templates import render
from facts.audit import AuditReading, Watch
from facts.core.trail import RULE_KEY

PEOPLE = "auid!=-1"  # processes of users who logged in: records of the engines' own writes would flood the log


@dataclass(frozen=True, kw_only=True)
class Row:
    """`places`: where distributions have it; the first that exists counts. `anyway`: the engine with which it is
    watched even before it exists, since creating it changes what that engine does. `needs`: the folder that must exist
    for that."""

    id: str
    places: tuple[str, ...]
    permissions: str = "wa"
    anyway: str = ""
    folder: bool = False
    people: bool = False
    needs: str = ""
    mode: str = ""


@dataclass(frozen=True, kw_only=True)
class WatchedPath:
    """A row's path on one host."""

    id: str
    path: str
    permissions: str
    folder: bool
    people: bool
    needs: tuple[str, str] | None

    def covered(self, watches: Mapping[str, Sequence[Watch]]) -> bool:
        """Whether one of these rules, by their paths, records what the row wants, whoever wrote it."""
        allowed = {PEOPLE} if self.people else set()
        return any(
            set(self.permissions) <= set(watch.permissions) and set(watch.narrowed) <= allowed and not watch.muted
            for watch in watches.get(self.path, ())
        )

    def muted(self, watches: Mapping[str, Sequence[Watch]]) -> str:
        """The rule that keeps those from recording; "" where there is none."""
        return next((watch.muted for watch in watches.get(self.path, ()) if watch.muted), "")


def by_path(watches: Iterable[Watch]) -> Mapping[str, Sequence[Watch]]:
    found: dict[str, list[Watch]] = {}
    for watch in watches:
        found.setdefault(watch.path, []).append(watch)
    return found


def program(number: int, *places: str) -> Row:
    return Row(id=f"1.1.{number}", places=places, permissions="wxa")


def unit(number: int, name: str) -> Row:
    folders = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
    return Row(id=f"1.1.{number}", places=tuple(f"{folder}/{name}" for folder in folders))


def file(number: int, path: str, *, anyway: str = "", needs: str = "", mode: str = "") -> Row:
    return Row(id=f"1.1.{number}", places=(path,), anyway=anyway, needs=needs, mode=mode)


def folder(number: int, path: str, *, anyway: str = "", people: bool = False, mode: str = "") -> Row:
    return Row(id=f"1.1.{number}", places=(path,), folder=True, anyway=anyway, people=people, needs=path, mode=mode)


ROWS = (
    program(3, "/usr/bin/dockerd", "/usr/sbin/dockerd"),
    folder(4, "/run/containerd", people=True, mode="0711"),
    folder(5, "/var/lib/docker", people=True),
    folder(6, "/etc/docker", anyway="docker"),
    unit(7, "docker.service"),
    file(8, "/run/containerd/containerd.sock", needs="/run/containerd", mode="0711"),
    unit(9, "docker.socket"),
    file(10, "/etc/default/docker"),
    file(11, "/etc/docker/daemon.json", anyway="docker", needs="/etc/docker"),
    file(12, "/etc/containerd/config.toml", needs="/etc/containerd"),
    file(13, "/etc/sysconfig/docker"),
    program(14, "/usr/bin/containerd"),
    program(15, "/usr/bin/containerd-shim"),
    program(16, "/usr/bin/containerd-shim-runc-v1"),
    program(17, "/usr/bin/containerd-shim-runc-v2"),
    program(18, "/usr/bin/runc", "/usr/sbin/runc"),
    Row(id="docker.sock", places=("/run/docker.sock",)),
)


def watched_paths(reading: AuditReading, engines: Collection[str]) -> tuple[WatchedPath, ...]:
    """The paths to watch on a host with these engines."""
    found = []
    for row in ROWS:
        path = next((place for place in row.places if place in reading.there), row.places[0])
        if path in reading.there or row.anyway in engines:
            found.append(
                WatchedPath(
                    id=row.id,
                    path=path,
                    permissions=row.permissions,
                    folder=row.folder,
                    people=row.people,
                    needs=(row.needs, row.mode) if row.needs else None,
                )
            )
    return tuple(found)


def rules_text(rows: Sequence[WatchedPath]) -> str:
    return render("audit/engines.rules.j2", key=RULE_KEY, watches=rows)


def folders_text(rows: Sequence[WatchedPath]) -> str:
    """tmpfiles.d(5): the folders that must exist when a boot loads the rules; "" where none is needed."""
    folders = sorted({row.needs for row in rows if row.needs})
    return render("audit/folders.conf.j2", folders=folders) if folders else ""
