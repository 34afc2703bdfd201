"""report.html: the fleet, what is new, controls by how many hosts fail them, hosts, waivers, changes.

Plain HTML has all of that, failures first. What each host says of each control is in a block of JSON, of which a script
makes a host's part when it is opened; it also finds and filters. The page loads nothing, and runs only the script that
its policy (Content-Security-Policy) names by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from deploys.core import templates
from deploys.core.control import State
from deploys.report import waivers
from deploys.report.page.fleet import BROKEN, SEVERITIES, STATES, Control, Fleet, Group, Row, data, fleet, short
from deploys.report.page.since import Before, News, news
from deploys.report.report import outcome, part_judged

Report = Mapping[str, Any]

SIGNS = {
    "fail": "✕", "pending-reboot": "↻", "pending-restart": "↻", "unknown": "?", "waived": "◇", "pass": "✓",
    "not-applicable": "–", "ok": "✓", "unreachable": "!", "error": "!",
}  # fmt: skip
EACH = 5  # of what hosts say of a control, in plain HTML
NAMES = 12  # hosts, or groups of them, after each
WORST = 6  # of the hosts, at the top
NAME = 80  # characters
ROWS = 300  # of the tables of waivers and changes
ROOM = 500_000  # bytes of what hosts say, in plain HTML


UNTIL_NOW = "<!-- until now -->"  # where a picture has its place; what hosts say is escaped


def with_trend(page: str, trend: str) -> str:
    """The page with a picture of the time until now: SVG that needs no style of its own."""
    section = f'<section id="trend" aria-label="Until now"><h2>Until now</h2>\n{trend}\n</section>'
    return page.replace(UNTIL_NOW, section, 1)


def html(report: Report, before: Before | None = None) -> str:
    """The page. `before`: the report before in the same folder, to say what is new since."""
    made, end = fleet(report), outcome(report)
    words = end.words if report["exit_code"] == end.code else "a proof failed"  # proofs come after the report is made
    since = news(before, made, bool(report["run"].get("only"))) if before else None
    style, script = templates.text("report/report.css"), templates.text("report/report.js")
    return (
        _environment()
        .get_template("report/report.html.j2")
        .render(
            report=report,
            words=words,
            part=part_judged(report["run"]),
            before=before,
            news=since,
            signs=SIGNS,
            states=STATES,
            controls=_controls(made),
            drifted=sum(row.hosts for row in made.rows if row.finding["drift"]),
            groups=list(_groups(made, since)),
            worst=_worst(made),
            all_controls=made.controls,
            about=report.get("controls", {}),
            waivers=waivers.rows(report["hosts"].values())[:ROWS],
            sentences=waivers.sentences(report["summary"]["waivers"]),
            changes=_changes(made)[:ROWS],
            data=Markup(data(made, report["run"])),
            until_now=Markup(UNTIL_NOW),
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
            "base-uri 'none'; form-action 'none'",
        )
    )


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(templates.FOLDER)
    made = Environment(loader=loader, undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"short": short, "number": "{:,}".format, "some": _some, "most": _most}
    made.filters |= {"time": _time, "when": _when}
    return made


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _time(text: str) -> str:
    """2026-01-02T03:04:05Z as people read it."""
    return text.replace("T", " ")[:16] + _zone(text)


def _when(run: Mapping[str, Any]) -> str:
    """From when until when: the day once, where it is the same."""
    started, finished = run["started"], run["finished"]
    day = 11 if started[:11] == finished[:11] else 0
    return f"{started.replace('T', ' ')[:19]} to {finished.replace('T', ' ')[day:19]}{_zone(finished)}"


def _zone(text: str) -> str:
    return " UTC" if text.endswith(("Z", "+00:00")) else text[19:]


def _some(names: list[str], most: int = 3) -> str:
    shown = ", ".join(short(name, NAME) for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")


@dataclass
class Say:
    """What hosts say of a control: a row with its texts, the first of the groups that say it, and on how many hosts
    besides."""

    row: Row
    texts: list[str | None]
    groups: list[tuple[int, Group]] = field(default_factory=list)
    more: int = 0


@dataclass
class Shown:
    """A control that does not hold somewhere: its number, the first few of what hosts say of it, and on how many hosts
    something else is said."""

    number: int
    control: Control
    says: list[Say]
    others: int


def _most(hosts: Mapping[int, list[str]]) -> list[tuple[int, list[str]]]:
    """By control: that which is said of most hosts first."""
    return sorted(hosts.items(), key=lambda each: -len(each[1]))


def _controls(made: Fleet) -> list[Shown]:
    """Those that do not hold or are waived somewhere: first what fails on most hosts."""
    says = _says(made)
    found = []
    for number, control in enumerate(made.controls):
        against = control.hosts + control.counts["waived"]
        mine = [says[row] for row in control.rows if row in says]
        if against:
            found.append(Shown(number, control, mine, against - sum(say.row.hosts for say in mine)))
    return sorted(found, key=lambda shown: _most_hosts(shown.control))


def _most_hosts(control: Control) -> tuple[Any, ...]:
    counts = (-control.counts[state] for state in (*BROKEN, State.WAIVED))
    return *counts, SEVERITIES.index(control.severity), control.id


def _says(made: Fleet) -> dict[int, Say]:
    """By the row's number, as far as there is room: the first of each control, then the second, …"""
    turns = sorted((turn, number) for control in made.controls for turn, number in enumerate(control.rows[:EACH]))
    says: dict[int, Say] = {}
    room = ROOM
    for _, number in turns:
        row = made.rows[number]
        if row.finding["state"] in (*BROKEN, State.WAIVED):
            say = Say(row, row.texts)
            room -= len(escape(" ".join(filter(None, say.texts))).encode())
            if room < 0:
                break
            says[number] = say
    _name_hosts(made, says)
    return says


def _name_hosts(made: Fleet, says: Mapping[int, Say]) -> None:
    for place, group in enumerate(made.groups):
        for number in group.rows.values():
            if say := says.get(number):
                if len(say.groups) < NAMES:
                    say.groups.append((place, group))
                else:
                    say.more += len(group.names)


def _groups(made: Fleet, since: News | None) -> Iterator[tuple[Group, int]]:
    """With how many findings on one of its hosts are worse than in the report before."""
    for group in made.groups:
        yield group, max((since.by_host[name] for name in group.names), default=0) if since else 0


def _worst(made: Fleet) -> list[tuple[int, Group]]:
    """The first of those on which something fails, with their numbers."""
    return [each for each in enumerate(made.groups) if each[1].part["summary"][State.FAIL]][:WORST]


def _changes(made: Fleet) -> list[tuple[Mapping[str, Any], int]]:
    """What was changed, and on how many hosts."""
    found: dict[tuple[Any, ...], tuple[Mapping[str, Any], int]] = {}
    for group in made.groups:
        for change in group.part["changes"]:
            key = (change["subject"], change["what"], change.get("path"))
            found[key] = change, found.get(key, (change, 0))[1] + len(group.names)
    return sorted(found.values(), key=lambda each: -each[1])
