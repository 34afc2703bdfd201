"""What every fact is made of: sections of a survey script, their blocks, and readings that may be unknown.

A section is a fragment of POSIX sh. It speaks in *blocks*, with two helpers that the prelude defines:

    run NAME COMMAND [ARG...]   a block NAME with what COMMAND printed (stdout and stderr) and its exit status
    show PATH...                a block per file, named by its path

Blocks travel in a frame whose marker lines carry a nonce, so nothing that a file or a program prints can be taken
for a frame. See `facts.core.survey` for how sections are put together and run.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from typing_extensions import override

from facts.core import asked
from facts.core.asked import Asked
from facts.core.json_text import load

T = TypeVar("T")

KINDS = 20  # of hosts that are alike, whose readings are held


def jsonable(value: Any) -> Any:
    """`value` with every dataclass in it turned into a plain dict (sets into sorted lists)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((jsonable(item) for item in value), key=str)
    return value


class Remembering:
    """What never changes, and may be asked the same for each of ten thousand rows."""

    def remember(self, what: Hashable, make: Callable[[], T]) -> T:
        """`make()`, and from then on what it gave. What it asked for counts as asked each time."""
        kept: dict[Hashable, tuple[T, Asked]] = self.__dict__.setdefault("_remembered", {})
        if what not in kept:
            with asked.asking() as for_it:
                made = make()
            kept[what] = made, for_it
            return made
        made, for_it = kept[what]
        asked.note(for_it)
        return made


class Jsonable(Remembering):
    """A dataclass that pyinfra's `fact` command can print."""

    def to_json(self) -> Any:
        return jsonable(self)


class OfOneHost(Jsonable):
    """A reading of which a part is another on each host: the fields in `own`, with a value to put in their place.
    Whoever asks for one of these is asked again on each host.

    class Reading(OfOneHost, own={"clock": 0}): ...
    """

    _own: ClassVar[Mapping[str, Any]]
    _alike: ClassVar[dict[str, Any]]

    @override
    def __init_subclass__(cls, own: Mapping[str, Any]) -> None:
        cls._own, cls._alike = own, {}

    @override
    def __getattribute__(self, name: str) -> Any:
        if name in type(self)._own:
            asked.note_alone()
        return super().__getattribute__(name)

    @property
    def but_for_its_own(self) -> Self:
        """One object for all hosts that are alike in everything else."""
        return self.remember("but for its own", self._but_for_its_own)

    def _but_for_its_own(self) -> Self:
        mine = dataclasses.replace(self, **self._own, **self.more_of_its_own())  # type: ignore[type-var]
        if len(self._alike) > KINDS:
            self._alike.clear()
        found: Self = self._alike.setdefault(repr(mine), mine)  # as text, where 1 is not True
        return found

    def more_of_its_own(self) -> dict[str, Any]:
        """Other fields, with a value in place of the part of them that is its own and that nobody asks for there. What
        is left out instead would be no different from what was not read."""
        return {}


@dataclass(frozen=True)
class Unknown(Jsonable):
    """A reading that could not be had, and why. It is no value: not None, not empty, not false."""

    unknown: str


class UnknownReading(Exception):
    """A control asked for a reading that is unknown; its finding becomes `unknown` with this reason."""


def known(value: T | Unknown) -> T:
    """`value`, or UnknownReading where it is unknown."""
    if isinstance(value, Unknown):
        raise UnknownReading(value.unknown)
    return value


@dataclass(frozen=True)
class Block:
    """What one command or file gave: its exit status and its text (stdout and stderr, undecodable bytes replaced)."""

    status: int
    text: str

    @property
    def absent(self) -> bool:
        return self.status != 0 and ("No such file or directory" in self.text or self.status == 127)

    @property
    def complaint(self) -> str:
        """The last line the command printed: what to say when it failed."""
        lines = self.text.strip().splitlines()
        return lines[-1][:200] if lines else f"exit status {self.status}"


@dataclass(frozen=True)
class Section(Remembering):
    """One subject's part of the survey: its blocks by name, in the order they were printed."""

    blocks: dict[str, Block]

    def block(self, name: str) -> Block | Unknown:
        return self.blocks.get(name) or Unknown(f"{name} was not read")

    def text(self, name: str) -> str | Unknown:
        """What the block holds, or why it could not be read (a failed command is unknown, whatever it printed)."""
        block = self.block(name)
        if isinstance(block, Unknown):
            return block
        return block.text if block.status == 0 else Unknown(f"{name}: {block.complaint}")

    def file(self, path: str) -> str | Unknown | None:
        """The text of a file; None where the host says that it is not there; unknown where it may not be read."""
        block = self.block(path)
        if isinstance(block, Block) and block.absent:
            return None
        return self.text(path)

    def program(self, block: str, name: str) -> str | Unknown | None:
        """The path of `name` that `command -v` printed; None where it ended without a word: 127 (dash) or 1 (bash)."""
        said = self.block(block)
        if isinstance(said, Unknown):
            return said
        answer = said.text.strip()
        if said.status != 0 and not answer:
            return None
        return answer if re.fullmatch(r"/\S+", answer) else Unknown(f"command -v {name} gave no path")

    def json(self, name: str) -> Any | Unknown:
        """The block parsed as JSON; unknown where it is not JSON."""
        text = self.text(name)
        if isinstance(text, Unknown):
            return text
        try:
            return load(text)
        except ValueError as error:
            return Unknown(f"{name}: not JSON ({error})")

    def matching(self, prefix: str) -> dict[str, Block]:
        """Blocks whose name starts with `prefix`, keyed by the rest of the name."""
        return {name[len(prefix) :]: block for name, block in self.blocks.items() if name.startswith(prefix)}


def attempt(what: str, read: Callable[[], T | Unknown]) -> T | Unknown:
    """`read()`; unknown where it raises. The host is untrusted: nonsense in one part of its answer costs that part."""
    try:
        return read()
    except UnknownReading as error:
        return Unknown(str(error))
    except Exception as error:
        return Unknown(f"{what}: the host's answer makes no sense ({type(error).__name__}: {error})"[:300])
