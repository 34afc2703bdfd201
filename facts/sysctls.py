"""Sysctls: the live values of /proc/sys, and what sysctl.d(5) will set at the next boot, and from which file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from facts.reading import Block, Jsonable, Section, Unknown

# systemd's order: of two files of one name, the one in the first of these directories is read and the other hidden.
DIRECTORIES = (
    "/etc/sysctl.d/",
    "/run/sysctl.d/",
    "/usr/local/lib/sysctl.d/",
    "/usr/lib/sysctl.d/",
    "/lib/sysctl.d/",
)
LAST = "/etc/sysctl.conf"  # read after all others by `sysctl --system`, where there is no systemd

# Neither keys and secrets nor what changes by itself and costs to read.
LEFT_OUT = ("*_key", "stable_secret", "stat_refresh", "ns_last_pid", "dentry-state", "file-nr", "inode-nr",
            "inode-state", "aio-nr")  # fmt: skip

# Of fs not what begins with b: a look at fs/binfmt_misc has systemd mount it and load its module.
_LIVE_DIRECTORIES = (
    "kernel", "kernel/yama", "kernel/seccomp", "vm", "fs", "dev/tty", "user", "net/core", "net/ipv4",
    "net/ipv4/conf/all", "net/ipv4/conf/default", "net/ipv6/conf/all", "net/ipv6/conf/default", "net/bridge",
)  # fmt: skip

_LIVE = [f"/proc/sys/{folder}/{'[!b]*' if folder == 'fs' else '*'}" for folder in _LIVE_DIRECTORIES]

SCRIPT = f"""
run sysctl grep -H {" ".join(f"--exclude='{name}'" for name in LEFT_OUT)} '' \
 {" ".join(_LIVE)} /proc/sys/kernel/random/boot_id
for d in /etc /run /usr/local/lib /usr/lib /lib; do
  [ $d = /lib ] && [ /lib -ef /usr/lib ] && continue
  for f in $d/sysctl.d/*.conf; do [ -e "$f" ] && show "$f"; done
done
if [ -d /run/systemd/system ]; then run systemd true; elif [ -e {LAST} ]; then show {LAST}; fi
"""


@dataclass(frozen=True)
class SysctlFile(Jsonable):
    path: str
    text: str | Unknown


@dataclass(frozen=True)
class Setting(Jsonable):
    """What a file sets: `value` None where it excludes the key from globs (`-key`)."""

    value: str | None
    file: str


@dataclass(frozen=True)
class Sysctls(Jsonable):
    """`live` by key (`kernel.dmesg_restrict`); `unreadable`: the keys that exist and could not be read, and why.
    `files` in the order in which a boot applies them; those hidden by a file of the same name are not among them."""

    live: Mapping[str, str]
    unreadable: Mapping[str, str]
    files: tuple[SysctlFile, ...]

    def value(self, key: str) -> str | Unknown | None:
        """The live value; None where this kernel has no such key."""
        if not self.live:
            return Unknown("/proc/sys was not read: " + next(iter(self.unreadable.values()), "no answer"))
        if key in self.unreadable:
            return Unknown(f"{key}: {self.unreadable[key]}")
        return self.live.get(key)

    def stored(self, key: str) -> Setting | Unknown | None:
        """What a boot will set `key` to, and the file that does it; None where no file sets it."""
        unread = [f"{file.path}: {file.text.unknown}" for file in self.files if isinstance(file.text, Unknown)]
        return Unknown(unread[0]) if unread else effective(self._settings, key)

    def text(self, path: str) -> str | Unknown | None:
        """The text of one of the files; None where it is not there."""
        return next((file.text for file in self.files if file.path == path), None)

    def without(self, *paths: str) -> Sysctls:
        """The same host without these files."""
        return Sysctls(self.live, self.unreadable, tuple(file for file in self.files if file.path not in paths))

    @cached_property
    def _settings(self) -> dict[str, Setting]:
        return settings(self.files)


def dotted(name: str) -> str:
    """A sysctl's name with dots between its parts, whichever way it was written (`net/ipv4/conf/eth0.5/rp_filter`
    is `net.ipv4.conf.eth0/5.rp_filter`): sysctl.d(5), the first separator decides."""
    name = name.strip("/")
    first = re.search(r"[./]", name)
    return name.translate(str.maketrans("./", "/.")) if first and first[0] == "/" else name


def assignments(text: str) -> Iterable[tuple[str, str | None]]:
    """The keys of one file and their values, in order; None for a key that is only excluded from globs (`-key`)."""
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if equals:
            yield dotted(name.removeprefix("-")), squeeze(value)
        elif name.startswith("-"):
            yield dotted(name[1:]), None


def squeeze(value: str) -> str:
    """A value as written to or read from /proc/sys, blanks made single."""
    return " ".join(value.split())


def settings(files: Iterable[SysctlFile]) -> dict[str, Setting]:
    """All assignments, a later one in place of (and after) an earlier one, as systemd-sysctl keeps them."""
    kept: dict[str, Setting] = {}
    for file in files:
        if isinstance(file.text, Unknown):
            continue
        for key, value in assignments(file.text):
            if key in kept and kept[key].value == value:
                kept[key] = Setting(value, file.path)
                continue
            kept.pop(key, None)
            kept[key] = Setting(value, file.path)
    return kept


def effective(kept: Mapping[str, Setting], key: str) -> Setting | None:
    """An explicit assignment wins over every glob, wherever it stands; of globs, the last one wins."""
    explicit = kept.get(key)
    if explicit is not None:
        return explicit if explicit.value is not None else None
    path = key.split(".")
    found = [setting for name, setting in kept.items() if _glob(name, path) and setting.value is not None]
    return found[-1] if found else None


def _glob(pattern: str, path: list[str]) -> bool:
    """Whether a glob in a sysctl's name matches; like glob(3), `*` does not cross a separator."""
    if not re.search(r"[*?[]", pattern):
        return False
    parts = pattern.split(".")
    return len(parts) == len(path) and all(fnmatchcase(part, want) for part, want in zip(path, parts, strict=True))


def parse(section: Section) -> Sysctls:
    block = section.blocks.get("sysctl", Block(127, "no answer"))
    live, unreadable = _live(block)
    return Sysctls(live, unreadable, applied(section))


def applied(section: Section) -> tuple[SysctlFile, ...]:
    """The files that a boot reads, by name; `/etc/sysctl.conf` last where the section has it."""
    chosen: dict[str, SysctlFile] = {}
    for directory in DIRECTORIES:
        for name in section.matching(directory):
            text = section.text(directory + name)
            chosen.setdefault(name, SysctlFile(directory + name, text))
    ordered = [chosen[name] for name in sorted(chosen)]
    return (*ordered, SysctlFile(LAST, section.text(LAST))) if LAST in section.blocks else tuple(ordered)


def _live(block: Block) -> tuple[dict[str, str], dict[str, str]]:
    """`grep -H ''` over /proc/sys: "PATH:VALUE" per line, and "grep: PATH: WHY" for what cannot be read."""
    live: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    for line in block.text.splitlines():
        if found := re.fullmatch(r"/proc/sys/([^:]+):(.*)", line):
            key, value = dotted(found[1]), squeeze(found[2])
            live[key] = f"{live[key]} {value}" if key in live else value
        elif found := re.fullmatch(r"grep: /proc/sys/([^:]+): (?!Is a directory|No such file)(.*)", line):
            unreadable[dotted(found[1])] = found[2]
    if not live:
        unreadable.setdefault("", block.complaint)
    return live, unreadable
