"""Many small files in one fork: what `grep -H PATTERN FILE...` printed, told apart per file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from facts.core.reading import Block, Unknown

V = TypeVar("V")


class Lines:
    """The lines of `grep -H` by file. Absent, unreadable and never asked for are three different answers."""

    def __init__(self, block: Block | Unknown) -> None:
        self._why: Unknown | None = block if isinstance(block, Unknown) else None
        self._lines = [] if isinstance(block, Unknown) else block.text.splitlines()
        self.found: dict[str, list[str]] = {}
        for line in self._lines:
            path, colon, rest = line.partition(":")
            if colon and path.startswith("/"):
                self.found.setdefault(path, []).append(rest)

    def get(self, path: str) -> list[str] | Unknown | None:
        """The file's lines; None where the host says that there is no such file."""
        if path in self.found:
            return self.found[path]
        for line in self._lines:
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
        said = (line for line in self._lines if word in line and not line.startswith("/"))
        return self._why or next((Unknown(line.strip()[:200]) for line in said), None)
