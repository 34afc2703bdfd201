"""The capabilities of LXC's containers: those that lines drop, or that none but these are kept of."""

from __future__ import annotations

from collections.abc import Iterable

from deploys.core.control import Severity, some
from deploys.engines.defaults import Put
from deploys.engines.lxc.settings import Row
from facts.capabilities import CAPABILITIES
from facts.core.numbers import whole_number
from facts.engines.lxc.containers import Made
from facts.engines.lxc.lxc import LxcReading
from facts.lxc_files import Line

DROP, KEEP = "lxc.cap.drop", "lxc.cap.keep"


def kept(lxc: LxcReading | Made) -> set[str]:
    """The capabilities that containers have."""
    if rows := lxc.all(KEEP):
        return names(rows)
    return set(CAPABILITIES) - names(lxc.all(DROP))


def names(lines: Iterable[Line]) -> set[str]:
    words = {word.upper() for line in lines for word in line.value.split()}
    return {_name(word) for word in words}


def _name(word: str) -> str:
    number = whole_number(word)
    return word if number is None or number >= len(CAPABILITIES) else CAPABILITIES[number]


def _held(lxc: LxcReading, wanted: list[str]) -> str:
    held = [name for name in wanted if name in kept(lxc)]
    return f"containers keep {some(held, 12)}" if held else ""


def _drop(lxc: LxcReading, wanted: list[str]) -> Put:
    """A container that is to keep some cannot be told to drop others."""
    return {} if lxc.all(KEEP) else {DROP: " ".join(sorted(wanted)).lower()}


DEFAULT = Row(
    name="capabilities",
    title="LXC's containers do not get the capabilities that the policy names",
    severity=Severity.MEDIUM,
    why="Without a template a container has every capability there is, and each widens what it can do to the host.",
    references=("NIST-800-190-4.4.3",),
    wrong=_held,
    put=_drop,
    by_hand="take them out of lxc.cap.keep in the file that lxc-create copies",
)
