"""Files that other controls stand on: hullproof's own and those of the engines, and the folders above them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from facts import modes
from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, Section, Unknown, known
from facts.modes import Access

OWN = "hullproof"  # in the path of each of hullproof's own files


@dataclass(frozen=True)
class FilesReading(Jsonable):
    watched: tuple[str, ...]  # those that are there, and what is behind symbolic links among them
    access: dict[str, Access] | Unknown  # of these and of every folder above them

    def of(self, own: bool) -> tuple[str, ...]:
        """hullproof's own files, or those of the engines."""
        return tuple(path for path in self.watched if (OWN in path) is own)


class Files(SectionFact[FilesReading]):
    """Owners, modes and access control lists."""

    key: ClassVar[str] = "files"
    script: ClassVar[str] = modes.SCRIPT + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> FilesReading:
        watched = dict.fromkeys(section.blocks.get("watched", Block(0, "")).text.splitlines())
        if known(section.text("uid")).strip() != "0":
            return FilesReading(tuple(watched), Unknown("only root sees every file"))
        listed = section.blocks.get("listed", Block(0, ""))
        access = modes.read_listed(listed, section.blocks.get("acls"))
        return FilesReading(tuple(path for path in watched if path.startswith("/")), access)
