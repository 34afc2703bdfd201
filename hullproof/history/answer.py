"""What can be asked of a history, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """`since`, `until`: aware. `hosts`, `controls`: names, or patterns with *; none: all. `flaps`: a finding that
    changes more often flaps. `unseen`: a host that was not judged for longer is named."""

    since: datetime
    until: datetime
    hosts: Sequence[str] = ()
    controls: Sequence[str] = ()
    flaps: int = 3
    unseen: timedelta = timedelta(days=2)


@dataclass
class Answer:
    """Times are ISO 8601 in UTC, spans are seconds; None: not known.

    `moved`: findings whose last state is another than their first; `to` is None where the host is judged and the
    control is not any more. `mending`: a row per control and severity, per severity (`control` None), and of all (both
    None); `open` ones are not in `mean_seconds`, and in `with_open_seconds`, the time that all were open by the number
    of those mended. What was open at its first reading began nobody knows when: it is in neither. `coverage`: of each
    day with a run each host's last whole look. `problems`: a sentence on each file that could not be read: all else is
    said of the rest."""

    since: str
    until: str
    runs: int = 0
    hosts: int = 0
    first: str | None = None
    last: str | None = None
    moved: list[Row] = field(default_factory=list)
    flapping: list[Row] = field(default_factory=list)
    mending: list[Row] = field(default_factory=list)
    never_held: list[Row] = field(default_factory=list)
    coverage: list[Row] = field(default_factory=list)
    not_judged: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> Row:
        return {"schema": 1, **asdict(self)}
