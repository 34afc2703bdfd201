"""The page without a browser: what is on it, what is stored once, how large it gets, and that texts stay texts."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deploys.core import templates
from deploys.core.control import Severity, State
from deploys.report import files
from deploys.report.page.fleet import fleet
from deploys.report.page.render import SIGNS, UNTIL_NOW, html, with_trend
from deploys.report.page.since import BEGIN, before, news
from deploys.report.report import STATUSES, HostReport, build
from tests.support.report import KERNEL, OS, a_report, a_run, finding
from tests.support.reported_fleet import HOSTILE, a_fleet, hostile_fleet, recorded_fleet

VOID = {"meta", "rect", "input", "br"}


class Page(HTMLParser):
    """A page's elements with their attributes, its text by the element that it is in, and whether each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    @property
    def text(self) -> str:
        said = (text for tag, texts in self.texts.items() if tag not in ("script", "style") for text in texts)
        return re.sub(r"\s+", " ", " ".join(said))

    @property
    def data(self) -> Any:
        return json.loads(self.texts["script"][0])


def hosts(*parts: tuple[str, State], drift: dict[str, Any] | None = None) -> dict[str, Any]:
    """A host for each of `parts`, with one control in that state."""
    return build(
        a_run(),
        [
            HostReport(name, "ok", None, OS, KERNEL, [replace(finding(state), drift=drift, next="do it")])
            for name, state in parts
        ],
    )


# --- what is on it


def test_every_state_is_a_word_and_a_sign() -> None:
    page = Page(html(a_report(*(finding(state, f"boat.{state.value}") for state in State))))
    for state in State:
        assert SIGNS[state] in page.texts["span"]
        assert f" {state.value}" in page.texts["span"]
    assert set(SIGNS) == {*State, *STATUSES}
    script = templates.text("report/report.js")
    assert all(sign in script for state, sign in SIGNS.items() if state in list(State))


def test_a_finding_has_its_readings_its_cause_and_its_next_step() -> None:
    drift = {"held": "T1 (run r1)", "moved": {"live": {"was": 1, "is": 0}}, "cause": "/etc/x is gone"}
    failing = finding(State.FAIL, reason="it is 0; it held at T1; /etc/x is gone", declared=1, disk=[True], live="none")
    page = Page(html(a_report(replace(failing, drift=drift, next="harden does it"))))
    assert page.texts["td"][:3] == ["1", "[true]", "none"]
    assert page.texts["dd"][-3:] == ["T1 (run r1); live was 1 and is 0", "/etc/x is gone", "harden does it"]
    assert " it is 0" in page.texts["p"], "what the reason has at its end is said once"
    held, moved, cause = "T1 (run r1)", "live was 1 and is 0", "/etc/x is gone"
    assert page.data["rows"] == [[0, 0, "it is 0", "harden does it", "1", "[true]", "none", held, moved, cause]]


def test_what_fails_on_most_hosts_comes_first_and_waived_is_seen() -> None:
    states = {"a": (State.WAIVED, State.PASS, State.FAIL), "b": (State.PASS, State.FAIL, State.FAIL)}
    controls = ("boat.waived", "boat.once", "boat.twice")
    parts = [
        HostReport(name, "ok", findings=[finding(*each) for each in zip(found, controls, strict=True)])
        for name, found in states.items()
    ]
    page = Page(html(build(a_run(), parts)))
    assert [text for text in page.texts["h3"] if text.startswith("Title of")] == [
        f"Title of {control}" for control in reversed(controls)
    ]
    assert page.texts["strong"][1:] == ["b", "a"], "the worst host first"


def test_hosts_of_which_the_same_is_said_are_one() -> None:
    made = hosts(("a", State.FAIL), ("b", State.PASS), ("c", State.FAIL), ("d", State.FAIL))
    page = Page(html(made))
    assert page.data["groups"] == [[["a", "c", "d"], []], [["b"], [1]]]
    assert " and 2 like it" in page.texts["span"] + [f" {text}" for text in page.texts["span"]]
    assert html(made).count("icc is true") == 3, "once for the failing ones in HTML, and a row of each state"


def test_a_control_of_which_many_things_are_said_shows_the_first() -> None:
    parts = [
        HostReport(f"h{n:02}", "ok", findings=[finding(State.FAIL, reason=f"it is {min(n, 6)}")]) for n in range(30)
    ]
    whole = html(build(a_run(), [replace(part, os={"name": part.name}) for part in parts]))
    page, read = Page(whole), re.sub("<[^>]*>", "", whole)
    said = [text.strip() for text in page.texts["p"] if text.startswith(" it is")]
    assert len(said) == 5
    assert said[0] == "it is 6", "what most hosts say"
    assert "24 hosts: h06, h07" in read
    assert "h17 and 12 hosts more" in read
    assert "Something else is said on 2 hosts: open the hosts." in read


def test_the_host_on_which_more_of_high_severity_fails_is_the_worse_one() -> None:
    def part(name: str, severity: Severity, count: int) -> HostReport:
        findings = [finding(State.FAIL, f"boat.{severity.value}{n}", severity=severity) for n in range(count)]
        return HostReport(name, "ok", findings=findings)

    page = Page(html(build(a_run(), [part("low", Severity.LOW, 9), part("high", Severity.HIGH, 1)])))
    assert page.texts["strong"][1:] == ["high", "low"]
    assert [row[0] for row in page.data["rows"]] == [9, *range(9)], "and so is what it says"


def test_what_is_noted_of_a_host_and_said_of_a_control() -> None:
    report = hosts(("a", State.FAIL), ("b", State.FAIL))
    report["hosts"]["b"]["notes"] = ["sudo <wants> a password"]
    report["controls"] = {"boat.icc": {"why": "Else it sinks.", "by_hand": ""}}
    page = Page(html(report))
    assert "sudo <wants> a password" in page.texts["span"]
    assert "Else it sinks." in page.texts["p"]
    assert len(page.data["groups"]) == 2


def test_no_host_is_an_error() -> None:
    page = Page(html(build(a_run(), [])))
    assert "No host in the inventory, or none in the limit." in page.text
    assert page.data["groups"] == []


def test_hosts_without_findings_say_why_and_come_first() -> None:
    judged = HostReport("good", "ok", findings=[finding(State.PASS)])
    lost = [HostReport("off", "unreachable", "no route to it"), HostReport("bad", "error", "it broke")]
    page = Page(html(build(a_run(), [judged, *lost])))
    assert page.texts["strong"][1:] == ["bad", "off", "good"]
    assert {"no route to it", "it broke", "not judged"} <= {*page.texts["span"], *page.texts["td"]}
    assert [rows for _, rows in page.data["groups"]] == [None, None, []]


@pytest.mark.parametrize("kind", ["harden", "rollback"])
def test_what_was_changed(kind: Any) -> None:
    change = {"subject": "boat", "what": "write it", "path": "/etc/x", "journal": "3"}
    parts = [HostReport(name, "ok", findings=[finding(State.PASS)], changes=[change]) for name in "ab"]
    page = Page(html(build(a_run(kind), parts)))
    assert page.texts["td"][-2:] == ["write it ", "2"]
    assert ("New since last time" in page.texts["h2"]) == (kind == "harden")


def test_a_dry_run_and_a_part_are_said() -> None:
    run = replace(a_run("harden"), dry=True, only={"asked": ["boat"], "controls": 1, "of": 9})
    text = Page(html(build(run, [HostReport("a", "ok", findings=[finding(State.FAIL)])]))).text
    assert "This run was to show what it would do, and changed nothing." in text
    assert "Judged only 1 of 9 controls (only=boat)." in text


def test_a_picture_of_the_time_until_now() -> None:
    page = with_trend(html(a_report(finding(State.FAIL, reason=UNTIL_NOW))), "<svg></svg>")
    assert page.count("<h2>Until now</h2>\n<svg></svg>\n</section>\n<form") == 1
    assert UNTIL_NOW not in page
    assert "Until now" not in html(a_report(finding(State.PASS)))


# --- what is new


def kept(folder: Path, report: dict[str, Any]) -> None:
    assert files.write(folder, report) == []


def test_what_is_new_since_the_report_before(tmp_path: Path) -> None:
    kept(tmp_path, hosts(("a", State.PASS), ("b", State.FAIL), ("c", State.WAIVED), ("old", State.PASS)))
    now = hosts(("a", State.UNKNOWN), ("b", State.PASS), ("c", State.PASS), ("new", State.FAIL))
    now["run"]["id"] = "next"
    then = before(tmp_path, "next")
    assert then is not None
    found = news(then, fleet(now), only=False)
    assert (found.worse, found.mended) == ({0: ["a"]}, {0: ["b"]}), "what was waived held already"
    assert (found.added, found.gone, found.lost) == (["new"], ["old"], [])
    page = Page(html(now, before=then))
    assert "1 new" in page.texts["em"]
    kept(tmp_path, now)
    assert "in the report before, and not in this one: 1 host, old" in (tmp_path / "report.html").read_text().lower()


def test_what_got_worse_on_most_hosts_comes_first(tmp_path: Path) -> None:
    def report(run: str, states: dict[str, tuple[State, State]]) -> dict[str, Any]:
        controls = ("boat.a", "boat.b")
        return build(
            replace(a_run(), id=run),
            [
                HostReport(name, "ok", findings=[finding(*each) for each in zip(found, controls, strict=True)])
                for name, found in states.items()
            ],
        )

    good, bad = State.PASS, State.FAIL
    kept(tmp_path, report("first", {"h": (good, good), "i": (good, good)}))
    now = report("next", {"h": (bad, bad), "i": (good, bad)})
    page = Page(html(now, before=before(tmp_path, "next")))
    news = [text for text in page.texts["li"] if "host" in text]
    assert news == [": 2 hosts, h, i", ": 1 host, h"]
    assert {"new on 2 hosts", "new on 1 host", "2 new", "1 new"} <= {*page.texts["em"]}


def test_a_run_that_is_written_again_is_not_compared_with_itself(tmp_path: Path) -> None:
    kept(tmp_path, hosts(("a", State.PASS)))
    now = hosts(("a", State.FAIL))
    now["run"]["id"] = "next"
    for _ in range(2):
        kept(tmp_path, now)
        assert "1 new" in (tmp_path / "report.html").read_text()


def test_a_host_that_is_lost_is_news(tmp_path: Path) -> None:
    kept(tmp_path, hosts(("a", State.FAIL)))
    now = build(replace(a_run(), id="next"), [HostReport("a", "unreachable", "no route")])
    page = Page(html(now, before=before(tmp_path, "next")))
    assert "No longer judged" in page.text
    assert "Nothing" not in page.text


def test_a_host_that_was_not_judged_before_is_said(tmp_path: Path) -> None:
    kept(tmp_path, build(a_run("rollback"), [HostReport("a", "ok"), HostReport("b", "ok")]))
    judged = HostReport("a", "ok", findings=[finding(State.FAIL)])
    now = build(replace(a_run(), id="next"), [judged, HostReport("b", "ok")])
    page = Page(html(now, before=before(tmp_path, "next")))
    assert "Not judged in the report before: 1 host, a" in page.texts["p"]
    assert "Nothing has changed" not in page.text


def test_a_pipe_in_the_place_of_the_page_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.html")
    assert before(tmp_path, "next") is None


def test_a_proof_that_failed_is_said() -> None:
    report = a_report(finding(State.PASS)) | {"exit_code": 2}
    assert " A proof failed." in Page(html(report)).texts["h1"]


def test_a_part_of_the_controls_is_not_compared(tmp_path: Path) -> None:
    kept(tmp_path, hosts(("a", State.PASS)))
    run = replace(a_run(), id="next", only={"asked": ["boat"], "controls": 1, "of": 9})
    now = build(run, [HostReport("a", "ok", findings=[finding(State.FAIL)])])
    then = before(tmp_path, "next")
    assert then is not None
    assert not news(then, fleet(now), only=True)
    assert "so findings are not compared" in Page(html(now, before=then)).text


GOOD = html(a_report(finding(State.PASS)))
BROKEN = [
    "",
    "<html>",
    "[" * 99_999,
    BEGIN,
    f"{BEGIN}[1]</script>",
    f'{BEGIN}{{"form": 1}}</script>',
    BEGIN + "[" * 99_999 + "</script>",
    GOOD.replace('"form":1', '"form":2'),
    GOOD.replace('"usual":[0]', '"usual":[7]'),
    GOOD[: GOOD.index('"rows"')],
]


@pytest.mark.parametrize("page", BROKEN)
def test_a_page_that_cannot_be_read_is_no_report_before(page: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page)
    assert before(tmp_path, "next") is None
    assert "There was no earlier report" in Page(GOOD).text


# --- untrusted texts


def test_texts_stay_texts(tmp_path: Path) -> None:
    report = hostile_fleet()
    kept(tmp_path, report)
    page = Page(html(report, before=before(tmp_path, "next")))
    own = Page(html(a_report(*(finding(state, f"boat.{state.value}") for state in State))))
    assert {tag for tag, _ in page.elements} - {tag for tag, _ in own.elements} <= {"ul", "li", "em", "br"}
    assert [tag for tag, _ in page.elements].count("script") == 2
    attributes = {name for _, found in page.elements for name in found}
    assert not attributes & {"style", "src", "srcdoc", "action"}
    assert not {name for name in attributes if name.startswith("on")}
    assert all(re.fullmatch(r"#\w+", found["href"] or "") for _, found in page.elements if "href" in found)
    assert "<" not in re.sub(r"</?script[^>]*>", "", html(report).partition('id="data"')[2].partition("</script>")[0])
    assert HOSTILE in page.data["rows"][0]
    assert HOSTILE in page.text


def test_only_its_own_script_and_style_may_run() -> None:
    page = Page(html(hostile_fleet()))
    policy = next(found["content"] for _, found in page.elements if found.get("http-equiv")) or ""
    for text in (page.texts["script"][1], page.texts["style"][0]):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "http"):
        assert sink not in page.texts["script"][1]


# --- how large it gets


def size(report: dict[str, Any]) -> int:
    return len(html(report).encode())


def test_a_thousand_hosts() -> None:
    alike = a_fleet(1000, 150, lambda host, control: f"net.ipv4.conf.c{control} is {control} on disk and live")
    assert size(alike) < 400_000
    most = a_fleet(
        1000,
        150,
        lambda host, control: f"container {host * 7919:x} has it" if host % 50 == control else "everything has it",
    )
    assert len(fleet(most).groups) == 1000
    assert size(most) < 1_500_000


def test_hosts_that_say_much_get_no_more_room() -> None:
    long = "é<\"&'" * 20
    report = a_fleet(1000, 150, lambda host, control: f"{host} {control} {long}")
    page = html(report)
    assert len(page.encode()) < 3_000_000
    rows = Page(page).data["rows"]
    assert all(pair[0][1] <= pair[1][1] for pair in pairwise(rows)), "the worst first"
    assert {len(row) for row in rows[-100:]} == {2}, "of what has no room there is the state alone"
    assert rows[0][2].endswith(long)


def test_texts_are_cut() -> None:
    row = a_report(finding(State.FAIL, reason="y" * 2000, declared=["x" * 1000] * 400))
    texts = [text for text in Page(html(row)).data["rows"][0] if isinstance(text, str)]
    assert [len(text) for text in texts] == [800, 300]
    assert all(text.endswith("…") for text in texts)


def test_recorded_hosts() -> None:
    report = recorded_fleet(10)
    page = Page(html(report))
    assert len(html(report).encode()) < 500_000
    assert len(page.data["controls"]) > 200


# --- contrast


def colours(dark: bool) -> dict[str, str]:
    block = templates.text("report/report.css").split("@media (prefers-color-scheme: dark)")[dark]
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block.split("}")[0]))


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(dark: bool) -> None:
    found = colours(dark)
    grounds = [luminance(found.pop(name)) for name in ("ground", "panel")]
    found.pop("line")
    assert len(found) == 8
    for name, colour in found.items():
        for ground in grounds:
            light, low = sorted((luminance(colour), ground), reverse=True)
            assert (light + 0.05) / (low + 0.05) >= 4.5, name
