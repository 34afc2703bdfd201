"""What is new since the report before in the same folder: its page has all states in it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from deploys.core.control import State
from deploys.core.text import clean_text
from deploys.report.page.fleet import Fleet, Group

FILE = "report.html"
BEGIN, END = '<script type="application/json" id="data">', "</script>"
MOST = 100_000_000  # bytes of a page that is read
FAR = {State.UNKNOWN: 1, State.PENDING_RESTART: 2, State.PENDING_REBOOT: 2, State.FAIL: 3}  # from holding; 0: it holds


@dataclass(frozen=True)
class Before:
    """The report before: what it was of, and each host's states by control; none for a host that was not judged."""

    kind: str
    policy: str
    finished: str
    only: bool
    hosts: Mapping[str, Mapping[str, str]]


@dataclass
class News:
    """Hosts by control that are further from holding now, and by control that hold now and did not; hosts that were
    judged then and are not now, those that were not judged then, and those that this report does not have."""

    worse: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    mended: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    lost: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    by_host: Counter[str] = field(default_factory=Counter)  # how many are worse

    def __bool__(self) -> bool:
        return bool(self.worse or self.mended or self.lost or self.added or self.gone)


@cache  # a run that has to write its report once more compares with the one before all the same
def before(folder: Path, run: str) -> Before | None:
    """What the page in that folder says, before the run with this id replaces it; None where there is none, or none
    that can be read."""
    path = folder / FILE
    try:
        if not path.is_file():  # a pipe would keep the run waiting
            return None
        with path.open(encoding="utf-8") as file:
            return _before(json.loads(file.read(MOST).partition(BEGIN)[2].partition(END)[0]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # none of ours, or cut short
        return None


def _before(data: dict[str, Any]) -> Before:
    run, controls, rows, states = data["run"], data["controls"], data["rows"], data["states"]
    if data["form"] != 1:
        raise ValueError("a form of another release")
    said = [(str(controls[row[0]][0]), str(State(states[row[1]]))) for row in rows]
    usual = dict(said[number] for number in data["usual"])
    hosts: dict[str, Mapping[str, str]] = {}
    for names, unusual in data["groups"]:
        judged = {} if unusual is None else usual | dict(said[number] for number in unusual if number >= 0)
        for number in unusual or ():
            if number < 0:
                judged.pop(str(controls[-1 - number][0]), None)
        hosts |= dict.fromkeys(map(str, names), judged)
    kind, policy, finished = (clean_text(str(run[key])) for key in ("kind", "policy", "finished"))
    return Before(kind, policy, finished, bool(run["only"]), hosts)


def news(then: Before, now: Fleet, only: bool) -> News:
    """`only`: this run judged a part of the controls. Such a run is not compared with others but for its hosts."""
    found = News()
    names = {name for group in now.groups for name in group.names}
    found.gone = [name for name in then.hosts if name not in names]
    for group in now.groups:
        for name in group.names:
            _host(found, name, group, then.hosts.get(name), now, compared=not (only or then.only))
    return found


def _host(
    found: News, name: str, group: Group, states: Mapping[str, str] | None, now: Fleet, *, compared: bool
) -> None:
    if not states:
        if group.rows or states is None:
            found.added.append(name)
    elif not group.rows:
        found.lost.append(name)
    elif compared:
        for control, number in group.rows.items():
            was, state = states.get(now.controls[control].id), now.rows[number].finding["state"]
            if was is None or was == state:
                continue
            if _far(state) > _far(was):
                found.worse[control].append(name)
                found.by_host[name] += 1
            elif state == State.PASS and _far(was):
                found.mended[control].append(name)


def _far(state: str) -> int:
    return FAR.get(State(state), 0)
