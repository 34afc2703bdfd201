"""The file that lxc-create copies into each new container: hullproof's lines are a block at its end, where they count
last. A file of its own that this one includes would be named by the containers too: each of them would change with it,
and none would start without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deploys.core.change import Change, Context, WriteFile
from deploys.engines.defaults import Default, Put
from facts.core.reading import known
from facts.engines.lxc.lxc import Lxc, LxcReading
from facts.lxc_files import Line

BEGIN = "# From here to the end of this block: written by hullproof."
END = "# The end of hullproof's block."
# It reads the file as lxc-create does, and makes nothing.
VALIDATE = "lxc-info -n hullproof-check --rcfile={} -c lxc.uts.name >/dev/null"
Row = Default[LxcReading]


def said(line: Line | None, key: str) -> str:
    """How a key is set, and where."""
    return f"{key} is {line.value} ({line.at})" if line else f"no line sets {key}"


def write(context: Context, put: Put, what: str) -> Iterator[Change]:
    """The block, with these keys and those that are in it already."""
    lxc = context.survey[Lxc]
    before = known(lxc.text)
    text = with_block(before or "", {**own(before or ""), **{key: _values(value) for key, value in put.items()}})
    if text != before:
        mode, owner = ("0644", "root:root") if before is None else ("", "")  # "": as it was
        yield WriteFile(
            "lxc", f"{what}; those that are there keep what they have", path=lxc.path, text=text, before=before,
            mode=mode, owner=owner, validate=VALIDATE, shared="lines",
        )  # fmt: skip


def _values(value: object) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def own(text: str) -> dict[str, Sequence[str]]:
    """The keys of hullproof's block, with their values."""
    found: dict[str, list[str]] = {}
    for line in _parts(text)[1]:
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key.strip(), []).append(value.strip())
    return dict(found)


def with_block(text: str, keys: dict[str, Sequence[str]]) -> str:
    rows = (f"{key} = {value}".rstrip() for key, values in sorted(keys.items()) for value in values)
    return "".join(f"{line}\n" for line in (*_parts(text)[0], BEGIN, *rows, END))


def _parts(text: str) -> tuple[list[str], list[str]]:
    """The lines of others, and those of the block."""
    theirs: list[str] = []
    ours: list[str] = []
    inside = False
    for line in text.splitlines():
        inside = inside or line == BEGIN
        (ours if inside else theirs).append(line)
        inside = inside and line != END
    return theirs, ours


def outside(lxc: LxcReading, lines: Iterable[Line]) -> list[Line]:
    """Those that hullproof's block does not have."""
    rows = own(known(lxc.text) or "")
    return [line for line in lines if line.value not in rows.get(line.key, ())]
