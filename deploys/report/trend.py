"""A small picture of how findings went: inline SVG, without script, for a page that a browser shows offline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

WIDTH, LEFT, RIGHT = 640, 64, 8  # in the picture's own units
PANEL, GAP, FOOT = 56, 20, 18  # the height of each of the two panels, what is above each, and the days below them
HEIGHT = 2 * (PANEL + GAP) + FOOT
BROKEN, JUDGED = "#c0392b", "#2471a3"  # both can be told from light and from dark


@dataclass(frozen=True)
class Point:
    """How it stood on a `day` (2026-11-30): how many findings were demanded, how many of these could be judged, and how
    many of those do not hold."""

    day: str
    demanded: int
    judged: int
    broken: int


def trend_svg(points: Iterable[Point]) -> str:
    """By day, above what share of the demanded findings was judged, below how many do not hold. A day without a point
    is a gap, never a zero. "" without a point. Raises ValueError for a day that is none."""
    found = sorted(points, key=lambda point: point.day)
    if not found:
        return ""
    days = _Days(found)
    top, bottom = GAP, GAP + PANEL + GAP
    parts = [*_judged(found, days, top), *_broken(found, days, bottom), *_feet(found)]
    last = found[-1]
    title = (
        f"{found[0].day} to {last.day}: {last.judged:,} of {last.demanded:,} findings judged at the end, "
        f"{last.broken:,} do not hold"
    )
    return (
        f'<svg class="trend" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" font-size="11" fill="currentColor" '
        f'font-family="sans-serif" xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


class _Days:
    """Where a day is: each has a column of the same width."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.first = date.fromisoformat(points[0].day)
        count = (date.fromisoformat(points[-1].day) - self.first).days + 1
        self.width = (WIDTH - LEFT - RIGHT) / count

    def number(self, point: Point) -> int:
        return (date.fromisoformat(point.day) - self.first).days

    def middle(self, point: Point) -> float:
        return LEFT + (self.number(point) + 0.5) * self.width


def _judged(points: Sequence[Point], days: _Days, top: int) -> Iterator[str]:
    """The share that was judged, 0 to 100 %, as a line that breaks where days are missing."""
    yield from _frame("judged", top, "100 %")
    before = None
    for point in points:
        if not point.demanded:
            before = None
            continue
        x, y = days.middle(point), top + PANEL * (1 - point.judged / point.demanded)
        if before and days.number(point) - before[2] == 1:
            yield (
                f'<line x1="{before[0]:.1f}" y1="{before[1]:.1f}" x2="{x:.1f}" y2="{y:.1f}" stroke="{JUDGED}" '
                'stroke-width="2"/>'
            )
        hint = f"{point.day}: {point.judged:,} of {point.demanded:,} judged"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{JUDGED}"><title>{hint}</title></circle>'
        before = x, y, days.number(point)


def _broken(points: Sequence[Point], days: _Days, top: int) -> Iterator[str]:
    """What does not hold, as bars; the highest is the panel's height."""
    most = max(point.broken for point in points)
    yield from _frame("do not hold", top, f"{most:,}")
    width = max(min(days.width * 0.8, 24), 0.5)
    for point in points:
        height = PANEL * point.broken / most if most else 0
        hint = f"{point.day}: {point.broken:,} do not hold"
        yield (
            f'<rect x="{days.middle(point) - width / 2:.1f}" y="{top + PANEL - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="{BROKEN}"><title>{hint}</title></rect>'
        )


def _frame(name: str, top: int, highest: str) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{top - 6}">{name}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + 9}" text-anchor="end">{highest}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + PANEL}" text-anchor="end">0</text>'
    yield (
        f'<line x1="{LEFT}" y1="{top + PANEL}" x2="{WIDTH - RIGHT}" y2="{top + PANEL}" stroke="currentColor" '
        'stroke-opacity="0.4"/>'
    )


def _feet(points: Sequence[Point]) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{HEIGHT - 4}">{points[0].day}</text>'
    if len(points) > 1:
        yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{points[-1].day}</text>'
