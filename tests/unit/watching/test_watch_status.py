"""What `hullproof watch status` says of watches, and `hullproof watch run` and `alerts` as commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploys.core.control import State
from hullproof import running
from hullproof.command import main
from hullproof.watching import rules, state, units
from tests.support.report import a_report, finding
from tests.support.watching import Machine, machine

REPORT = a_report(finding(State.FAIL))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine(tmp_path, monkeypatch)


def hullproof(*words: object) -> Result:
    return CliRunner().invoke(main, ["watch", *map(str, words)])


def watched(here: Machine, name: str, **properties: str) -> None:
    """A watch that is installed; systemctl answers with these properties for every unit."""
    for part in ("service", "timer"):
        (here.units / f"hullproof-watch-{name}.{part}").write_text(units._stamped("unit", "[Unit]\n"))
    said = "\n".join(f"echo '{key}={value}'" for key, value in properties.items())
    here.tool("systemctl", said)


RAN = {
    "ActiveState": "inactive",
    "Result": "success",
    "ExecMainStatus": "2",
    "ExecMainStartTimestamp": "Fri 2026-01-02 03:04:05 UTC",
    "ExecMainExitTimestamp": "Fri 2026-01-02 03:04:09 UTC",
    "NextElapseUSecRealtime": "Fri 2026-01-02 04:02:00 UTC",
}


def test_when_it_ran_how_it_ended_and_when_it_runs_next(here: Machine) -> None:
    watched(here, "fleet", **RAN)
    folder = here.folder / "state/fleet/reports/20260102T030405Z"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(REPORT))
    assert hullproof("status").output.splitlines() == [
        "fleet:",
        "  last look  Fri 2026-01-02 03:04:05 UTC, ended Fri 2026-01-02 03:04:09 UTC with exit code 2",
        "  next look  Fri 2026-01-02 04:02:00 UTC",
        f"  report     {folder}/report.json, 2026-01-02T03:04:09+00:00: something does not hold",
        f"  reports    1 in {folder.parent}",
    ]


@pytest.mark.parametrize(
    ("properties", "line"),
    [
        ({"ExecMainStartTimestamp": ""}, "  last look  none since this machine has started"),
        ({"ActiveState": "activating"}, "  last look  under way since Fri 2026-01-02 03:04:05 UTC"),
        ({"Result": "timeout", "ExecMainStatus": "15"}, " with exit code 15 (timeout), which is none"),
        ({"ExecMainStatus": "243"}, " with exit code 243, which is none of hullproof's: journalctl -u has more"),
        ({"NextElapseUSecRealtime": ""}, "  next look  none: the timer is inactive"),
    ],
)
def test_other_ends(here: Machine, properties: dict[str, str], line: str) -> None:
    watched(here, "fleet", **{**RAN, **properties})
    assert line in hullproof("status", "fleet").output


def test_a_unit_that_is_changed_missing_or_of_others_is_named(here: Machine) -> None:
    watched(here, "fleet", **RAN)
    timer, service = (here.units / f"hullproof-watch-fleet.{part}" for part in ("timer", "service"))
    timer.write_text(timer.read_text() + "# mine\n")
    service.unlink()
    said = hullproof("status").output
    assert f"{timer} was changed after it was installed" in said
    assert f"{service} is not there" in said
    timer.write_text("[Timer]\n")
    assert f"{timer} is not of hullproof" in hullproof("status").output


def test_without_systemd_the_reports_are_there_all_the_same(here: Machine) -> None:
    watched(here, "fleet")
    here.tool("systemctl", "echo 'no bus' >&2; exit 1")
    said = hullproof("status").output
    assert "  systemd    systemctl show failed: no bus" in said
    assert f"  reports    none in {here.folder}/state/fleet/reports" in said


def test_reports_that_one_may_not_read(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    watched(here, "fleet", **RAN)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(state.State, "newest", denied)
    assert "/state/fleet/reports cannot be read: Permission denied" in hullproof("status").output


def test_a_report_that_is_no_report_is_passed_over(here: Machine) -> None:
    watched(here, "fleet", **RAN)
    for name, text in (("20260102T030405Z", json.dumps(REPORT)), ("20260102T040405Z", "{"), ("20260102T050405Z", "[]")):
        folder = here.folder / "state/fleet/reports" / name
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(text)
    whole = here.folder / "state/fleet/reports/20260102T030405Z/report.json"
    assert f"  report     {whole}, 2026-01-02T03:04:09+00:00: something does not hold" in hullproof("status").output


def test_no_watch(here: Machine) -> None:
    assert hullproof("status").output.endswith("has no watch: hullproof watch install INVENTORY makes one\n")
    assert hullproof("status", "fleet").output.endswith("has no watch fleet; there is none\n")
    watched(here, "fleet", **RAN)
    result = hullproof("status", "feet")
    assert (result.exit_code, result.output.endswith("has no watch feet; there are fleet\n")) == (1, True)


def ended(here: Machine, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Runs end so."""
    path = here.folder / "report.json"
    path.write_text(json.dumps(REPORT))
    monkeypatch.setattr(running, "start", lambda command: running.Ended(code, REPORT["run"]["id"], path))


def test_run_by_hand_keeps_its_reports_in_ones_own_folder(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(here, monkeypatch, 3)
    result = hullproof("run", here.inventory)
    assert result.exit_code == 3, result.output
    assert (here.folder / "state/hullproof-watch/fleet/surveyed.json").exists()


def test_alerts_are_printed_as_they_are(here: Machine) -> None:
    assert hullproof("alerts").output == rules.rules()


def test_rules_are_promtools_to_judge(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here.folder / "mine.yml"
    path.write_text("groups: []\n")
    here.tool("promtool", 'echo "Checking $3"; echo "  SUCCESS: 0 rules found"; echo')
    assert hullproof("alerts", "--check", path).output == f"{path}: SUCCESS: 0 rules found\n"
    here.tool("promtool", 'echo "Checking $3"; echo "  FAILED:"; echo "$3: 1:1: parse error" >&2; exit 1')
    result = hullproof("alerts", "--check", path)
    assert (result.exit_code, result.output) == (1, f"Error: promtool refuses {path}: {path}: 1:1: parse error\n")
    monkeypatch.setenv("PATH", str(here.folder))
    assert "there is no promtool here" in hullproof("alerts", "--check", path).output
    assert (
        hullproof("alerts", "--check", here.folder / "no.yml").output == f"Error: {here.folder}/no.yml is not there\n"
    )
    assert "cannot be read: Is a directory" in hullproof("alerts", "--check", here.folder).output


def test_a_home_without_xdg_variables(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here.folder))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    ended(here, monkeypatch, 0)
    assert hullproof("run", here.inventory, "--name", "x").exit_code == 0
    assert os.listdir(here.folder / ".local/state/hullproof-watch") == ["x"]
