"""What has started a container, of engines that keep no files of those that run or not where they are looked for: the
process whose child it is.

Its command line says which engine that is, and what it calls the container. See words.sh for whose counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facts.core.reading import Block, Section

WORDS = Path(__file__).with_name("words.sh").read_text(encoding="utf-8")
SCRIPT = WORDS + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
# "[lxc monitor] PATH NAME", where there is no telling which blank is between the two: PATH is taken to have none.
LXC_TITLE = re.compile(r"\[lxc monitor\] (?P<path>[^ ]+) (?P<name>.+)", re.DOTALL)
LXC_PATHS = {  # where those keep their containers that are made of LXC
    "/var/lib/incus/containers": "incus",
    "/var/lib/lxd/containers": "lxd",
    "/var/snap/lxd/common/lxd/containers": "lxd",
}
LXC_GROUP = re.compile(r"/lxc\.payload\.(?P<name>[^/]+)")
NSPAWN_GROUP = re.compile(r"/machine\.slice/(?:machine-)?(?P<name>[^/]+)\.scope(?:/|$)")
LONGEST = 300  # of a word: what a user calls a process may be a hundred thousand characters
MOST = 100  # words of one command line; see the script
ESCAPE = re.compile(r"\\x([0-9a-f]{2})")  # in the names of units


@dataclass(frozen=True)
class Monitor:
    """An engine's process that has started a container."""

    engine: str
    user: int
    name: str  # the container's; "" where the command line does not say
    id: str = ""  # the container's, of engines that give ids

    def names(self, cgroup: str) -> str:
        """What the engine calls the container whose first process is in this control group; "" where nothing says."""
        if self.name:
            return self.name
        if found := (LXC_GROUP if self.engine == "lxc" else NSPAWN_GROUP).search(cgroup):
            return ESCAPE.sub(lambda code: chr(int(code[1], 16)), found["name"])
        return ""


def read_words(section: Section, block: str = "monitors.words") -> dict[int, list[str]]:
    """By process: its command line, as far as it is read."""
    words: dict[int, list[str]] = {}
    for record in _text(section, block).split("\0"):
        if row := re.fullmatch(r"/proc/([0-9]{1,10})/cmdline:(.*)", record, re.DOTALL):
            words.setdefault(int(row[1]), []).append(row[2][:LONGEST])
    return words


def read_monitors(section: Section) -> dict[int, Monitor]:
    """By process: those of which the command line is an engine's."""
    words = read_words(section)
    return {pid: found for user, pid in read_owners(section) if (found := _monitor(words.get(pid, [""]), user))}


def read_owners(section: Section, block: str = "monitors") -> Iterator[tuple[int, int]]:
    """The user and the process of each row."""
    rows = map(re.compile(r"([0-9]{1,10}):([0-9]{1,10})").fullmatch, _text(section, block).split("\n"))
    yield from ((int(row[1]), int(row[2])) for row in rows if row)


def read_nspawn_names(section: Section) -> dict[int, str]:
    """By first process: what systemd-machined calls the containers of systemd-nspawn."""
    leaders: dict[str, int] = {}
    of_nspawn: set[str] = set()
    for line in _text(section, "machines").split("\n"):
        if row := re.fullmatch(r"/run/systemd/machines/([^/:]+):(LEADER|SERVICE)=(.*)", line):
            if row[2] == "SERVICE" and row[3] == "systemd-nspawn":
                of_nspawn.add(row[1])
            elif row[2] == "LEADER" and re.fullmatch("[0-9]{1,10}", row[3]):
                leaders[row[1]] = int(row[3])
    return {pid: name for name, pid in leaders.items() if name in of_nspawn}


def _text(section: Section, block: str) -> str:
    return section.blocks.get(block, Block(0, "")).text


def _monitor(words: list[str], user: int) -> Monitor | None:
    if title := LXC_TITLE.match(words[0]):
        return Monitor("lxc" if user else LXC_PATHS.get(title["path"], "lxc"), user, title["name"])
    match PurePosixPath(words[0]).name:
        case "lxc-start" | "lxc-execute":
            return Monitor("lxc", user, option(words, "-n", "--name"))
        case "systemd-nspawn":
            folder = PurePosixPath(option(words, "-D", "--directory")).name
            return Monitor("nspawn", user, option(words, "-M", "--machine") or folder)
        case "libvirt_lxc":
            return Monitor("libvirt", user, option(words, "-n", "--name"))
        case "conmon":
            identity = _id(option(words, "-c", "--cid"))
            return Monitor("podman", user, option(words, "-n", "--name") or identity[:12], identity)
        case "containerd-shim-runc-v2" if user:  # of root's without a file Docker itself says what they are called
            identity = _id(option(words, "-id", "--id"))
            engine = "docker" if option(words, "-namespace", "--namespace") == "moby" else "containerd"
            return Monitor(engine, user, identity[:12], identity)
    return None


def _id(word: str) -> str:
    return word if re.fullmatch("[0-9a-f]{64}", word) else ""


def option(words: list[str], short: str, long: str) -> str:
    """The value of an option, in any of the forms that getopt_long(3) takes but for several letters in one word."""
    for number, word in enumerate(words[1:], 2):
        if word == "--":
            break
        if word in (short, long):
            return words[number] if number < len(words) else ""
        if word.startswith(f"{long}="):
            return word.removeprefix(f"{long}=")
        if word.startswith(short) and not word.startswith("--"):
            return word.removeprefix(short)
    return ""
