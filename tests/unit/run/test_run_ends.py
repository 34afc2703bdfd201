"""How a run ends that is cut short: an exception, a signal, no terminal. Real pyinfra processes, on this host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploys.run.options import KEYS
from tests.support.entry_points import PYINFRA, ROOT, report

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="changes want root")

# One subject with one control that fails and two changes, of which the first can be made to wait, or to raise.
DEPLOY = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from pyinfra.context import host
from deploys.run import baseline
from deploys.core.change import Change, Command, Subject
from deploys.core.control import Control, Severity, failed, passed
from deploys.run.operations import enforce, survey_again, undo
from deploys.core.policy import Rules
from deploys.run.run import begin, show_plan
from deploys.run.look import look, plan
from deploys.run.undo import choose
from facts.core import asked
from facts.core.record import Record
from facts.core.system import System

HERE = Path({here!r})
TIDE = f"while [ -e {{HERE}}/ebb ]; do sleep 0.1; done"
baseline.PATH = str(HERE / "state" / "baseline.json")
Record.script = Record.script.replace("/var/lib/hullproof", str(HERE / "state"))

def afloat(survey, policy):
    asked.note_alone()  # no survey says so: what comes of it is no other's
    return passed("it floats") if (HERE / "sailed").exists() else failed("it does not float")

def remedies(context):
    if context.failing("boat.afloat"):
        yield {first}
        yield Command("boat", "set sail", script=f"touch {{HERE}}/sailed", undo=f"rm {{HERE}}/sailed")

row = Control("boat.afloat", "The boat floats", Severity.HIGH, "Else it sinks.", afloat)
SUBJECTS = (Subject("boat", Rules, (row,), remedies, (System,)),)
run = begin({kind!r})
session = run.session(SUBJECTS)
look(session)
if {kind!r} == "rollback":
    choose(session, None)
    undo(name="undo")
else:
    plan(session)
    show_plan(session)
    enforce(name="boat", step="boat")
    survey_again(name="survey again")
"""
HEAVES = """Command("boat", "heave the anchor",
                      script=f"touch {HERE}/begun; {TIDE}", undo=f"touch {HERE}/undoing; {TIDE}")"""
RAISES = 'Change("boat", "heave the anchor")'  # no kind that a step can hold


class Boat:
    """A deploy of its own in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "p.yml").write_text("boat: {}\n")

    def begin(self, kind: str, *words: str, first: str = HEAVES) -> subprocess.Popen[str]:
        deploy = self.folder / f"{kind}.py"
        deploy.write_text(DEPLOY.format(root=str(ROOT), here=str(self.folder), kind=kind, first=first))
        return subprocess.Popen(
            [PYINFRA, *(words or ("-y",)), "@local", str(deploy), "--data", f"policy={self.folder}/p.yml",
             "--data", f"report={self.folder}"],
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=os.environ | {"PYINFRA_PROGRESS": "off", "HULLPROOF_JOURNAL": str(self.folder / "state" / "journal")},
        )  # fmt: skip

    def end(self, process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
        """The exit code, this host's part of the report, and all that was printed."""
        out, err = process.communicate(timeout=60)
        (host,) = report(self.folder)["hosts"].values()
        return process.returncode, host, " ".join((out + err).split())

    def cut_off(self, kind: str, mark: str, number: int) -> tuple[int, dict[str, Any], str]:
        """The end of a run that gets a signal while a change is under way on the host."""
        (self.folder / "ebb").touch()
        process = self.begin(kind)
        deadline = time.monotonic() + 60
        while not (self.folder / mark).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)  # pyinfra ends when what is under way on the host has ended
        time.sleep(0.5)
        process.send_signal(number)  # or at once, asked a second time
        return self.end(process)


@pytest.fixture
def boat(tmp_path: Path) -> Iterator[Boat]:
    yield Boat(tmp_path)
    (tmp_path / "ebb").unlink(missing_ok=True)  # what a run that was cut off left on the host ends


def test_a_run_that_reaches_its_end(boat: Boat) -> None:
    code, host, said = boat.end(boat.begin("harden"))
    assert (code, host["status"]) == (0, "ok"), said
    assert "1 pass. Exit code 0: everything holds." in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_what_was_done_and_what_was_not(boat: Boat, number: int) -> None:
    code, host, said = boat.cut_off("harden", "begun", number)
    assert code == 1, said
    assert host["status"] == "error"
    assert host["findings"] == [], "what was read before the change is no word on the host after it"
    assert host["error"].startswith("the run was cut off: 0 changes are known to be made, 0 were not begun; what was")
    assert "everything holds" not in said


def test_an_exception_in_an_operation_is_that_hosts_error_and_it_is_surveyed_again(boat: Boat) -> None:
    code, host, said = boat.end(boat.begin("harden", "-y", first=RAISES))
    assert code == 1, said
    assert host["status"] == "error"
    assert "TypeError: Change is no change that a step can hold" in host["error"]
    assert [finding["state"] for finding in host["findings"]] == ["fail"]
    assert "something went wrong on @local" in said


def test_a_rollback_that_is_cut_off_reports_no_survey_of_before(boat: Boat) -> None:
    assert boat.end(boat.begin("harden"))[0] == 0
    code, host, said = boat.cut_off("rollback", "undoing", signal.SIGINT)
    assert (code, host["status"], host["findings"]) == (1, "error", []), said


def test_without_a_terminal_a_run_that_would_ask_says_what_to_add(boat: Boat) -> None:
    code, host, said = boat.end(boat.begin("harden", "--parallel", "1"))
    assert (code, host["status"]) == (1, "error")
    assert "there is no terminal to ask on: add -y" in host["error"]
    assert "EOFError" not in said
    assert not (boat.folder / "begun").exists()


def test_dry_needs_no_terminal_and_is_at_its_end(boat: Boat) -> None:
    code, host, said = boat.end(boat.begin("harden", "--dry"))
    assert (code, host["status"], host["changes"]) == (2, "ok", []), said
    assert not (boat.folder / "begun").exists()
    assert boat.end(boat.begin("rollback", "--dry"))[0] == 0


def test_a_report_that_cannot_be_written_costs_the_report_alone(boat: Boat) -> None:
    (boat.folder / "report.json").mkdir()
    process = boat.begin("harden")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    table = " ".join(out.split())
    assert f"1 pass. Exit code 1: {boat.folder}/report.json could not be written" in table, err
    assert (boat.folder / "junit.xml").exists()


def test_json_without_consent_shows_and_ends(boat: Boat) -> None:
    process = boat.begin("harden", "--json")
    out, _ = process.communicate(timeout=60)
    assert json.loads(out)
    assert process.returncode == 2
    assert not (boat.folder / "begun").exists()


FRAME = {"exec sh -s": ["@hullproof n", "@n done"]}


def test_one_hosts_wrong_policy_and_mistyped_data_are_its_error_alone(tmp_path: Path) -> None:
    hosts: list[tuple[str, dict[str, Any]]] = [
        ("@fake/typo", {"policy": "strickt"}),
        ("@fake/good", {}),
        ("@fake/key", {"polcy": "strict"}),
        ("@fake/own", {"port": 22, "role": "web", "runc": "1.2", "export": "nfs", "reports": 1, "match": "x"}),
    ]
    rows = [(name, {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": FRAME} | data) for name, data in hosts]
    (tmp_path / "hosts.py").write_text(f"hosts = {rows!r}")
    done = subprocess.run(
        [PYINFRA, str(tmp_path / "hosts.py"), str(ROOT / "deploys" / "drift.py"), "--data", f"report={tmp_path}"],
        cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    ends = {name: host["error"] for name, host in report(tmp_path)["hosts"].items()}
    assert 'no policy "strickt"; did you mean "strict"?' in ends["@fake/typo"]
    assert ends["@fake/key"] == "the inventory's data gives polcy: there is no such option; did you mean policy?"
    assert ends["@fake/good"] is ends["@fake/own"] is None
    assert report(tmp_path)["hosts"]["@fake/good"]["findings"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("polcy=strict", "--data polcy: there is no such option; did you mean policy?"),
        (
            "profile=strict",
            f"--data profile: there is no such option; there are {', '.join(KEYS)}",
        ),
        ("policy", "--data policy: want KEY=VALUE"),
        ("policy=", "--data policy=: the value is missing"),
    ],
)
def test_an_unknown_option_is_refused_before_any_host_is_touched(tmp_path: Path, given: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyinfra", "-y", "@fake/web", "deploys/drift.py", "--data", given,
         "--data", f"report={tmp_path}"],
        cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr
    assert f"Exit code 1: {said}" in " ".join(done.stdout.split())
    assert "Connected" not in done.stderr


def test_out_of_reach_is_reported_with_its_reason(tmp_path: Path) -> None:
    closed = {"ssh_hostname": "127.0.0.1", "ssh_port": 9, "ssh_strict_host_key_checking": "no"}
    (tmp_path / "hosts.py").write_text(f"hosts = [('closed', {closed!r}), ('no-such-name.invalid', {{}})]")
    subprocess.run(
        [PYINFRA, "-y", str(tmp_path / "hosts.py"), "deploys/drift.py", "--data", f"report={tmp_path}"],
        cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    ends = {name: host["error"] for name, host in report(tmp_path)["hosts"].items()}
    assert ends["closed"].startswith("Could not connect (")
    assert ends["closed"].endswith(": Connection refused")
    assert ends["no-such-name.invalid"].startswith("Could not resolve hostname")


def test_a_foreign_deploy_is_not_answered_for_and_two_kinds_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(
        f"from pyinfra.operations import server\nserver.shell(commands='touch {tmp_path}/made')\n"
    )
    words = ["@local", str(ROOT / "deploys" / "drift.py"), "--data", f"report={tmp_path}"]
    asked = [[*words[:2], str(tmp_path / "other.py"), *words[2:]], ["-y", *words[:2], "deploys/harden.py", *words[2:]]]
    ends = [
        subprocess.run(
            [PYINFRA, *each], cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120
        )
        for each in asked
    ]
    assert not (tmp_path / "made").exists()
    assert ends[1].returncode == 1
    assert "drift and harden cannot be one run" in ends[1].stderr


def test_no_wait_would_reboot_all_hosts_at_once(boat: Boat) -> None:
    code, host, _ = boat.end(boat.begin("harden", "-y", "--no-wait"))
    assert (code, host["changes"]) == (1, [])
    assert "--no-wait" in host["error"]
