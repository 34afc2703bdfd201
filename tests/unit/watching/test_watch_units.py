"""The units of a watch as text."""

from __future__ import annotations

import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from hullproof.watching import units
from hullproof.watching.install import units as rendered
from hullproof.watching.units import Every, Watch, WatchError, plain, whose

FLEET = Path("/etc/hullproof/fleet.py")


def a_watch(**more: object) -> Watch:
    values = {"name": "fleet", "inventory": FLEET, "every": Every.parse("1h"), "user": "hullproof"}
    return Watch(**{**values, "state": Path("/var/lib/hullproof-watch/fleet"), **more})  # type: ignore[arg-type]


def read(text: str) -> dict[str, dict[str, str]]:
    """The settings; of one that is given twice the last."""
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return {section: dict(parser[section]) for section in parser.sections()}


@pytest.mark.parametrize(
    ("words", "calendar", "delay"),
    [("15m", "*:0/15", 90), ("1h", "0/1:00", 360), ("6h", "0/6:00", 900), ("1d", "daily", 900), ("1w", "weekly", 900)],
)
def test_how_often(words: str, calendar: str, delay: int) -> None:
    assert Every.parse(words) == Every(words, calendar, delay)


@pytest.mark.parametrize("words", ["", "1", "0m", "7m", "90m", "5h", "2d", "1y", "-1h", "1h\n", "9" * 99 + "m"])
def test_how_often_it_cannot_be(words: str) -> None:
    with pytest.raises(WatchError, match="want minutes that divide an hour"):
        Every.parse(words)


def test_the_service_runs_the_watch_as_its_user_and_may_write_to_its_own_folders_alone() -> None:
    key = Path("/etc/hullproof/key")
    watch = a_watch(policy="strict", metrics=Path("/var/lib/metrics"), credentials=(("ssh_key", key),))
    service = read(units.service(watch))["Service"]
    assert service["ExecStart"].split(" -m hullproof ")[1] == (
        "watch run /etc/hullproof/fleet.py --name fleet --state /var/lib/hullproof-watch/fleet --keep 100 "
        "--policy strict --metrics /var/lib/metrics"
    )
    assert service["User"] == "hullproof"
    assert service["LoadCredential"] == f"ssh_key:{key}"
    assert service["SuccessExitStatus"] == "2 3"
    assert (service["ProtectSystem"], service["ReadWritePaths"]) == ("strict", "-/var/lib/metrics")
    assert service["StateDirectory"] == "hullproof-watch/fleet"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize(("path", "home"), [("/etc/fleet.py", "yes"), ("/home/ops/fleet.py", "read-only")])
def test_home_folders_are_hidden_unless_something_is_there(
    path: str, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "PACKAGE", Path("/opt/hullproof/hullproof"))
    monkeypatch.setattr("sys.executable", "/opt/hullproof/bin/python")
    monkeypatch.setattr("sys.base_prefix", "/usr")
    assert read(units.service(a_watch(inventory=Path(path))))["Service"]["ProtectHome"] == home


def test_a_unit_of_the_operators_own_asks_for_nothing_that_takes_root() -> None:
    service = read(units.service(a_watch(user="")))
    assert not {"User", "StateDirectory", "ProtectSystem", "PrivateTmp"} & set(service["Service"])
    assert service["Service"]["NoNewPrivileges"] == "yes"
    assert "Wants" not in service["Unit"]


def test_the_timer_makes_up_for_what_was_missed_and_spreads() -> None:
    timer = read(units.timer(a_watch()))["Timer"]
    assert timer == {"OnCalendar": "0/1:00", "RandomizedDelaySec": "360", "Persistent": "true"}


def test_whose_a_unit_is() -> None:
    text = units.timer(a_watch())
    assert whose(text) == "ours"
    assert whose(text.replace("0/1:00", "0/2:00")) == "edited"
    assert whose("[Timer]\nOnCalendar=daily\n") == "foreign"
    assert whose("") == "foreign"


@pytest.mark.parametrize("path", ["/a b", "/a%h", "/a$b", '/a"b', "/a\nUser=root", "/a;b", "/a:b"])
def test_a_path_that_would_mean_something_in_a_unit_is_refused(path: str) -> None:
    with pytest.raises(WatchError, match="a path in a unit"):
        plain(Path(path))
    assert plain(Path("/srv/flotte-süd/a_1.py"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("user", ["root", ""])
def test_systemd_finds_nothing_to_say(user: str, tmp_path: Path) -> None:
    for name, text in rendered(a_watch(user=user, state=tmp_path)).items():
        (tmp_path / name).write_text(text)
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, tmp_path.iterdir())]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
