"""Podman: what it gives the containers that it makes from now on, as its files say, and who may speak to its API."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, OfOneHost, Section, Unknown, attempt, known
from facts.core.shared import of_text

SETTINGS = "/etc/containers/containers.conf.d"
DROP_IN = f"{SETTINGS}/zz-hullproof.conf"
# Users' Podman reads containers.conf too, and starts nothing where it may not read a folder of hooks.
HOOKS = "/etc/containers/oci/hooks.d"
HOOK = f"{HOOKS}/hullproof-no-new-privileges.json"
PROGRAM = "/etc/containers/oci/hullproof-no-new-privileges"
PROFILE = "/etc/containers/hullproof-seccomp.json"  # where users' Podman, which is told of it too, may read it
SHIPPED_PROFILE = "/usr/share/containers/seccomp.json"
OVERRIDE = "/etc/containers/seccomp.json"  # takes its place where no file sets seccomp_profile
SOCKET = "/run/podman/podman.sock"
SOCKET_DROP_IN = "/etc/systemd/system/podman.socket.d/zz-hullproof.conf"
GRAPHROOT = "/var/lib/containers/storage"
# In the order in which they count (containers.conf(5)): each takes the place of what stands in those before it.
ORDER = ("/usr/share/containers/containers.conf", "/usr/share/containers/containers.conf.d/",
         "/etc/containers/containers.conf", f"{SETTINGS}/")  # fmt: skip

NETWORKS, BACKEND = "/etc/containers/networks", "/var/lib/containers/storage/defaultNetworkBackend"
STORAGE = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
SIZES = {"least": "auto-userns-min-size", "most": "auto-userns-max-size"}


@dataclass(frozen=True)
class Setting(Jsonable):
    """What a key is set to, and by which file."""

    value: Any
    file: str


@dataclass(frozen=True)
class Socket(Jsonable):
    """podman.socket, and what is at its path."""

    enabled: bool  # the next boot listens
    active: bool
    mode: str  # octal, "0660"; "" where nothing is there
    owner: str
    group: str
    next_mode: str  # what systemd makes it when it starts it; "" where there is no such unit
    next_owner: str
    next_group: str
    listens: tuple[str, ...]  # where systemd is told to listen: paths, and ADDRESS:PORT


@dataclass(frozen=True)
class Network(Jsonable):
    """A network that has a file."""

    path: str
    text: str
    driver: str  # bridge, macvlan, ipvlan, or a plugin's
    options: dict[str, Any]


@dataclass(frozen=True)
class AutoIds(Jsonable):
    """How many ids a container with userns=auto gets (containers-storage.conf(5))."""

    least: int = 1024  # auto-userns-min-size
    most: int = 65536  # auto-userns-max-size

    @property
    def needed(self) -> int:
        """As many as one container may need."""
        return max(self.least, self.most)


@dataclass(frozen=True)
class PodmanReading(OfOneHost, own={"volumes": (), "networks": {}, "held": (), "serving": ()}):
    """See containers.conf(5), podman-system-service(1), oci-hooks(5)."""

    installed: bool
    version: str | Unknown | None  # of its package; None: it came without one
    settings: dict[str, Setting] | Unknown  # "containers.userns" -> what counts; unknown where a file is broken
    broken: tuple[str, ...]  # "FILE: why" of the files with which no podman command works
    drop_in: str | Unknown | None  # hullproof's own file
    hook: str | Unknown | None
    program: str | Unknown | None
    socket: Socket | Unknown
    socket_drop_in: str | Unknown | None  # hullproof's, for podman.socket
    profile: str | Unknown | None  # hullproof's seccomp profile
    auto_ids: AutoIds | Unknown
    shipped: bool  # the seccomp profile that Podman ships is there
    parser: bool  # without apparmor_parser Podman loads no profile
    filter: dict[str, Any] | Unknown  # of the file that seccomp_profile names, else of OVERRIDE, else the shipped one
    volumes: tuple[str, ...] | Unknown  # names of root's
    networks: dict[str, Network | Unknown] | Unknown  # by name
    held: tuple[str, ...] | Unknown  # the ids of root's containers, whether they run or not
    serving: tuple[str, ...]  # addresses on which running `podman system service`s listen, as they were told
    override: bool = False  # OVERRIDE is there


class Podman(SectionFact[PodmanReading]):
    """Root's Podman. The settings of users, who may change their own, are judged by what their containers have."""

    key: ClassVar[str] = "podman"
    script: ClassVar[str] = (
        f"DROP_IN={DROP_IN} HOOK={HOOK} PROGRAM={PROGRAM} PROFILE={PROFILE} SHIPPED={SHIPPED_PROFILE}\n"
        f"OVERRIDE={OVERRIDE} SOCKET_DROP_IN={SOCKET_DROP_IN} NETWORKS={NETWORKS} BACKEND={BACKEND}\n"
        + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
    )

    @staticmethod
    def parse(section: Section) -> PodmanReading:
        installed = isinstance(section.program("podman", "podman"), str) and "podman" in section.blocks
        texts = _texts(section)
        read = {path: _toml(text) for path, text in texts.items()}
        broken = tuple(f"{path}: {found.unknown}" for path, found in read.items() if isinstance(found, Unknown))
        tables = {path: found for path, found in read.items() if isinstance(found, dict)}
        why = Unknown(f"Podman does not start: {broken[0]}") if broken else None
        return PodmanReading(
            installed=installed,
            version=_version(section),
            settings=why or _merged(tables),
            broken=broken,
            drop_in=section.file(DROP_IN) if installed else None,
            hook=section.file(HOOK) if installed else None,
            program=section.file(PROGRAM) if installed else None,
            profile=section.file(PROFILE) if installed else None,
            auto_ids=attempt("storage.conf", lambda: why or _auto_ids(tables)),
            shipped="shipped" in section.blocks,
            override="override" in section.blocks,
            parser="parser" in section.blocks,
            socket=attempt("podman.socket", lambda: _socket(section)),
            socket_drop_in=section.file(SOCKET_DROP_IN) if installed else None,
            filter=attempt("seccomp_profile", lambda: _filter(section)),
            volumes=attempt("volumes", lambda: _volumes(section)),
            networks=attempt("networks", lambda: why or _networks(section, tables)) if installed else {},
            held=attempt("containers", lambda: _held(section, tables)) if installed else (),
            serving=tuple(_serving(section.blocks.get("serving", Block(0, "")))),
        )


def _version(section: Section) -> str | Unknown | None:
    text = section.blocks.get("package", Block(1, "")).text
    row = re.match(r"ii +([^ ]+)", text)
    return row[1].strip() if row else None


def _major(section: Section) -> int:
    """The first number of the release; 0 where that is not known."""
    release = re.match(r"(?:[0-9]+:)?([0-9]{1,4})\.", str(_version(section)))
    return int(release[1]) if release else 0


def _texts(section: Section) -> dict[str, str]:
    """By file: its text, without comments; each line where it was."""
    found: dict[str, list[str]] = {}
    for line in section.blocks.get("settings", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r"(/.*?\.conf):([0-9]{1,5}):(.*)", line):
            lines = found.setdefault(row[1], [])
            lines += [""] * (int(row[2]) - 1 - len(lines))
            lines.append(row[3])
    return {path: "\n".join(lines) + "\n" for path, lines in found.items()}


@of_text
def _toml(text: str) -> dict[str, Any] | Unknown:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return Unknown(f"not TOML ({error})"[:200])


def _merged(tables: dict[str, dict[str, Any]]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for path in sorted(tables, key=_rank):
        if not path.endswith("/storage.conf"):
            for table, keys in tables[path].items():
                for key, value in keys.items() if isinstance(keys, dict) else ():
                    found[f"{table}.{key}"] = Setting(_appended(value, found.get(f"{table}.{key}")), path)
    return found


def _auto_ids(tables: dict[str, dict[str, Any]]) -> AutoIds | Unknown:
    """The administrator's storage.conf takes the place of the distribution's."""
    table: Any = next((tables[path] for path in STORAGE if path in tables), {})
    for key in ("storage", "options"):
        table = table.get(key, {}) if isinstance(table, dict) else {}
    found = {name: table[key] for name, key in SIZES.items() if key in table}
    return AutoIds(**found) if all(type(size) is int for size in found.values()) else Unknown(f"{found}: not numbers")


def _rank(path: str) -> tuple[int, str]:
    """Files of a folder count in the order of their names."""
    order = [number for number, start in enumerate(ORDER) if path == start or path.startswith(f"{start.rstrip('/')}/")]
    return (order[0] if order else len(ORDER), path)


def _appended(value: Any, before: Setting | None) -> Any:
    """A list that ends with `{append = true}` adds to the one before it."""
    if not isinstance(value, list):
        return value
    own = [each for each in value if not isinstance(each, dict)]
    adds = any(isinstance(each, dict) and each.get("append") is True for each in value)
    return [*before.value, *own] if adds and before and isinstance(before.value, list) else own


def _filter(section: Section) -> dict[str, Any] | Unknown:
    text = section.text("filter")
    return text if isinstance(text, Unknown) else _profile(text)


@of_text
def _profile(text: str) -> dict[str, Any] | Unknown:
    found = Section({"filter": Block(0, text)}).json("filter")
    return found if isinstance(found, dict | Unknown) else Unknown("the seccomp profile is no JSON object")


def _volumes(section: Section) -> tuple[str, ...] | Unknown:
    block = section.block("volumes")
    if isinstance(block, Unknown):
        return block
    if block.status != 0:
        return () if block.absent else Unknown(f"volumes: {block.complaint}")
    return tuple(line for line in block.text.splitlines() if line)


def _held(section: Section, tables: dict[str, dict[str, Any]]) -> tuple[str, ...] | Unknown:
    """A driver of the storage (overlay, vfs) has a folder for each container."""
    if elsewhere := _root_elsewhere(tables):
        return Unknown(f"{elsewhere}, where hullproof does not look")
    folders = known(section.text("held")).split()
    return tuple(folder.rstrip("/").rpartition("/")[2] for folder in folders)


def _root_elsewhere(tables: dict[str, dict[str, Any]]) -> str:
    """Which file has Podman keep its containers at another place; "" for none."""
    for path, table in tables.items():
        root = table.get("storage", {}).get("graphroot", GRAPHROOT) if path in STORAGE else GRAPHROOT
        if root != GRAPHROOT:
            return f"{path} has Podman keep its containers in {root}"
    return ""


def _socket(section: Section) -> Socket | Unknown:
    """Without systemd there is no such unit."""
    block = section.blocks.get("socket", Block(0, ""))
    if block.status != 0:
        return Unknown(f"systemctl: {block.complaint}")
    rows = [line.partition("=")[::2] for line in block.text.splitlines()]
    said = dict(rows)
    at = re.match(r"([0-7]{1,4}) ([^ ]+) ([^ ]+) /", section.blocks.get("sockets", Block(0, "")).text)
    return Socket(
        enabled=said.get("UnitFileState") in ("enabled", "enabled-runtime", "linked"),
        active=said.get("ActiveState") == "active",
        mode=_mode(at[1]) if at else "",
        owner=at[2] if at else "",
        group=at[3] if at else "",
        next_mode=_mode(said["SocketMode"]) if said else "",
        next_owner=said.get("SocketUser") or "root",
        next_group=said.get("SocketGroup") or "root",
        listens=tuple(value.partition(" (")[0] for key, value in rows if key == "Listen"),
    )


def _mode(text: str) -> str:
    return f"{int(text, 8):04o}"


def _networks(section: Section, tables: dict[str, dict[str, Any]]) -> dict[str, Network | Unknown] | Unknown:
    """Netavark's; CNI keeps its own elsewhere, in another form."""
    said = _merged(tables)
    if (folder := said.get("network.network_config_dir")) and folder.value not in ("", NETWORKS):
        return Unknown(f"Podman's networks are in {folder.value} ({folder.file})")
    setting = said.get("network.network_backend")
    backend = setting.value if setting else ""
    if "cni" in (backend, str(section.file(BACKEND)).strip()):
        return Unknown("Podman's networks are CNI's")
    elsewhere = _root_elsewhere(tables)
    if not backend and (elsewhere or section.file(BACKEND) is None) and _major(section) < (5 if elsewhere else 4):
        return Unknown("Podman's networks may be CNI's: no file says so, and its release may have chosen either")
    return {Path(path).stem: _network(section, path) for path in section.matching("network ")}


def _network(section: Section, path: str) -> Network | Unknown:
    text, found = section.file(f"network {path}"), section.json(f"network {path}")
    if isinstance(text, str) and isinstance(found, dict):
        return attempt(path, lambda: Network(path, text, str(found["driver"]), dict(found.get("options") or {})))
    return Unknown(f"{path} is no JSON object")


def _serving(block: Block) -> Iterator[str]:
    """`podman [options] system service [options] [URI]`; without an address it is the default socket."""
    for line in block.text.split("\n"):
        words = line.partition(":")[2].strip("\0").split("\0")
        if "system" in words and "service" in words[words.index("system") :]:
            yield next((word for word in words if re.match(r"(unix|tcp|fd):", word)), f"unix://{SOCKET}")
