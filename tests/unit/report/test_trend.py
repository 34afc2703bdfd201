"""The picture of how findings went: well-formed, honest about gaps, safe."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date, timedelta

import pytest

from deploys.report.trend import HEIGHT, WIDTH, Point, trend_svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def drawn(*points: Point) -> ET.Element:
    return ET.fromstring(trend_svg(points))


def test_nothing_to_draw_is_nothing() -> None:
    assert trend_svg([]) == ""


def test_what_it_says() -> None:
    title = drawn(Point("2026-11-02", 1000, 990, 7), Point("2026-11-01", 10, 10, 0)).findtext(f"{NAMESPACE}title")
    assert title == "2026-11-01 to 2026-11-02: 990 of 1,000 findings judged at the end, 7 do not hold"


def test_a_day_without_a_run_is_a_gap() -> None:
    days = [Point(f"2026-11-0{day}", 10, 9, 1) for day in (1, 2, 5)]
    picture = drawn(*days)
    assert len(picture.findall(f"{NAMESPACE}rect")) == 3
    assert len(picture.findall(f"{NAMESPACE}line")) == 2 + 1  # the panels' feet, and the one step between days in a row


def test_a_day_of_which_nothing_was_demanded_has_no_share() -> None:
    assert drawn(Point("2026-11-01", 0, 0, 0)).findall(f"{NAMESPACE}circle") == []


@pytest.mark.parametrize("count", [1, 2, 30, 1000])
def test_all_of_it_is_within_the_picture(count: int) -> None:
    points = [Point(f"{date(2020, 1, 1) + timedelta(days=day)}", 100, day % 101, day) for day in range(count)]
    for mark in drawn(*points).iter():
        x, y = float(mark.get("x") or mark.get("cx") or 0), float(mark.get("y") or mark.get("cy") or 0)
        assert 0 <= x + float(mark.get("width") or 0 if mark.tag.endswith("rect") else 0) <= WIDTH
        assert 0 <= y + float(mark.get("height") or 0 if mark.tag.endswith("rect") else 0) <= HEIGHT


def test_the_most_is_as_high_as_its_panel() -> None:
    picture = drawn(Point("2026-11-01", 9, 9, 1), Point("2026-11-02", 9, 9, 4))
    assert [float(bar.get("height", "")) for bar in picture.iter(f"{NAMESPACE}rect")] == [14, 56]


def test_what_is_no_day_is_refused() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        trend_svg([Point("<script>", 1, 1, 1)])
