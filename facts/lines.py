"""Many small files in one fork: what `grep -H PATTERN FILE...` printed, told apart per file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from facts.reading import Block, Jsonable, Unknown

V = TypeVar("V")

SYSCTL_FILES = " ".join(
    f"{directory}/sysctl.d/*.conf" for directory in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)


class Lines:
    """The lines of `grep -H` by file. Absent, unreadable and never asked for are three different answers."""

    def __init__(self, block: Block | Unknown) -> None:
        self._why: Unknown | None = block if isinstance(block, Unknown) else None
        self._text = "" if isinstance(block, Unknown) else block.text
        self.found: dict[str, list[str]] = {}
        for line in self._text.splitlines():
            path, colon, rest = line.partition(":")
            if colon and path.startswith("/"):
                self.found.setdefault(path, []).append(rest)

    def get(self, path: str) -> list[str] | Unknown | None:
        """The file's lines; None where the host says that there is no such file."""
        if path in self.found:
            return self.found[path]
        for line in self._text.splitlines():
            if line.endswith(f"{path}: No such file or directory"):
                return None
            if f" {path}: " in line:
                return Unknown(line.strip()[:200])
        return self._why or Unknown(f"{path} was not read")

    def first(self, path: str, read: Callable[[str], V]) -> V | Unknown | None:
        """The file's first line through `read`; unknown where `read` cannot make sense of it."""
        lines = self.get(path)
        if lines is None or isinstance(lines, Unknown):
            return lines
        try:
            return read(lines[0].strip())
        except ValueError:
            return Unknown(f"{path}: {lines[0][:60]!r} makes no sense")

    def number(self, path: str) -> int | Unknown | None:
        return self.first(path, int)

    def complaint(self, word: str) -> Unknown | None:
        """The first line in which the command said `word` (such as `Permission denied`), if any."""
        said = (line for line in self._text.splitlines() if word in line and not line.startswith("/"))
        return self._why or next((Unknown(line.strip()[:200]) for line in said), None)


@dataclass(frozen=True)
class Setting(Jsonable):
    """A sysctl as a file sets it."""

    value: str
    path: str


def at_boot(lines: Lines, key: str) -> Setting | None:
    """What systemd-sysctl will leave `key` at, by sysctl.d(5): files in the order of their names, wherever they are;
    of two with the same name the one in /etc before /run before /usr; the last to set a key wins.

    /etc/sysctl.conf is not among them: where the distribution still honours it, it is linked as 99-sysctl.conf.
    """
    wanted = re.compile(r"\s*-?" + re.escape(key.replace(".", "/")).replace("/", "[./]") + r"\s*=\s*(.*?)\s*$")
    rank = ("/etc/", "/run/", "/usr/local/lib/", "/usr/lib/", "/lib/")
    by_name: dict[str, str] = {}
    for path in sorted(
        (path for path in lines.found if "/sysctl.d/" in path),
        key=lambda path: next((n for n, start in enumerate(rank) if path.startswith(start)), len(rank)),
    ):
        by_name.setdefault(path.rpartition("/")[2], path)
    last: Setting | None = None
    for name in sorted(by_name):
        for line in lines.found[by_name[name]]:
            if row := wanted.match(line):
                last = Setting(row[1], by_name[name])
    return last
