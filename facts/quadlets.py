"""Containers that systemd starts by files of Podman's: Quadlet (podman-systemd.unit(5))."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from facts.core.reading import Block
from facts.waiting import Waiting, capabilities_of, real, security_of

# A file counts before one of the same name in a later folder.
FOLDERS = ("/run/containers/systemd/", "/etc/containers/systemd/", "/usr/share/containers/systemd/")
USERS = "/etc/containers/systemd/users/"
KINDS = {"container": "Container", "pod": "Pod", "kube": "Kube"}  # what a file's name ends with -> its section
# Keys that stand for an option each, and what is put before their value.
OPTIONS = {
    "AddCapability": ("cap-add", ""), "AddDevice": ("device", ""), "AppArmor": ("security-opt", "apparmor="),
    "IPC": ("ipc", ""), "Mount": ("mount", ""), "Network": ("network", ""), "PID": ("pid", ""),
    "SeccompProfile": ("security-opt", "seccomp="), "SecurityLabelType": ("security-opt", "label=type:"),
    "UTS": ("uts", ""), "Unmask": ("security-opt", "unmask="), "UserNS": ("userns", ""), "Volume": ("volume", ""),
}  # fmt: skip
ONCE = ("AppArmor", "SeccompProfile", "SecurityLabelDisable", "SecurityLabelType", "UserNS")  # the last one counts
SHARED = ("network", "pid", "ipc", "uts", "cgroupns")
# Options of podman(1) with a value, which may be a word of its own.
VALUED = {"-v": "volume", "--net": "network"} | {
    f"--{name}": name for name in ("cap-add", "device", "mount", "security-opt", "userns", "volume", *SHARED)
}
YES = ("1", "yes", "y", "true", "t", "on")

_Keys = list[tuple[str, str]]
_Options = list[tuple[str, str]]


@dataclass(frozen=True)
class _File:
    path: str
    sections: dict[str, _Keys]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def user(self) -> int | None:
        """Whose container it starts: see Waiting."""
        if not self.path.startswith(USERS):
            return 0
        first = re.match("([0-9]{1,10})/", self.path.removeprefix(USERS))
        return int(first[1]) if first else None


def read_quadlets(block: Block) -> tuple[Waiting, ...]:
    """Those of root's files, for users too, as they would be started: with their drop-ins (NAME.container.d)."""
    files = sorted(map(_read, _lines(block.text).items()), key=_rank)
    adding: dict[tuple[int | None, str], list[_File]] = {}
    for each in sorted(files, key=lambda file: file.name):
        if each.name.endswith(".conf"):
            adding.setdefault((each.user, each.path.split("/")[-2]), []).append(each)
    units: dict[tuple[int | None, str], _File] = {}
    for each in files:
        if not each.name.endswith(".conf"):
            units.setdefault((each.user, each.name), each)
    found = (_waiting(unit, [more for at in _drop_ins(unit) for more in adding.get(at, ())]) for unit in units.values())
    return tuple(sorted(found, key=lambda waiting: waiting.status))


def _rank(file: _File) -> tuple[int, str]:
    order = [number for number, folder in enumerate(FOLDERS) if file.path.startswith(folder)]
    return (*order, len(FOLDERS))[0], file.path


def _lines(text: str) -> dict[str, list[str]]:
    """By file: its lines; one that ends with a backslash goes on in the next."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if row := re.match(r"(/[^:]{1,4096}\.(?:container|pod|kube|conf)):", line):
            found.setdefault(row[1], []).append(line[row.end() :])
    return {path: "\n".join(lines).replace("\\\n", " ").split("\n") for path, lines in found.items()}


def _read(file: tuple[str, list[str]]) -> _File:
    path, lines = file
    sections: dict[str, _Keys] = {}
    section = ""
    for line in lines:
        key, equals, value = line.partition("=")
        if line.strip().startswith("["):
            section = line.strip().strip("[]")
        elif equals:
            sections.setdefault(section, []).append((key.strip(), value.strip()))
    return _File(path, sections)


def _drop_ins(unit: _File) -> Iterator[tuple[int | None, str]]:
    """The folders of its drop-ins: for a-b.container `container.d`, `a-.container.d` and `a-b.container.d`."""
    name, _, kind = unit.name.rpartition(".")
    parts = name.split("-")
    yield unit.user, f"{kind}.d"
    for count in range(1, len(parts)):
        yield unit.user, f"{'-'.join(parts[:count])}-.{kind}.d"
    yield unit.user, f"{unit.name}.d"


def _waiting(unit: _File, drop_ins: list[_File]) -> Waiting:
    name, _, kind = unit.name.rpartition(".")
    keys = [key for each in (unit, *drop_ins) for key in each.sections.get(KINDS[kind], ())]
    options = list(_options(keys))
    return Waiting(
        id="",
        name=_last(keys, "PodName" if kind == "pod" else "ContainerName") or f"systemd-{name}",
        status=f"started by {unit.path}",
        privileged=_last(options, "privileged").lower() in YES,
        shares=tuple(sorted(shared for shared in SHARED if "host" in _all(options, shared))),
        devices=tuple(value.partition(":")[0].removeprefix("-") for value in _all(options, "device")),
        mounts=tuple(_mounts(options, unit.path.rpartition("/")[0])),
        image=_last(keys, "Image"),
        capabilities=capabilities_of(_all(options, "cap-add")),
        user_namespace=_last(options, "userns"),
        security=security_of(_all(options, "security-opt")),
        user=unit.user,
    )


def _last(rows: _Keys, name: str) -> str:
    return next((value for key, value in reversed(rows) if key == name), "")


def _all(rows: _Keys, name: str) -> list[str]:
    return [value for key, value in rows if key == name]


def _options(keys: _Keys) -> Iterator[tuple[str, str]]:
    """What podman would be given: by the keys, and then by PodmanArgs."""
    kept: dict[str, list[str]] = {}
    for name, value in keys:  # without a value it takes away those before
        kept[name] = [] if not value else [value] if name in ONCE else [*kept.get(name, ()), value]
    for name, (option, before) in OPTIONS.items():
        yield from ((option, f"{before}{_plain(value)}") for value in kept.get(name, ()))
    if any(value.lower() in YES for value in kept.get("SecurityLabelDisable", ())):
        yield "security-opt", "label=disable"
    for value in kept.get("PodmanArgs", ()):
        yield from _given(_words(value))


def _plain(value: str) -> str:
    return value[1:-1] if re.fullmatch("(['\"]).*\\1", value) else value


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quotation costs no other container its reading
        return text.split()


def _given(words: list[str]) -> Iterator[tuple[str, str]]:
    """`--pid host` is --pid=host, and `-v/a:/b` is --volume=/a:/b."""
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name in VALUED:
            yield VALUED[name], value if equals else next(left, "")
        elif name == "--privileged":
            yield "privileged", value if equals else "true"
        elif re.match("-v.", word):
            yield "volume", word[2:]


def _mounts(options: _Options, folder: str) -> Iterator[tuple[str, bool]]:
    """Paths of the host; a volume's name is none, and one that begins with a dot lies beside the file."""
    for name, value in options:
        if name == "volume":
            source, _, rest = value.partition(":")
            writable = not {"ro", "O"} & set(rest.rpartition(":")[2].split(","))
        elif name == "mount":
            said = dict(part.partition("=")[::2] for part in value.split(","))
            source = said.get("source") or said.get("src") or "" if said.get("type") == "bind" else ""
            writable = not any(said.get(key, "false") in ("", *YES) for key in ("ro", "readonly"))
        else:
            continue
        if source.startswith(("/", "./", "../")):
            yield real(posixpath.normpath(posixpath.join(folder, source))), writable
