"""Docker: the daemon as declared, on disk and live, its networks, and its containers as they were asked for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from json import JSONDecodeError
from pathlib import Path
from typing import Any, ClassVar

from facts import modes
from facts.core.fact import SectionFact
from facts.core.json_text import load
from facts.core.reading import Block, Section, Unknown
from facts.engines.docker.containers import (
    read_containers,
    read_inspected,
    read_networks,
    read_stored,
    read_waiting,
)
from facts.engines.docker.listening import (
    read_fronts,
    read_handed,
    read_installed,
    read_listeners,
    read_others,
    read_sockets,
)
from facts.engines.docker.options import config_key as config_key
from facts.engines.docker.options import known_keys, read_release
from facts.engines.docker.options import misfit as misfit
from facts.engines.docker.options import read_flags as read_flags
from facts.engines.docker.shapes import DAEMON_JSON as DAEMON_JSON
from facts.engines.docker.shapes import OVERRIDE as OVERRIDE
from facts.engines.docker.shapes import SOCKET_OVERRIDE as SOCKET_OVERRIDE
from facts.engines.docker.shapes import Container as Container
from facts.engines.docker.shapes import DaemonJson as DaemonJson
from facts.engines.docker.shapes import DockerReading as DockerReading
from facts.engines.docker.shapes import FileMode as FileMode
from facts.engines.docker.shapes import GroupUser as GroupUser
from facts.engines.docker.shapes import Malformed as Malformed
from facts.engines.docker.shapes import Network as Network
from facts.engines.docker.shapes import Starter as Starter
from facts.engines.docker.shapes import Stored as Stored
from facts.engines.docker.shapes import Unit as Unit
from facts.engines.docker.unread import read_unread
from facts.engines.docker.users import DOCKER_GROUP, group_users, socket_groups, sudo_lines
from facts.modes import read_listed

CAP_SYS_RESOURCE = 24  # capabilities(7)


class Docker(SectionFact[DockerReading]):
    """The Docker daemon, its configuration, networks and containers.

    The client is called only where dockerd runs: a connection to systemd's socket would start it. Environment
    variables of containers and the content of keys never leave the host.
    """

    key: ClassVar[str] = "docker"
    timeout: ClassVar[int] = 45
    script: ClassVar[str] = modes.SCRIPT + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> DockerReading:
        info = _info(section)
        running = _running(section, info)
        package = _package(section)
        version = str(info.get("ServerVersion", "")) or None if isinstance(info, dict) else None
        release = read_release(version or package["package_version"])
        flags, unit, files, file = _flags(section), _unit(section), _files(section), _daemon_json(section)
        others, sockets = read_others(section, _pid(section)), read_sockets(section, running, files)
        given = file.keys.get("group") if isinstance(file.keys, dict) else None
        groups = (
            DOCKER_GROUP,
            flags.get("group"),
            given,
            unit.socket_group,
            *socket_groups(files, sockets if isinstance(sockets, tuple) else ()),
        )
        rows = read_inspected(section) if running is True else _silent(running)
        return DockerReading(
            installed=read_installed(section, others),
            **package,
            running=running,
            version=version,
            daemon_json=file,
            keys_known=known_keys(release),
            can_validate=release is not None and release >= (23, 0),
            flags=flags,
            info=info,
            networks=read_networks(rows),
            containers=read_containers(rows),
            waiting=read_waiting(rows),
            stored=read_stored(section, rows),
            files=files,
            group_users=group_users(section, {str(name) for name in groups if name}),
            listeners=read_listeners(section, running),
            handed=read_handed(section),
            starter=_starter(section),
            proxies=_proxies(section),
            log=_log(section),
            unit=unit,
            stale=_stale(section, flags),
            sockets=sockets,
            sudo=sudo_lines(section),
            fronts=read_fronts(section),
            others=others,
        )


def _silent(running: bool | Unknown) -> Unknown:
    return running if isinstance(running, Unknown) else Unknown("the Docker daemon does not run")


def _info(section: Section) -> dict[str, Any] | Unknown:
    block = section.blocks.get("info")
    if block is None:
        return Unknown("the Docker daemon does not run")
    if block.status == 127:
        return Unknown("docker info: the docker client is not installed")
    if block.status in (124, 137):
        return Unknown("docker info: the daemon gave no answer in 15 seconds")
    start = block.text.find("{")  # warnings of the client may stand before it
    try:
        info = load(block.text[start:]) if start >= 0 else None
    except ValueError:
        info = None
    if not isinstance(info, dict):
        return Unknown(f"docker info: {block.complaint}")
    if errors := info.get("ServerErrors"):
        return Unknown(f"docker info: {str(errors[0] if isinstance(errors, list) else errors)[:200]}")
    info.pop("ClientInfo", None)
    return info


def _running(section: Section, info: dict[str, Any] | Unknown) -> bool | Unknown:
    if isinstance(info, dict):
        return True
    if "info" in section.blocks:
        return False if "Is the docker daemon running" in info.unknown else info
    known_to_be_there = "processes" in section.blocks or "units" in section.blocks
    return False if known_to_be_there or "dockerd" not in section.blocks else Unknown("the processes were not listed")


def _package(section: Section) -> dict[str, str | None]:
    """From lines such as `ii  docker.io 20.10.24+dfsg1-1`: only installed ones count."""
    block = section.blocks.get("package")
    for line in block.text.splitlines() if block else ():
        words = line.split()
        if len(words) == 3 and words[0] == "ii":
            return {"package": words[1], "package_version": words[2]}
    return {"package": None, "package_version": None}


def _named(section: Section) -> str:
    """The path of the settings' file as dockerd has it."""
    path = section.text("config")
    return DAEMON_JSON if isinstance(path, Unknown) or not path.startswith("/") else path.strip()


def _target(section: Section, named: str) -> str:
    path = section.text("target")
    return named if isinstance(path, Unknown) or not path.strip() else path.strip()


def _daemon_json(section: Section) -> DaemonJson:
    named = _named(section)
    text = _file_or_directory(section, named)
    if text is None and "config" in section.blocks:
        text = Malformed(f"{named}, which dockerd's command line names (--config-file), does not exist")
    return replace(read_daemon_json(_target(section, named), text), named=named)


def _file_or_directory(section: Section, path: str) -> str | Unknown | None:
    text = section.file(path)
    if isinstance(text, Unknown) and "Is a directory" in text.unknown:
        return Malformed(f"{path} is a directory")
    return text


def read_daemon_json(path: str, text: str | Unknown | None) -> DaemonJson:
    """daemon.json as dockerd takes it: an absent or an empty file has no keys."""
    if isinstance(text, Unknown):
        return DaemonJson(path, Unknown(text.unknown), text)
    if text is None or not text.strip():
        return DaemonJson(path, text, {})
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = found  # the outermost object comes last
        return dict(found)

    try:
        keys = load(text, keep)
    except JSONDecodeError as error:
        reason = f"{path} is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        return DaemonJson(path, text, Malformed(reason))
    except ValueError as error:
        return DaemonJson(path, text, Malformed(f"{path} is not JSON: {error}"))
    if not isinstance(keys, dict):
        return DaemonJson(path, text, Malformed(f"{path} is JSON but not an object"))
    counts = Counter(name for name, _ in pairs)
    return DaemonJson(path, text, keys, tuple(name for name in keys if counts[name] > 1))


def _pid(section: Section) -> int | None:
    """The process of the daemon that is judged."""
    names = (re.fullmatch("/proc/([0-9]{1,10})/cmdline", name) for name in section.blocks)
    return next((int(name[1]) for name in names if name), None)


def _flags(section: Section) -> dict[str, str]:
    for name, block in section.blocks.items():
        if name.startswith("/proc/") and name.endswith("/cmdline") and block.status == 0:
            return read_flags(block.text.rstrip("\0").split("\0")[1:])
    unit = _unit(section)
    return read_flags(unit.exec_start.split()[1:] + unit.options.split())


_STAT = re.compile(
    r"(?P<mode>[0-7]{1,4}) (?P<owner>\S++) (?P<group>\S++) (?P<time>[0-9]{1,18}) (?P<kind>\w++)[^|]*+\|(?P<path>/.*)"
)
_KINDS = {"regular": "file", "directory": "directory", "socket": "socket", "symbolic": "link"}


def _files(section: Section) -> tuple[FileMode, ...]:
    """From lines such as `660 root docker 1790000000 socket|/run/docker.sock`."""
    block = section.blocks.get("files")
    listed = read_listed(section.blocks.get("listed", Block(0, "")), section.blocks.get("acls"))
    found = {}
    for line in block.text.splitlines() if block else ():
        if match := _STAT.fullmatch(line):
            path, kind = match["path"], _KINDS.get(match["kind"], match["kind"])
            acl = listed[path].acl if path in listed else ()
            found[path] = FileMode(path, match["mode"].zfill(4), match["owner"], match["group"], kind, acl)
    return tuple(found[path] for path in sorted(found))


def _starter(section: Section) -> Starter | Unknown | None:
    block = section.blocks.get("starter")
    if block is None:
        return None
    values = dict(re.findall(r"^(Name|CapEff):\s*(\S+)$", block.text, re.M))
    rows = re.findall(r"^(Max [a-z ]+?) {2,}\S+ +(\d+|unlimited)\b", block.text, re.M)
    if len(values) < 2 or not rows:
        return Unknown(f"the limits of what starts containers are not known: {block.complaint}")
    nr_open = re.search(r"^(\d+)$", block.text, re.M)
    # Capabilities of another user namespace than the host's do not count.
    own_ids = re.search(r"^ +0 +0 +4294967295$", block.text, re.M)
    return Starter(
        program=values["Name"],
        hard={name: -1 if hard == "unlimited" else int(hard) for name, hard in rows},
        sys_resource=bool(own_ids and int(values["CapEff"], 16) >> CAP_SYS_RESOURCE & 1),
        nr_open=int(nr_open[1]) if nr_open else None,
    )


def _proxies(section: Section) -> int | Unknown:
    block = section.blocks.get("processes")
    if block is None:
        return Unknown("the processes were not listed, so docker-proxy processes were not counted")
    return sum(line.endswith(" docker-proxy") for line in block.text.splitlines())


def _log(section: Section) -> tuple[str, ...]:
    block = section.blocks.get("log")
    return tuple(line for line in block.text.splitlines() if line) if block and block.status == 0 else ()


def _paragraph(section: Section, unit: str) -> str:
    """What systemctl(1) shows of one of the units; "" where it shows nothing."""
    block = section.blocks.get("units")
    return next((part for part in (block.text if block else "").split("\n\n") if f"Id={unit}\n" in f"{part}\n"), "")


def _properties(paragraph: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in paragraph.splitlines() if "=" in line)


def _unit(section: Section) -> Unit:
    service, socket = (_properties(_paragraph(section, name)) for name in ("docker.service", "docker.socket"))
    command = service.get("ExecStart", "").partition("argv[]=")[2].partition(" ;")
    drop_ins = tuple(service.get("DropInPaths", "").split())
    sources = [path for path, value in _grepped(section, "exec") if value.strip()]
    named = [path for path in (service.get("FragmentPath", ""), *drop_ins) if _usr(path) in sources]
    options = _grepped(section, "options")
    override, socket_override = section.file(OVERRIDE), section.file(SOCKET_OVERRIDE)
    listens = re.findall(r"^Listen=([^/@\s]\S*) \(Stream\)$", _paragraph(section, "docker.socket"), re.M)
    return Unit(
        exec_start=command[0] if command[1] else "",
        exec_source=named[-1] if named else "",
        drop_ins=drop_ins,
        options_source=options[0][0] if options else "",
        options=" ".join(value.strip().strip("\"'") for _, value in options),
        override=override if isinstance(override, str) else None,
        socket_mode=socket.get("SocketMode", ""),
        socket_group=socket.get("SocketGroup", ""),
        socket_override=socket_override if isinstance(socket_override, str) else None,
        socket_listens=tuple(listens),
        unread=read_unread(section, [row["Id"] for row in (service, socket) if row.get("NeedDaemonReload") == "yes"]),
    )


def _stale(section: Section, flags: dict[str, str]) -> bool | Unknown:
    """By the time of the file's last change, whatever kind it was: the time of its text can be an old one, as after a
    copy that preserves it. An undo puts the file of before in place once Docker runs with it, and notes when."""
    named = _named(section)
    files, link = section.blocks.get("files"), section.blocks.get("link", Block(0, ""))
    started = re.search(r"^ExecMainStartTimestamp=@([0-9]{1,18})$", _paragraph(section, "docker.service"), re.M)
    lines = files.text.splitlines() if files else ()
    rows = (row for line in lines if line.endswith(f"|{named}") and (row := _STAT.fullmatch(line)))
    changed = [int(row["time"]) for row in rows]
    changed += [int(text) for text in link.text.split() if re.fullmatch("[0-9]{1,18}", text)]
    if flags.get("config-file", DAEMON_JSON) != named:
        return True
    if started is None:
        return Unknown("systemd does not say when the Docker daemon started")
    settled = section.blocks.get("settled", Block(0, "")).text.strip()
    return any(time > int(started[1]) and str(time) != settled for time in changed)


def _usr(path: str) -> str:
    return f"/usr{path}" if path.startswith("/lib/") else path


def _grepped(section: Section, name: str) -> list[tuple[str, str]]:
    """(file, value) of `grep -H` lines such as `/etc/default/docker:DOCKER_OPTS="--icc=false"`."""
    block = section.blocks.get(name)
    rows = (line.partition(":") for line in (block.text if block else "").splitlines())
    return [(path, rest.partition("=")[2]) for path, _, rest in rows if path.startswith("/") and "=" in rest]
