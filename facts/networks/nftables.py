"""nftables: the installed kernel modules, and the version of the tool."""

from __future__ import annotations

import re
from dataclasses import dataclass

from facts.core.reading import Jsonable, Section, Unknown
from facts.networks.scripts import script

SCRIPT = "\n" + script("nftables.sh")


@dataclass(frozen=True)
class Nftables(Jsonable):
    modules: tuple[str, ...] | Unknown
    version: tuple[int, ...] | None  # None: nft is not installed, or does not print its version


NOT_ASKED = Nftables(Unknown("not asked"), None)


def parse(section: Section) -> Nftables:
    names, said = section.text("nft-modules"), section.text("nft")
    version = None if isinstance(said, Unknown) else re.search(r"\bv(\d+(?:\.\d+)+)", said)
    return Nftables(
        names if isinstance(names, Unknown) else tuple(sorted(names.split())),
        tuple(int(part) for part in version[1].split(".")) if version else None,
    )
