"""Watches put into systemd and taken out of it: what is written, and what keeps it from being written."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hullproof.command import main
from hullproof.watching import install, systemd
from tests.support.watching import Machine, machine

ME = pwd.getpwuid(os.getuid()).pw_name
UNITS = ["hullproof-watch-fleet.service", "hullproof-watch-fleet.timer"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which the tests' user is root, and the watch's user."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(install, "TEMPORARY", ())  # where tests are
    monkeypatch.setattr(install, "_identity", lambda watch: {"cwd": "/"})
    return machine(tmp_path, monkeypatch)


def hullproof(*words: object) -> Result:
    return CliRunner().invoke(main, ["watch", *map(str, words)])


def installed(here: Machine, *words: object) -> Result:
    return hullproof("install", here.inventory, "--user", ME, *words)


def refused(result: Result) -> str:
    """The one error."""
    assert result.exit_code == 1, result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output.removeprefix("Error: ").strip()


def written(here: Machine) -> list[str]:
    return sorted(path.name for path in here.units.iterdir())


def test_it_is_written_checked_and_started(here: Machine) -> None:
    result = installed(here)
    assert result.exit_code == 0, result.output
    assert written(here) == UNITS
    assert {path.stat().st_mode & 0o777 for path in here.units.iterdir()} == {0o644}
    told = [call for call in here.calls if " show" not in call]
    assert re.fullmatch(r"systemd-analyze verify --man=no --recursive-errors=no \S+\.service \S+\.timer", told[0])
    assert told[1:] == [
        "systemctl --no-pager daemon-reload",
        "systemctl --no-pager enable hullproof-watch-fleet.timer",
        "systemctl --no-pager restart hullproof-watch-fleet.timer",
    ]
    assert "look now: systemctl start hullproof-watch-fleet.service" in result.output


def test_again_with_another_interval_takes_its_place(here: Machine) -> None:
    installed(here)
    assert installed(here, "--every", "1d").exit_code == 0
    assert "OnCalendar=daily" in (here.units / UNITS[1]).read_text()


def test_dry_shows_the_units_and_writes_nothing(here: Machine) -> None:
    result = installed(here, "--dry")
    assert result.exit_code == 0
    assert f"# {here.units / UNITS[0]}\n# Written by" in result.output
    assert "OnCalendar=0/1:00" in result.output
    assert (written(here), here.calls) == ([], [])


def test_units_of_the_operators_own(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = hullproof("install", here.inventory, "--user-units")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (here.folder / "config/systemd/user").iterdir()) == UNITS
    assert (here.folder / "state/hullproof-watch/fleet").stat().st_mode & 0o777 == 0o700
    assert all(" --user " in call for call in here.calls)
    assert "loginctl enable-linger" in result.output


@pytest.mark.parametrize(
    ("text", "why"),
    [("[Timer]\nOnCalendar=daily\n", "was not written by hullproof"), (None, "was changed after hullproof wrote it")],
)
@pytest.mark.parametrize("command", ["install", "remove"])
def test_what_is_not_ours_or_was_changed_after_us_stays(
    here: Machine, text: str | None, why: str, command: str
) -> None:
    installed(here)
    path = here.units / UNITS[1]
    path.write_text(text or path.read_text() + "# mine\n")
    before, calls = path.read_text(), len(here.calls)
    said = refused(installed(here, "--every", "1d") if command == "install" else hullproof("remove", "fleet"))
    assert said.startswith(f"{path} {why}, so it stays as it is: ")
    assert path.read_text() == before
    assert "OnCalendar" not in (here.units / UNITS[0]).read_text()
    assert [call for call in here.calls[calls:] if "show-environment" not in call] == []


def test_a_link_in_its_place_is_not_followed(here: Machine) -> None:
    (here.units / UNITS[0]).symlink_to("/dev/null")  # masked
    assert "was not written by hullproof" in refused(installed(here))


def test_a_unit_of_a_package_is_not_hidden(here: Machine) -> None:
    (here.folder / "others" / UNITS[0]).write_text("")
    assert refused(installed(here)).endswith("a unit of that name would hide it: choose another --name")
    assert written(here) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hosts = [\n", "SyntaxError"),
        ("hosts = []\n", "it names no host"),
        ('hosts = ["@local"]\n', "has @local, which a service in its sandbox would judge by that sandbox"),
        ("raise RuntimeError('no vault')\n", "no vault"),
    ],
)
def test_an_inventory_that_cannot_be_used(here: Machine, text: str, why: str) -> None:
    here.inventory.write_text(text)
    assert why in refused(installed(here))
    assert written(here) == []


def test_an_inventory_that_is_not_there(here: Machine) -> None:
    here.inventory.unlink()
    assert refused(installed(here)) == f"the inventory {here.inventory} cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--every", "7m"], "--every 7m: want minutes that divide an hour"),
        (["--policy", "nope"], "nope"),
        (["--name", "a/b"], "the name 'a/b' is none for a unit"),
        (["--user", "no-such-user"], "there is no user no-such-user: make it, or leave --user out"),
        (["--ssh-key", "/nonexistent/key"], "the file for ssh_key, /nonexistent/key, is not there"),
        (["--metrics", "/nonexistent/dir"], "may not write to /nonexistent/dir: install -d -m 2775 -g"),
        (["--user-units", "--ssh-key", "/k"], "units of your own use your own keys"),
        (["--keep", "0"], "0 is not in the range"),
    ],
)
def test_what_was_asked_for_makes_no_sense(here: Machine, words: list[str], why: str) -> None:
    result = installed(here, *words)
    assert result.exit_code == 1
    assert why in result.output
    assert written(here) == []


def test_what_systemd_refuses_is_not_written(here: Machine) -> None:
    here.tool("systemd-analyze", "echo 'fleet.service:3: Unknown key'")
    assert refused(installed(here)) == "systemd-analyze verify finds the units wrong: fleet.service:3: Unknown key"
    here.tool("systemd-analyze", "echo broken; exit 1")
    assert "broken" in refused(installed(here))
    assert written(here) == []


def test_a_file_that_the_user_may_not_read_is_named(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_as_user", lambda watch, words: words[-1] != str(here.inventory))
    assert refused(installed(here)) == (
        f"{ME} may not read {here.inventory}: move it to where it may (/opt, /etc), or choose another --user"
    )


def test_its_user_is_made_where_it_is_missing(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "USER", "hullproof-test-user")
    here.tool("systemd-sysusers", f"cat >{here.folder}/made")
    assert hullproof("install", here.inventory, "--user", "hullproof-test-user").exit_code == 0
    assert (here.folder / "made").read_text().startswith('u hullproof-test-user - "hullproof watch" ')
    here.tool("systemd-sysusers", "echo 'no ids left' >&2; exit 1")
    again = hullproof("install", here.inventory, "--user", "hullproof-test-user")
    assert refused(again) == "the user hullproof-test-user could not be made: no ids left"


def test_only_root_changes_units_of_the_system(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "use sudo, or --user-units" in refused(installed(here))
    assert "use sudo, or --user-units" in refused(hullproof("remove", "fleet"))


def test_without_systemd(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "BOOTED", here.folder / "nonexistent")
    why = "systemd does not run on this machine"
    assert refused(installed(here)) == f"{why}, so nothing was installed; --dry shows the units"
    assert refused(hullproof("remove", "fleet")) == why
    monkeypatch.setenv("PATH", str(here.folder))
    assert refused(installed(here)).startswith("there is no systemctl on this machine, ")


def test_a_manager_that_does_not_answer(here: Machine) -> None:
    here.tool("systemctl", "echo 'Failed to connect to bus' >&2; exit 1")
    said = refused(installed(here))
    assert "Failed to connect to bus, so nothing was installed" in said


def test_a_folder_of_units_that_cannot_be_written(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(install, "write_whole", full)
    assert refused(installed(here)) == "the units could not be written: [Errno 28] No space left on device"


def test_removed_are_the_units_and_the_metrics_and_no_report(here: Machine) -> None:
    metrics = here.folder / "metrics"
    metrics.mkdir()
    installed(here, "--metrics", metrics)
    for name in ("hullproof-fleet.prom", "hullproof-other.prom"):
        (metrics / name).write_text("")
    report = here.folder / "state/fleet/reports/20260102T030405Z/report.json"
    report.parent.mkdir(parents=True)
    report.write_text("{}")
    result = hullproof("remove", "fleet")
    assert result.exit_code == 0, result.output
    assert written(here) == []
    assert [path.name for path in metrics.iterdir()] == ["hullproof-other.prom"]
    assert report.exists()
    assert here.calls[-3:] == [
        "systemctl --no-pager disable --now hullproof-watch-fleet.timer",
        "systemctl --no-pager stop hullproof-watch-fleet.service",
        "systemctl --no-pager daemon-reload",
    ]
    assert refused(hullproof("remove", "fleet")).endswith("there is no such watch")


def test_a_watch_of_another_inventory_is_not_replaced(here: Machine) -> None:
    installed(here)
    other = here.folder / "other" / "fleet.py"
    other.parent.mkdir()
    other.write_text('hosts = ["db1"]\n')
    assert refused(hullproof("install", other, "--user", ME)) == (
        f"the watch fleet looks at {here.inventory}: choose another --name, or remove it first"
    )
    assert hullproof("install", other, "--user", ME, "--name", "db").exit_code == 0


def test_metrics_that_move_leave_none_behind(here: Machine) -> None:
    old, new = here.folder / "old", here.folder / "new"
    for folder in (old, new):
        folder.mkdir()
    installed(here, "--metrics", old)
    (old / "hullproof-fleet.prom").write_text("")
    assert installed(here, "--metrics", old).exit_code == 0
    assert (old / "hullproof-fleet.prom").exists()
    assert installed(here, "--metrics", new).exit_code == 0
    assert not (old / "hullproof-fleet.prom").exists()


def test_what_a_service_would_not_see_is_refused(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "TEMPORARY", (str(here.folder),))
    assert "is among temporary files, of which a service sees none" in refused(installed(here))
