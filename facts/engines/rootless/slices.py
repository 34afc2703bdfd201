"""The slices of users: what systemd declares for them, and what the kernel has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from facts.cgroups import FILES, PROPERTIES, ROOT, USED, SliceReading, read_slice
from facts.core.reading import Block, Jsonable, Section, Unknown

LIMITS = ("memory", "pids", "cpu")
NAME = "zz-hullproof.conf"
SCRIPT = (
    f"PROPERTIES={','.join(PROPERTIES[limit] for limit in LIMITS)} DROP_IN={NAME}\n"
    f"FILES='{' '.join([*(FILES[limit] for limit in LIMITS), *USED])}'\n"
)


def slice_of(uid: int) -> str:
    """systemd.special(7): everything that a user runs is below it."""
    return f"user-{uid}.slice"


def drop_in(uid: int) -> str:
    return f"/etc/systemd/system/{slice_of(uid)}.d/{NAME}"


@dataclass(frozen=True)
class UserSlice(Jsonable):
    uid: int
    limits: SliceReading
    drop_in: str | Unknown | None  # hullproof's own file


def read_slices(section: Section) -> tuple[UserSlice, ...] | Unknown:
    block = section.blocks.get("slices")
    if block is None:
        return ()
    return tuple(_slices(section, block)) if block.status == 0 else Unknown(f"systemctl: {block.complaint}")


def _slices(section: Section, block: Block) -> Iterator[UserSlice]:
    text = section.blocks.get("slices.live", Block(0, "")).text
    for part in block.text.split("\n\n"):
        said = dict(line.partition("=")[::2] for line in part.split("\n"))
        if name := re.fullmatch(r"user-([0-9]{1,10})\.slice", said.get("Id", "")):
            uid = int(name[1])
            rows = re.findall(rf"^{ROOT}/user\.slice/user-{uid}\.slice/([a-z.]+):(.+)$", text, re.MULTILINE)
            path = drop_in(uid)
            yield UserSlice(uid, read_slice(said, dict(rows)), section.file(path) if path in section.blocks else None)
