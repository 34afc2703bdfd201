"""The service and the timer of a watch, as text, and whose a unit file is that is already there."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from deploys.core import templates
from deploys.core.text import clean_text
from hullproof import PACKAGE

PREFIX = "hullproof-watch-"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # what systemd takes in a unit's name, and a file's
PLAIN = re.compile(r"[\w./@+,=-]+")
HEAD = "# Written by `hullproof watch install`; sha256 of what follows: "
ADVICE = "# Your own settings belong into a drop-in (`systemctl edit {unit}`), which no install and no remove touches."
PARTS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}  # seconds
MOST_DELAY = 900  # seconds


class WatchError(Exception):
    """What keeps a watch from being installed, run or removed, in one sentence that says what to do."""


@dataclass(frozen=True)
class Every:
    """How often. `calendar` is systemd's, since only such a timer makes up for a look that was missed."""

    words: str
    calendar: str
    delay: int  # seconds, at random

    @classmethod
    def parse(cls, words: str) -> Every:
        """`15m`, `6h`, `1d`, `1w`. Raises WatchError for what does not divide an hour, or a day, evenly."""
        found = re.fullmatch(r"([1-9][0-9]{0,3})([mhdw])", words)
        number, unit = (int(found[1]), found[2]) if found else (0, "")
        calendars = {
            "m": f"*:0/{number}" if number and 60 % number == 0 else "",
            "h": f"0/{number}:00" if number and 24 % number == 0 else "",
            "d": "daily" if number == 1 else "",
            "w": "weekly" if number == 1 else "",
        }
        calendar = calendars.get(unit)
        if not calendar:
            raise WatchError(
                f"--every {words}: want minutes that divide an hour (15m), hours that divide a day (1h, 6h), 1d or 1w"
            )
        return cls(words, calendar, min(number * PARTS[unit] // 10, MOST_DELAY))


@dataclass(frozen=True)
class Watch:
    """A watch as it is installed. `user` is "" for one of the operator's own units. Paths are absolute; `state` is
    where its reports are. `credentials`: what systemd hands to the service, by name, of files that its user may not
    read."""

    name: str
    inventory: Path
    every: Every
    user: str
    state: Path
    policy: str = ""
    keep: int = 100
    metrics: Path | None = None
    credentials: tuple[tuple[str, Path], ...] = ()

    @property
    def unit(self) -> str:
        return PREFIX + self.name

    @property
    def policy_file(self) -> Path | None:
        """Of a policy that is a file and no name."""
        return Path(self.policy) if "/" in self.policy else None


def plain(path: Path) -> Path:
    """The absolute path. Raises WatchError where it has a character that means something in a unit file."""
    path = path.absolute()
    if not PLAIN.fullmatch(str(path)):
        raise WatchError(f"{clean_text(str(path))}: a path in a unit may have letters, digits and ._/@+,=- alone")
    return path


def service(watch: Watch) -> str:
    """The text of the service."""
    paths = [PACKAGE, Path(sys.executable), Path(sys.base_prefix), watch.inventory]
    paths += [path for path in (watch.policy_file, watch.metrics) if path]
    unit = f"{watch.unit}.service"
    values = {"command": " ".join(_command(watch)), "packages": PACKAGE.parent, "in_home": any(map(_in_home, paths))}
    return _stamped(unit, templates.render("watch/watch.service.j2", watch=watch, **values))


def timer(watch: Watch) -> str:
    """The text of the timer."""
    return _stamped(f"{watch.unit}.timer", templates.render("watch/watch.timer.j2", watch=watch))


def _command(watch: Watch) -> list[str]:
    """The service's command line; no word of it needs quotes (`plain`)."""
    words = [sys.executable, "-P", "-m", "hullproof", "watch", "run", str(watch.inventory)]
    words += ["--name", watch.name, "--state", str(watch.state), "--keep", str(watch.keep)]
    if watch.policy:
        words += ["--policy", watch.policy]
    if watch.metrics:
        words += ["--metrics", str(watch.metrics)]
    return words


def _in_home(path: Path) -> bool:
    """Whether the path is in what ProtectHome= hides."""
    return any(path.resolve().is_relative_to(home) for home in ("/home", "/root", "/run/user"))


def _stamped(unit: str, text: str) -> str:
    rest = f"{ADVICE.format(unit=unit)}\n{text}"
    return f"{HEAD}{_digest(rest)}\n{rest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def asked(service: str) -> tuple[str, Path, Path | None] | None:
    """Of the text of a service: the watch's name, its inventory and its folder of metrics."""
    found = re.search(r"^ExecStart=.* watch run (\S+) --name (\S+)(?:.* --metrics (\S+))?", service, re.MULTILINE)
    return (found[2], Path(found[1]), Path(found[3]) if found[3] else None) if found else None


def whose(text: str) -> str:
    """Whose a unit file is: "ours", "edited" where it was changed after us, "foreign"."""
    head, _, rest = text.partition("\n")
    if not head.startswith(HEAD):
        return "foreign"
    return "ours" if head.removeprefix(HEAD) == _digest(rest) else "edited"
