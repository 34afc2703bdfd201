"""Sysctls: the live values of /proc/sys, and what sysctl.d(5) sets at the next boot, and from which file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from facts.core.reading import Block, Jsonable, Section, Unknown

# systemd's order: of two files of one name, the one in the first of these directories is read and the other hidden.
DIRECTORIES = (
    "/etc/sysctl.d/",
    "/run/sysctl.d/",
    "/usr/local/lib/sysctl.d/",
    "/usr/lib/sysctl.d/",
    "/lib/sysctl.d/",
)
LAST = "/etc/sysctl.conf"  # read after all others by `sysctl --system`, where there is no systemd

# Keys, secrets, and values that change by themselves or are slow to read.
LEFT_OUT = ("*_key", "stable_secret", "stat_refresh", "ns_last_pid", "dentry-state", "file-nr", "inode-nr",
            "inode-state", "aio-nr")  # fmt: skip

# Of fs not what begins with b: a look at fs/binfmt_misc has systemd mount it and load its module.
_LIVE_DIRECTORIES = (
    "kernel", "kernel/yama", "kernel/seccomp", "vm", "fs", "dev/tty", "user", "net/core", "net/ipv4",
    "net/ipv4/conf/all", "net/ipv4/conf/default", "net/ipv6/conf/all", "net/ipv6/conf/default", "net/bridge",
)  # fmt: skip

# What interfaces have of their own, beside `all` and `default`, which the directories above have.
_BOTH = ("forwarding", "accept_redirects", "accept_source_route")
_INTERFACES = {"ipv4": (*_BOTH, "secure_redirects", "send_redirects", "rp_filter"), "ipv6": _BOTH}
NUMBER = r"-?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})"
GLOB = re.compile(r"[*?[]")
_LIVE = [f"/proc/sys/{folder}/{'[!b]*' if folder == 'fs' else '*'}" for folder in _LIVE_DIRECTORIES]
# By another spelling of the path, so that it shows which lines of one grep are these.
_LIVE += [f"/proc/sys/./net/{ip}/conf/*/{name}" for ip, names in _INTERFACES.items() for name in names]

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
        return self._unread or effective(self._settings, key, self._globs)

    def interfaces(self, ip: str, name: str) -> tuple[str, ...]:
        """The network interfaces that have a value of their own for this, without the loopback."""
        return self.remember(("interfaces", ip, name), lambda: self._interfaces(f"net.{ip}.conf.", f".{name}"))

    def _interfaces(self, start: str, end: str) -> tuple[str, ...]:
        found = (key[len(start) : -len(end)] for key in self.live if key.startswith(start) and key.endswith(end))
        return tuple(sorted(name for name in found if "." not in name and name not in ("all", "default", "lo")))

    def text(self, path: str) -> str | Unknown | None:
        """The text of one of the files; None where it is not there."""
        return next((file.text for file in self.files if file.path == path), None)

    def without(self, *paths: str) -> Sysctls:
        """The same host without these files."""
        return Sysctls(self.live, self.unreadable, tuple(file for file in self.files if file.path not in paths))

    @cached_property
    def _settings(self) -> dict[str, Setting]:
        return settings(self.files)

    @property
    def explicit(self) -> frozenset[str]:
        """The keys that a file names in full."""
        return frozenset(key for key, setting in self._settings.items() if setting.value is not None)

    @cached_property
    def _globs(self) -> list[Glob]:
        return globs(self._settings)

    @cached_property
    def _unread(self) -> Unknown | None:
        found = ((file.path, file.text) for file in self.files)
        return next((Unknown(f"{path}: {text.unknown}") for path, text in found if isinstance(text, Unknown)), None)


Glob = tuple[list[str], Setting]  # the parts of a pattern


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
            yield dotted(name.removeprefix("-")), taken(squeeze(value))
        elif name.startswith("-"):
            yield dotted(name[1:]), None


def squeeze(value: str) -> str:
    """A value as written to or read from /proc/sys, blanks made single."""
    return " ".join(value.split())


def taken(value: str) -> str:
    """The part of a value that the kernel uses. systemd-sysctl and sysctl(8) write everything after the `=`, and of
    `1  # strict` the kernel uses the 1: it stops at the first word that is not a number (seen on Linux 6.12)."""
    numbers = re.match(rf"(?:{NUMBER}(?: |$))+", value)
    return numbers[0].strip() if numbers else value


def as_number(value: str | None) -> int | None:
    """The value of a sysctl that is one number; None where the kernel would reject it."""
    found = re.match(rf"{NUMBER}(?= |$)", value or "")
    if not found:
        return None
    octal = re.fullmatch(r"-?0[0-7]+", found[0])
    return int(found[0], 8 if octal else 16 if "x" in found[0].lower() else 10)


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


def globs(kept: Mapping[str, Setting]) -> list[Glob]:
    """Those whose names are patterns, the last first."""
    found = [(name.split("."), setting) for name, setting in kept.items() if GLOB.search(name)]
    return [row for row in reversed(found) if row[1].value is not None]


def effective(kept: Mapping[str, Setting], key: str, patterns: Iterable[Glob]) -> Setting | None:
    """An explicit assignment wins over every glob, in any order; of globs, the last one wins."""
    explicit = kept.get(key)
    if explicit is not None:
        return explicit if explicit.value is not None else None
    path = key.split(".")
    return next((setting for parts, setting in patterns if _matches(parts, path)), None)


def covers(one: str, other: str) -> bool:
    """Whether two patterns may be for the same keys: part by part, one of both matches the other."""
    parts = list(zip(one.split("."), other.split("."), strict=False))
    same = one.count(".") == other.count(".")
    return same and all(fnmatchcase(a, b) or fnmatchcase(b, a) for a, b in parts)


def _matches(parts: list[str], path: list[str]) -> bool:
    """Like glob(3), `*` does not cross a separator."""
    if len(parts) != len(path):
        return False
    pairs = [(part, want) for part, want in zip(path, parts, strict=True) if part != want]
    return all(GLOB.search(want) for _, want in pairs) and all(fnmatchcase(part, want) for part, want in pairs)


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
    live: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    for line in block.text.splitlines():
        if found := re.fullmatch(r"/proc/sys/\./(net/ipv[46]/conf/(?!all/|default/)[^:]+):(.*)", line):
            live[dotted(found[1])] = [found[2]]
        elif line.startswith(("/proc/sys/./", "grep: /proc/sys/./")):
            continue
        elif found := re.fullmatch(r"/proc/sys/([^:]+):(.*)", line):
            live.setdefault(dotted(found[1]), []).append(squeeze(found[2]))
        elif found := re.fullmatch(r"grep: /proc/sys/([^:]+): (?!Is a directory|No such file)(.*)", line):
            unreadable[dotted(found[1])] = found[2]
    if not live:
        unreadable.setdefault("", block.complaint)
    return {key: " ".join(values) for key, values in live.items()}, unreadable
