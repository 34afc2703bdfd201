"""A report as its page holds it: what is said of a control once, however many hosts say it, and hosts that are the same
as one.

A host may say something else of every control, at length. So texts are cut, and as a whole get a share of the page: the
worst come first, and of what has no room the page keeps the state alone.
"""

from __future__ import annotations

import json
import marshal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from typing import Any

from deploys.core.control import Severity, State

Report = Mapping[str, Any]

TEXT = 800  # characters of a reason, a cause or a next step
READING = 300  # of what is declared, on disk or live
ROOM = 1_000_000  # bytes of all of these

STATES = [
    State.FAIL, State.PENDING_REBOOT, State.PENDING_RESTART, State.UNKNOWN, State.WAIVED, State.PASS,
    State.NOT_APPLICABLE,
]  # fmt: skip
BROKEN = STATES[:4]  # what does not hold, the worst first
SEVERITIES = [severity.value for severity in Severity]

_said = itemgetter("control", "state", "reason", "next", "declared", "disk", "live", "drift")


@dataclass
class Control:
    """One control: how many hosts are in which state, and what they say of it (numbers of rows, the worst first)."""

    id: str
    title: str
    severity: str
    impact: str
    references: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    rows: list[int] = field(default_factory=list)

    @property
    def hosts(self) -> int:
        """On how many it does not hold."""
        return sum(self.counts[state] for state in BROKEN)


@dataclass
class Row:
    """What is said of a control (a number), by as many `hosts`."""

    control: int
    finding: Mapping[str, Any]
    hosts: int = 0

    @property
    def texts(self) -> list[str | None]:
        """reason, next, declared, disk, live, held, moved, cause; None where there is no such thing."""
        found, drift = self.finding, self.finding["drift"] or {}
        held, cause = drift.get("held"), drift.get("cause")
        reason = str(found["reason"])
        if drift:  # which has them at its end
            reason = reason.removesuffix(f"; {cause}").rpartition("; it held at ")[0] or reason
        moved = "; ".join(
            f"{side} was {shown(each.get('was'))} and is {shown(each.get('is'))}"
            for side, each in (drift.get("moved") or {}).items()
        )
        readings = (None if found[side] is None else short(shown(found[side])) for side in ("declared", "disk", "live"))
        words = (held and short(str(held)), short(moved) or None, cause and short(str(cause), TEXT))
        return [short(reason, TEXT), found["next"] and short(found["next"], TEXT), *readings, *words]


@dataclass
class Group:
    """Hosts of which the very same is said. `rows`: by the control's number; `part`: of the report, one of theirs."""

    names: list[str]
    part: Mapping[str, Any]
    rows: dict[int, int]
    high: int = 0  # failures of controls of that severity


@dataclass
class Fleet:
    controls: list[Control]
    rows: list[Row]
    groups: list[Group]


def fleet(report: Report) -> Fleet:
    """Of the whole report: rows the worst first, and so are the groups of hosts."""
    made = Fleet([], [], [])
    seen = _Seen(made)
    groups: dict[Any, Group] = {}
    for name, part in report["hosts"].items():
        rows = dict(map(seen.row, part["findings"]))
        said = (part["status"], part["error"], part.get("notes"), part["os"], part["kernel"], part["changes"])
        key = (marshal.dumps(said, 2), *rows.values())
        groups.setdefault(key, Group([], part, rows)).names.append(name)
    made.groups = list(groups.values())
    _count(made)
    _sort(made)
    return made


class _Seen:
    """Controls and rows by what they are."""

    def __init__(self, made: Fleet) -> None:
        self.made = made
        self.controls: dict[str, int] = {}
        self.rows: dict[bytes, int] = {}
        self.same: dict[int, tuple[int, int]] = {}  # by the finding itself, which hosts may share

    def row(self, finding: Mapping[str, Any]) -> tuple[int, int]:
        """The numbers of its control and of its row."""
        if known := self.same.get(id(finding)):
            return known
        control = self._control(finding)
        # By types too, where 1 == True; version 2 has no references, by which the same value is written otherwise.
        said = blake2b(marshal.dumps(_said(finding), 2), digest_size=16).digest()
        number = self.rows.setdefault(said, len(self.made.rows))
        if number == len(self.made.rows):
            self.made.rows.append(Row(control, finding))
        self.same[id(finding)] = control, number
        return control, number

    def _control(self, finding: Mapping[str, Any]) -> int:
        number = self.controls.setdefault(finding["control"], len(self.made.controls))
        if number == len(self.made.controls):
            values = (finding[key] for key in ("control", "title", "severity", "impact", "references"))
            self.made.controls.append(Control(*values))
        return number


def _count(made: Fleet) -> None:
    for group in made.groups:
        for number in group.rows.values():
            made.rows[number].hosts += len(group.names)
    for row in made.rows:
        made.controls[row.control].counts[row.finding["state"]] += row.hosts


def _sort(made: Fleet) -> None:
    rank = {state: number for number, state in enumerate(STATES)}

    def worst(number: int) -> tuple[Any, ...]:
        row = made.rows[number]
        control = made.controls[row.control]
        return rank[row.finding["state"]], SEVERITIES.index(control.severity), -row.hosts, control.id

    order = sorted(range(len(made.rows)), key=worst)
    place = {old: new for new, old in enumerate(order)}
    made.rows = [made.rows[number] for number in order]
    for number, row in enumerate(made.rows):
        made.controls[row.control].rows.append(number)
    failing = {
        number
        for number, row in enumerate(made.rows)
        if row.finding["state"] == State.FAIL and made.controls[row.control].severity == Severity.HIGH
    }
    for group in made.groups:
        group.rows = {control: place[number] for control, number in group.rows.items()}
        group.high = sum(number in failing for number in group.rows.values())
    made.groups.sort(key=_worst_group)


def _worst_group(group: Group) -> tuple[Any, ...]:
    """Those of which nothing is known come first: they may be the worst."""
    summary, status = group.part["summary"], group.part["status"]
    ends = ("error", "unreachable", "ok").index(status)
    return ends, -group.high, *(-summary[state] for state in BROKEN), -len(group.names)


def shown(value: Any) -> str:
    """A reading as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short(text: str, most: int = READING) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def data(made: Fleet, run: Mapping[str, Any]) -> str:
    """What the page's script shows hosts from, and what the next page compares with (`since`), as JSON that may be
    inside of a script element.

    `rows`: [control, state, and the texts of a Row, None at the end left out]; `usual`: of each control the row that
    most hosts have; `groups`: [names, the rows that are not usual, and -1 - the number of a control that was not
    judged; None where nothing was].
    """
    rows, place = _in_room(made)
    hosts = Counter[int]()
    for number, row in enumerate(made.rows):
        hosts[place[number]] += row.hosts
    usual = [max((place[number] for number in control.rows), key=hosts.__getitem__) for control in made.controls]
    head = {
        "form": 1,
        "run": {key: run[key] for key in ("id", "kind", "policy", "finished")} | {"only": bool(run.get("only"))},
        "states": STATES,
        "controls": [[each.id, each.title, each.severity, each.impact, *each.references] for each in made.controls],
        "usual": usual,
        "groups": [[group.names, _unusual(group, place, usual)] for group in made.groups],
    }
    lines = ",\n".join(rows)
    return f'{inside_script(head)[:-1]},\n"rows":[\n{lines}\n]}}'


def _in_room(made: Fleet) -> tuple[list[str], list[int]]:
    """The rows as JSON, and the place of each row among them: those that find no room share one for each state of a
    control."""
    rows: list[str] = []
    place: list[int] = []
    cut: dict[str, int] = {}
    room = ROOM
    for row in made.rows:
        state = [row.control, STATES.index(row.finding["state"])]
        if room > 0:
            texts = row.texts
            while texts[-1] is None:
                texts.pop()
            rows.append(inside_script([*state, *texts]))
            room -= len(rows[-1].encode())
            place.append(len(rows) - 1)
        else:
            said = inside_script(state)
            place.append(cut.setdefault(said, len(rows)))
            rows += [said] if place[-1] == len(rows) else []
    return rows, place


def _unusual(group: Group, place: list[int], usual: list[int]) -> list[int] | None:
    if not group.rows:
        return None
    numbers = (place[group.rows[n]] if n in group.rows else -1 - n for n in range(len(usual)))
    return [number for number, most in zip(numbers, usual, strict=True) if number != most]


def inside_script(value: Any) -> str:
    """JSON in which no tag can begin, of a script element or any other."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
