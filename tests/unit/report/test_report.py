"""The report and its forms, with hosts that say nasty things."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import WriteFile
from deploys.core.control import Severity, State
from deploys.core.text import clean
from deploys.report import files as report_files
from deploys.report import formats, report, terminal
from deploys.report.junit import junit
from deploys.report.report import HostReport, Kind, build, outcome
from tests.support.report import KERNEL, OS, a_report, a_run, finding

KINDS: tuple[Kind, ...] = ("drift", "harden", "provision", "rollback")
NASTY = "\x1b[2J\x1b]0;owned\x07\x9b31mred\x00</script><b>&\"'\\ \u202egnp\u200b\ud800\ufffe\ufeff]]>\r\n\tend"


# --- the object


def test_the_object() -> None:
    changes = [report.change_json(WriteFile("boat", "write it", path="/etc/x", text="", before=None), "/var/lib/j/1")]
    made = a_report(finding(State.PASS, declared=False, disk=False, live=False), changes=changes)
    assert made == {
        "schema": 1,
        "tool": {"name": "hullproof", "version": report.version()},
        "run": {
            "id": "20260102-030405",
            "kind": "drift",
            "started": "2026-01-02T03:04:05+00:00",
            "finished": "2026-01-02T03:04:09+00:00",
            "policy": "baseline",
            "dry": False,
            "problem": "",
            "docs": "",
            "only": None,
        },
        "controls": {"boat.icc": {"why": "Else it sinks.", "by_hand": ""}},
        "hosts": {
            "web1": {
                "status": "ok",
                "error": None,
                "notes": [],
                "os": OS,
                "kernel": KERNEL,
                "findings": [
                    {
                        "control": "boat.icc",
                        "subject": "boat",
                        "title": "Title of boat.icc",
                        "severity": "high",
                        "state": "pass",
                        "declared": False,
                        "disk": False,
                        "live": False,
                        "reason": "icc is true",
                        "next": None,
                        "impact": "none",
                        "references": ["CIS-1"],
                        "drift": None,
                    }
                ],
                "changes": [
                    {"subject": "boat", "what": "write it", "path": "/etc/x", "journal": "/var/lib/j/1"},
                ],
                "waivers": [],
                "summary": {state.value: int(state is State.PASS) for state in State},
            }
        },
        "summary": {
            "hosts": {"ok": 1, "unreachable": 0, "error": 0},
            "findings": {state.value: int(state is State.PASS) for state in State},
            "waivers": {"findings": 0, "expiring": [], "past": [], "unnamed": [], "unneeded": []},
        },
        "exit_code": 0,
    }


@pytest.mark.parametrize(
    ("state", "drift", "harden"),
    [
        (State.PASS, 0, 0),
        (State.NOT_APPLICABLE, 0, 0),
        (State.WAIVED, 0, 0),
        (State.PENDING_RESTART, 2, 0),
        (State.PENDING_REBOOT, 2, 0),
        (State.FAIL, 2, 2),
        (State.UNKNOWN, 3, 3),
    ],
)
def test_exit_codes(state: State, drift: int, harden: int) -> None:
    codes = {kind: a_report(finding(State.PASS), finding(state), kind=kind)["exit_code"] for kind in KINDS}
    assert codes == {"drift": drift, "harden": harden, "provision": harden, "rollback": 0}


@pytest.mark.parametrize(
    ("states", "code", "words"),
    [
        ([State.PASS, State.NOT_APPLICABLE], 0, "everything holds"),
        ([State.WAIVED], 0, "everything holds"),
        ([State.PASS, State.UNKNOWN, State.FAIL], 2, "something does not hold"),
        ([State.PASS, State.UNKNOWN], 3, "nothing is known to fail, but 1 finding could not be judged"),
        ([State.NOT_APPLICABLE, State.NOT_APPLICABLE], 1, "the policy demands nothing on web1"),
        ([], 1, "the policy demands nothing on web1"),
        ([State.UNKNOWN, State.NOT_APPLICABLE], 1, "nothing could be judged on web1"),
    ],
)
def test_absence_is_never_success(states: list[State], code: int, words: str) -> None:
    made = a_report(*(finding(state, f"boat.{number}") for number, state in enumerate(states)))
    assert (made["exit_code"], outcome(made).words) == (code, words)


def test_one_host_on_which_nothing_is_demanded_spoils_the_run() -> None:
    good, free = HostReport("a", "ok", findings=[finding(State.PASS)]), HostReport("b", "ok")
    assert outcome(build(a_run(), [good, free])).words == "the policy demands nothing on b"


def test_a_rollback_is_judged_by_what_it_rolled_back() -> None:
    row = {"subject": "boat", "what": "undone: it", "journal": "1"}
    assert outcome(a_report(finding(State.FAIL), kind="rollback", changes=[row])).words == "rolled back"
    assert outcome(a_report(kind="rollback")).words == "nothing was rolled back"
    broken = build(a_run("rollback"), [HostReport("a", "error", "undo of it: no", changes=[row])])
    assert outcome(broken) == report.Outcome(1, "something went wrong on a")


@pytest.mark.parametrize("kind", KINDS)
def test_what_could_not_be_judged_wins(kind: Kind) -> None:
    failing = HostReport("a", "ok", findings=[finding(State.FAIL)])
    assert build(a_run(kind), [])["exit_code"] == 1
    assert build(a_run(kind), [failing, HostReport("b", "unreachable", "no route")])["exit_code"] == 1
    assert build(a_run(kind), [failing, HostReport("b", "error", "broke")])["exit_code"] == 1


# --- untrusted text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("plain ü 漢 👍🏽", "plain ü 漢 👍🏽"),
        ("a\x1b[2J\x1b[1;31mb\x1b[0m", "ab"),
        ("a\x9b2Jb", "ab"),
        ("a\x1b]0;title\x07b", "a]0;titleb"),  # our words after an unended sequence must stay
        ("a\x1b[", "a["),
        ("a\r\nb\tc\x0bd", "a  b c d"),
        ("\x00\x07\x08\x7f\x85x", " x"),
        ("\u202eabc\u2066\u200f\u200b\u2060\ufeff\u00ad", "abc"),
        ("\u2028\u00a0", "  "),
        ("\ud800x\udfff", "\ufffdx\ufffd"),
        ("\ufffe\uffff\U000e0041", ""),
        (b"\xff\x1b[2Jx", "\ufffdx"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1.5, 1.5),
        (True, True),
        (None, None),
        (2**70, "0x400000000000000000"),
        ({1: {2, 1}}, {"1": [1, 2]}),
        ({"a\x1bb": ("x\x00",)}, {"ab": ["x"]}),
        (Path("/etc"), "/etc"),
        (State.PASS, "pass"),
    ],
)
def test_clean(given: Any, wanted: Any) -> None:
    assert clean(given) == wanted


def test_clean_bounds() -> None:
    assert clean("x" * 1_000_000) == "x" * 1999 + "…"
    assert len(clean("\x1b" * 500_000 + "x" * 500_000)) <= 2000
    assert clean("x" * 2000) == "x" * 2000
    assert clean(list(range(1000)))[499:] == [499, "… 500 more"]
    assert len(clean({str(n): n for n in range(1000)})) == 501
    deep: Any = "end"
    for _ in range(500):
        deep = [deep]
    assert json.dumps(clean(deep)) == "[" * 12 + '"\\u2026"' + "]" * 12


def test_clean_takes_dataclasses_apart() -> None:
    @dataclass(frozen=True)
    class Reading:
        name: str

    assert clean([Reading("a\x1b")]) == [{"name": "a"}]


# --- the other forms


@pytest.fixture
def nasty() -> dict[str, Any]:
    bad = {NASTY: [NASTY, {"x": NASTY}]}
    findings = [
        finding(state, f"boat.{state.value}", NASTY, declared=bad, disk=NASTY, live=[NASTY], severity=severity)
        for state, severity in zip(State, [*Severity, *Severity, Severity.LOW], strict=True)
    ]
    changes = [{"subject": "boat", "what": NASTY, "path": NASTY, "journal": NASTY}]
    host = HostReport(NASTY, "error", NASTY, {"name": NASTY}, {"release": NASTY, "build": NASTY}, findings, changes)
    return build(a_run(), [host, HostReport("quiet", "unreachable", "timed out")])


def test_no_form_lets_anything_through(nasty: dict[str, Any], tmp_path: Path) -> None:
    report_files.write(tmp_path, nasty)
    for path in tmp_path.iterdir():
        text = path.read_text(encoding="utf-8")
        assert all(letter.isprintable() or letter == "\n" for letter in text), path.name
    table = terminal.render_table(nasty, False, 80)
    assert all(letter.isprintable() or letter == "\n" for letter in table)


def test_written_whole(nasty: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert report_files.write(folder, nasty) == []
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "old").hardlink_to(folder / "report.json")
    report_files.write(folder, a_report())
    assert json.loads((folder / "old").read_text()) == nasty  # whoever reads it meanwhile has a whole one
    (folder / "old").unlink()
    assert sorted(path.name for path in folder.iterdir()) == [
        "junit.xml", "metrics.prom", "report.html", "report.json", "report.sarif",
    ]  # fmt: skip
    assert json.loads((folder / "report.json").read_text()) == a_report()


def test_a_failed_write_leaves_the_old_report(
    nasty: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_files.write(tmp_path, a_report())
    before = (tmp_path / "report.json").read_text()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    problems = report_files.write(tmp_path, nasty)
    assert problems[0] == f"{tmp_path}/report.json could not be written: [Errno 28] No space left on device"
    assert len(problems) == 5
    assert (tmp_path / "report.json").read_text() == before
    assert not list(tmp_path.glob(".*"))


class _Page(HTMLParser):
    """Collects the tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html(nasty: dict[str, Any]) -> None:
    page = _Page(formats.html(nasty))
    assert not page.tags & {"b", "img", "iframe"}
    assert "</script><b>&\"'\\" in page.text
    assert "No host in the inventory" in _Page(formats.html(build(a_run(), []))).text


def test_sarif(nasty: dict[str, Any]) -> None:
    whole = json.loads("".join(formats.sarif(nasty)))
    [run] = whole["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    results = {result["ruleId"]: result for result in run["results"]}
    assert whole["version"] == "2.1.0"
    assert {control: result["level"] for control, result in results.items()} == {
        "boat.fail": "warning", "boat.pending-restart": "note", "boat.pending-reboot": "error", "boat.unknown": "note",
        "boat.waived": "note",
    }  # fmt: skip
    assert [control for control, result in results.items() if "suppressions" in result] == ["boat.waived"]
    assert all(rules[result["ruleIndex"]] == control for control, result in results.items())
    assert run["invocations"][0]["executionSuccessful"] is False
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 2
    assert run["invocations"][0]["startTimeUtc"] == "2026-01-02T03:04:05Z"


def test_junit(nasty: dict[str, Any]) -> None:
    root = ET.fromstring("".join(junit(nasty)))
    outcomes = {case.get("name"): [child.tag for child in case] for case in root[0]}
    assert outcomes == {
        "answers": ["error"],
        "boat.pass": [],
        "boat.fail": ["failure"],
        "boat.pending-restart": ["failure"],
        "boat.pending-reboot": ["failure"],
        "boat.not-applicable": ["skipped"],
        "boat.waived": ["skipped"],
        "boat.unknown": ["error"],
    }
    counts = ("tests", "failures", "errors", "skipped")
    assert [root[0].get(name) for name in counts] == ["8", "3", "2", "2"]
    assert [root.get(name) for name in counts] == ["9", "3", "3", "2"]


def test_junit_of_no_host_is_not_green() -> None:
    assert ET.fromstring("".join(junit(build(a_run(), [])))).get("errors") == "1"
