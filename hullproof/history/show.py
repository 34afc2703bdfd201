"""The answer of a history for people: text for a terminal, and a page with a picture. What hosts have said is cleaned:
the history's files may have been written by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from deploys.core import templates
from deploys.core.control import State
from deploys.core.text import clean, clean_text
from deploys.report.trend import Point, trend_svg
from hullproof.history.answer import Answer, Row
from hullproof.history.durations import words

LINES = 20  # of each part on a terminal; --json has all
WIDTH = 120  # of a cell there
ROWS = 500  # of each part on a page
GONE = "not judged any more"


def text(answer: Answer) -> str:
    """Part by part, with what matters most first; a part that has nothing says so."""
    parts = [about(answer), *(_table(*part) for part in _parts(answer))]
    if answer.problems:
        parts.append("A part of the history could not be read: all of this is said of the rest.")
    return "\n\n".join(parts)


def page(answer: Answer) -> str:
    """HTML that needs nothing else."""
    parts = [
        (title, [clean(line(row)) for row in rows[:ROWS]], max(len(rows) - ROWS, 0))
        for title, rows, line in _parts(answer)
    ]
    environment = Environment(
        loader=FileSystemLoader(templates.FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report/history.html.j2").render(
        answer=answer, about=about(answer), picture=Markup(trend_svg(points(answer))), parts=parts
    )


def about(answer: Answer) -> str:
    counts = f"{_count(answer.runs, 'run')} of {_count(answer.hosts, 'host')}"
    return f"{counts}, {_time(answer.first)} to {_time(answer.last)} UTC"


def points(answer: Answer) -> list[Point]:
    """For the picture: one for each day on which a host was judged."""
    return [
        Point(row["day"], row["demanded"], row["judged"], row["failed"] + row["pending"])
        for row in answer.coverage
        if row["judged_hosts"]
    ]


Part = tuple[str, list[Row], Callable[[Row], list[str]]]


def _parts(answer: Answer) -> list[Part]:
    return [
        (f"Moved since {_time(answer.since)} UTC", answer.moved, _moved),
        ("Flapping", answer.flapping, _flapping),
        ("Time to mend, from the run that found it to the run that found it mended", answer.mending, _mending),
        ("Hosts that never held", answer.never_held, _never_held),
        ("Hosts not judged lately", answer.not_judged, _not_judged),
        ("Judged by day", answer.coverage[::-1], _covered),
    ]


def _table(title: str, rows: list[Row], line: Callable[[Row], list[str]]) -> str:
    if not rows:
        return f"{title}: none"
    cells = [[_shorten(cell) for cell in clean(line(row))] for row in rows[:LINES]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    if len(rows) > LINES:
        lines.append(f"… {len(rows) - LINES:,} more: --json has all")
    return "\n  ".join([f"{title}:", *lines])


def _moved(row: Row) -> list[str]:
    mended = row["to"] is not None and State(row["to"]).holds
    why = "" if mended else row["cause"] or row["reason"]
    step = f"{row['from']} → {row['to'] or GONE}"
    return [row["host"], row["control"], row["severity"], step, _time(row["when"]), why]


def _flapping(row: Row) -> list[str]:
    states = " / ".join(row["states"])
    return [row["host"], row["control"], row["severity"], f"{row['changes']} changes", states, f"now {row['now']}"]


def _mending(row: Row) -> list[str]:
    name = row["control"] or (f"all of severity {row['severity']}" if row["severity"] else "all")
    mean = f"{row['mended']:,} mended" + (f", mean {words(row['mean_seconds'])}" if row["mended"] else "")
    return [name, mean, _open(row), _apart(row)]


def _open(row: Row) -> str:
    if not row["open"]:
        return "none open"
    longest = f"{row['open']:,} open, longest {words(row['longest_open_seconds'])}"
    return f"{longest} or more" if row["open_from_the_first"] else longest


def _apart(row: Row) -> str:
    """The mean that the open ones are in too, and what is in neither."""
    found = [f"mean with open ones {words(row['with_open_seconds'])}"] if row["open"] and row["mended"] else []
    unknown = row["mended_from_the_first"] + row["open_from_the_first"]
    found += [f"{unknown:,} began before the first run that saw it"] if unknown else []
    found += [f"{row['ended_otherwise']:,} waived or {GONE}"] if row["ended_otherwise"] else []
    return "; ".join(found)


def _never_held(row: Row) -> list[str]:
    counts = ((row["failed"], "fail"), (row["pending"], "pending"), (row["unknown"], "unknown"))
    last = ", ".join(f"{count} {word}" for count, word in counts if count)
    return [row["host"], f"{_count(row['looks'], 'look')} since {_time(row['first'])}", f"last: {last}"]


def _not_judged(row: Row) -> list[str]:
    last = f"last judged {_time(row['last_judged'])}" if row["last_judged"] else "never judged"
    return [row["host"], last, f"last tried {_time(row['last_tried'])}: {row['status']}", row["error"] or ""]


def _covered(row: Row) -> list[str]:
    judged, demanded = row["judged"], row["demanded"]
    return [
        row["day"],
        f"{judged:,} of {demanded:,} judged ({_share(judged, demanded)})" if demanded else "nothing judged",
        f"{row['failed'] + row['pending']:,} do not hold",
        f"{row['judged_hosts']:,} of {_count(row['hosts'], 'host')} judged",
    ]


def _share(part: int, whole: int) -> str:
    """Rounded down, so that 100 % is all of it."""
    return f"{1000 * part // whole / 10:.1f} %"


def _shorten(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _time(moment: Any) -> str:
    return clean_text(moment[:16].replace("T", " ")) if moment else "never"
