"""What moved since the baseline, and its cause: from a record that may hold anything."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.control import Control, Finding, Severity, failed
from deploys.run.baseline import with_drift
from facts.core.reading import Block, Section, Unknown
from facts.core.record import Record, RecordReading, Watched
from facts.core.survey import Survey

FILE = Watched("/etc/x.conf", "a" * 64, "b" * 64, 1790000000, "root")
CONTROL = Control("boat.icc", "It holds", Severity.LOW, "Else it sinks.", lambda *_: failed("no"))
KEPT = {"time": "2026-09-01T00:00:00Z", "run": "r", "findings": {"boat.icc": {"state": "pass", "disk": 1, "live": 1}}}


def cause(**more: Any) -> str:
    values: dict[str, Any] = {"baseline": KEPT, "watched": (FILE,)}
    values |= dict.fromkeys(("journals", "spent", "unread", "packages"), ())
    survey = Survey({Record: RecordReading(**{**values, **more})})
    [found] = with_drift([Finding(CONTROL, failed("no", declared=1, disk=2, live=2))], survey)
    return str((found.drift or {}).get("cause"))


@pytest.mark.parametrize(("modified", "said"), [(1790000000, "2026-09-21"), (10**19, "9999-12-31"), (0, "1970-01-01")])
def test_a_file_says_when_it_was_changed_whatever_the_clock(modified: int, said: str) -> None:
    assert f"/etc/x.conf was changed {said}" in cause(watched=(Watched("/etc/x.conf", "a", "b", modified, "root"),))


@pytest.mark.parametrize("kept", [None, Unknown("no JSON"), {}, {"findings": []}, {"findings": {"boat.icc": []}}])
def test_without_a_baseline_nothing_has_moved(kept: Any) -> None:
    assert cause(baseline=kept) == "None"


def test_packages_are_named_and_lines_of_another_form_are_not() -> None:
    lines = "2026-11-22 20:29:43 install iptables:amd64 <none> 1.8.11-2\n2027-cut\n\n zz\n"
    reading = Record.read(Section({"packages": Block(0, lines)}))
    assert isinstance(reading, RecordReading)
    assert reading.packages == (lines.split("\n")[0],)
    said = cause(packages=reading.packages, watched=())
    assert said == "package install iptables:amd64 <none> 1.8.11-2 at 2026-11-22 20:29:43"
