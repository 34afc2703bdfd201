"""containerd: what its plugin for Kubernetes (CRI) gives new containers, as its files say, and who may speak to it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.listening import listening
from facts.core.reading import Block, Jsonable, Section, Unknown, UnknownReading, attempt, known

CONFIG = "/etc/containerd/config.toml"
SOCKET = "/run/containerd/containerd.sock"
PULLING = ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri")  # plugins that pull images for Kubernetes
VERIFIER = "io.containerd.image-verifier.v1.bindir"  # a plugin: programs that are asked before an image is pulled
VERIFIERS = "/opt/containerd/image-verifier/bin"  # its folder, where no file says another
RUNNING = ("active", "reloading")
CERTS = ("/etc/containerd/certs.d", "/etc/docker/certs.d")  # folders of registries, where no file says others
BY_DEFAULT = (2, 2)  # the release from which on these are read


@dataclass(frozen=True)
class Socket(Jsonable):
    mode: str  # octal, "0660"
    owner: str
    group: str


@dataclass(frozen=True)
class ContainerdReading(Jsonable):
    """See containerd-config.toml(5), docs/cri/config.md and docs/hosts.md of containerd."""

    installed: bool
    version: str | Unknown | None  # of its package, or what it says itself where it came without one
    file: str  # that it reads: config.toml, or what its command line names in place of that
    text: str | Unknown | None  # of this file; None: it is not there, and containerd's own defaults hold
    config: dict[str, Any] | Unknown  # the file and what it imports, as one
    imported: dict[str, dict[str, Any]]  # by file
    broken: tuple[str, ...]  # "FILE: why" of the files with which containerd does not start
    running: bool | Unknown
    stale: tuple[str, ...]  # files that were changed since it started
    used: str  # what shows that Kubernetes uses it; "" where nothing does
    restarted_with: tuple[str, ...] | Unknown  # units that systemd stops or restarts with it
    socket: Socket | None
    listening: tuple[str, ...] | Unknown  # ADDRESS:PORT
    selinux: bool  # the kernel runs it
    insecure: tuple[str, ...] | Unknown  # "FILE:LINE:TEXT" where a registry is spoken to without TLS, or blindly
    runtimes: dict[str, str]  # the version of runc, and of crun
    verifiers: tuple[str, ...] | Unknown  # the programs in the folder of the plugin VERIFIER (2.x)

    @property
    def release(self) -> tuple[int, int]:
        return release(known(self.version))


def release(version: str | None, program: str = "containerd") -> tuple[int, int]:
    """2, 1 of 2.1.4."""
    row = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", version or "")
    if not row:
        raise UnknownReading(f"the release of {program} is not known")
    return int(row[1]), int(row[2])


class Containerd(SectionFact[ContainerdReading]):
    """The host's own containerd. Docker's settings are Docker's, though it uses the same daemon."""

    key: ClassVar[str] = "containerd"
    script: ClassVar[str] = f"CONFIG={CONFIG} VERIFIERS={VERIFIERS} CERTS='{' '.join(CERTS)}'\n" + Path(
        __file__
    ).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> ContainerdReading:
        installed = isinstance(section.program("containerd", "containerd"), str) and "containerd" in section.blocks
        unit, file = _unit(section), section.blocks.get("config", Block(0, CONFIG)).text.strip()
        text = _text(section, unit, file) if installed else None
        imports = section.matching("import ")
        files = {file: text, **{path: block.text for path, block in imports.items() if block.status == 0}}
        read = {path: _toml(each) for path, each in files.items() if isinstance(each, str)}
        broken = tuple(f"{path}: {found.unknown}" for path, found in read.items() if isinstance(found, Unknown))
        broken += (f"{file}: there is no such file",) * (text is None and file != CONFIG)
        tables = {path: found for path, found in read.items() if isinstance(found, dict)}
        versions = dict(_versions(section))
        version = versions.pop("containerd", None)
        config = _why_not(text, broken) or _unread(section, tables) or merged(tables)
        return ContainerdReading(
            installed=installed,
            version=version,
            file=file,
            text=text,
            config=config,
            imported={path: table for path, table in tables.items() if path != file},
            broken=broken,
            running=unit if isinstance(unit, Unknown) else unit.get("ActiveState") in RUNNING,
            stale=_stale(section),
            used=section.blocks.get("used", Block(0, "")).text.strip(),
            restarted_with=unit if isinstance(unit, Unknown) else tuple(_bound(unit)),
            socket=next((Socket(*row[:3]) for row in _times(section) if row[5] == SOCKET), None),
            listening=attempt("listening", lambda: tuple(_listening(section, known(unit)))),
            selinux="selinux" in section.blocks,
            insecure=attempt("registries", lambda: tuple(_insecure(section, known(config), version))),
            runtimes=versions,
            verifiers=attempt("verifiers", lambda: tuple(_verifiers(section, known(config)))),
        )


def _why_not(text: str | Unknown | None, broken: tuple[str, ...]) -> Unknown | None:
    if broken:
        return Unknown(f"containerd does not start: {broken[0]}")
    return text if isinstance(text, Unknown) else None


def _unread(section: Section, tables: Mapping[str, dict[str, Any]]) -> Unknown | None:
    """The survey says what it has followed: no imports of what is imported, and no paths with blanks."""
    followed = {*section.blocks.get("imports", Block(0, "")).text.split()}
    for path, table in tables.items():
        named = table.get("imports", [])
        for each in named if isinstance(named, list) else [named]:
            if f"{'' if str(each).startswith('/') else path.rpartition('/')[0] + '/'}{each}" not in followed:
                return Unknown(f"{str(each)[:200]}, which {path} imports, was not read")
    failed = (path for path, block in section.matching("import ").items() if block.status != 0)
    return next((Unknown(f"{path} could not be read") for path in failed), None)


def _versions(section: Section) -> Iterator[tuple[str, str]]:
    """Of containerd, runc and crun: what they say themselves, and what their packages say."""
    for block in section.matching("version").values():
        if row := re.match(r"([a-z]+) [^ ]+ v?([0-9][^ \n]*)", block.text):
            yield row[1], row[2]
    package = section.blocks.get("package", Block(1, "")).text
    for row in re.finditer(r"^[a-z]i +(?:[0-9]+:)?([0-9][^ \n]*) ([a-z]+)(?:\.io)?$", package, re.MULTILINE):
        yield row[2], row[1]


def _toml(text: str) -> dict[str, Any] | Unknown:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return Unknown(f"not TOML ({error})"[:200])


def merged(tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What is imported counts over the file, in the order in which it is imported. Lists are put together; of a plugin
    the last file's section counts as a whole (cmd/containerd/server/config: mergeConfig)."""
    found: dict[str, Any] = {}
    for table in tables.values():
        for key, value in table.items():
            before = found.get(key)
            if isinstance(value, dict) and isinstance(before, dict):
                found[key] = before | value
            elif isinstance(value, list) and isinstance(before, list):
                found[key] = [*before, *(each for each in value if each not in before)]
            else:
                found[key] = value
    return found


def _unit(section: Section) -> dict[str, str] | Unknown:
    block = section.blocks.get("unit", Block(1, ""))
    if block.status != 0:
        return Unknown("without systemd it is not known what depends on containerd")
    return dict(line.partition("=")[::2] for line in block.text.splitlines())


def _bound(unit: dict[str, str]) -> Iterator[str]:
    for key in ("RequiredBy", "BoundBy", "ConsistsOf"):
        yield from unit.get(key, "").split()


def _text(section: Section, unit: dict[str, str] | Unknown, file: str) -> str | Unknown | None:
    """Where containerd runs, its own command line says what stands for a variable of its unit."""
    start = unit.get("ExecStart", "") if isinstance(unit, dict) else ""
    if "$" in start and not section.blocks.get("line", Block(0, "")).text.strip():
        return Unknown("containerd is started with a variable ($) that may name another file, and does not run")
    return section.file(file)


def _times(section: Section) -> Iterator[tuple[str, str, str, int, int, str]]:
    """Mode, owner, group, when it was written, when it was changed, path."""
    for line in section.blocks.get("sockets", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r"([0-7]{1,4}) ([^ ]+) ([^ ]+) ([0-9]{1,12}) ([0-9]{1,12}) (/.*)", line):
            yield f"{int(row[1], 8):04o}", row[2], row[3], int(row[4]), int(row[5]), row[6]


def _stale(section: Section) -> tuple[str, ...]:
    """containerd makes its socket when it starts."""
    rows = list(_times(section))
    started = next((row[3] for row in rows if row[5] == SOCKET), None)
    return () if started is None else tuple(row[5] for row in rows if row[5] != SOCKET and row[4] > started)


def _listening(section: Section, unit: dict[str, str]) -> Iterator[str]:
    if unit.get("ActiveState") not in RUNNING:
        return
    inodes = set(re.findall(r" socket:\[([0-9]{1,20})\]$", known(section.text("open")), re.MULTILINE))
    yield from (address for address, inode in listening(known(section.text("listening"))) if inode in inodes)


def _insecure(section: Section, config: dict[str, Any], version: str | None) -> Iterator[str]:
    folders = list(_certs(config, version))
    if unread := [folder for folder in folders if folder not in _looked_into(section)]:
        raise UnknownReading(f"{unread[0][:80]} was not looked into for registries")
    for line in section.blocks.get("registries", Block(1, "")).text.split("\n"):
        if any(line.startswith(f"{folder}/") for folder in folders):
            yield line[:200]


def _certs(config: dict[str, Any], version: str | None) -> Iterator[str]:
    """The folders of each plugin that pulls images for Kubernetes, as its section of the file says."""
    plugins = config.get("plugins", {})
    registries = [plugins[name].get("registry", {}) for name in PULLING if name in plugins]
    named = [str(registry["config_path"]) for registry in registries if "config_path" in registry]
    if named:
        yield from (folder.rstrip("/") for path in named for folder in path.split(":") if folder)
    elif release(version) >= BY_DEFAULT:
        yield from CERTS


def _looked_into(section: Section) -> list[str]:
    return [folder.rstrip("/") for folder in section.blocks.get("folders", Block(0, "")).text.split()]


def _verifiers(section: Section, config: dict[str, Any]) -> Iterator[str]:
    folder = str(config.get("plugins", {}).get(VERIFIER, {}).get("bin_dir", VERIFIERS)).rstrip("/")
    if folder not in _looked_into(section):
        raise UnknownReading(f"{folder[:80]} was not looked into for image verifiers")
    for line in section.blocks.get("verifiers", Block(1, "")).text.split("\n"):
        if line.rpartition("/")[0] == folder:
            yield line
