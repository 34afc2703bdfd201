"""The folder of a watch: its lock, its newest reports, and when each host was last judged. Its owner's alone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploys.core.text import clean_text
from deploys.report.files import write_whole
from deploys.report.page.since import FILE as PAGE
from deploys.report.reading import ReportError, read
from hullproof.watching.units import WatchError

STAMP = "%Y%m%dT%H%M%SZ"
REPORT = re.compile(r"[0-9]{8}T[0-9]{6}Z(?:-[0-9]+)?")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class State:
    """`folder` and what is below it. It is made when a look needs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports = folder / "reports"
        self._surveyed = folder / "surveyed.json"

    @contextlib.contextmanager
    def locked(self, now: datetime) -> Iterator[None]:
        """The look is this process's alone. Raises WatchError, which says whose it is, where another one is under way.
        The kernel takes the lock from a process that ends, however that ends."""
        try:
            # The owner could not clear away what another user leaves there.
            if self.folder.exists() and (owner := self.folder.stat().st_uid) != os.geteuid():
                raise WatchError(f"{self.folder} belongs to the user {_name(owner)}: look as that user")
            self.reports.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self.folder / "lock").open("ab+", buffering=0)
        except OSError as error:
            raise WatchError(f"the folder of the watch cannot be used: {error}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                held = clean_text(file.read(200).decode(errors="replace")) or "another process"
                raise WatchError(f"{self.folder}: a look is under way ({held}), so this one ends") from None
            with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
                file.truncate(0)
                file.write(f"process {os.getpid()} since {now:%Y-%m-%d %H:%M:%S} UTC".encode())
            yield

    def new_report(self, now: datetime) -> Path:
        """The folder of a report to come, newer by its name than all that are there."""
        stamp = now.astimezone(UTC).strftime(STAMP)
        names = [stamp, *(f"{stamp}-{number}" for number in range(1, 100))]
        folder = self.reports / next(name for name in names if not (self.reports / name).exists())
        with contextlib.suppress(OSError):  # the new page, which replaces it, says what is new since this one
            page = next((path / PAGE for path in self.kept() if (path / PAGE).exists()), None)
            if page:
                folder.mkdir(mode=0o700)
                (folder / PAGE).hardlink_to(page)
        return folder

    def kept(self) -> list[Path]:
        """The folders of whole reports, the newest first. Raises OSError where they cannot be read."""
        found = [path for path in self.reports.iterdir() if REPORT.fullmatch(path.name)]
        return sorted((path for path in found if (path / "report.json").exists()), reverse=True)

    def newest(self) -> tuple[Path, dict[str, Any]] | tuple[None, None]:
        """The newest report that is one, and its folder. Raises OSError where the folder cannot be read."""
        for path in self.kept():
            with contextlib.suppress(ReportError):
                return path, read(path)
        return None, None

    def prune(self, keep: int) -> None:
        """Leave the newest `keep` reports, and nothing of looks that brought none. Raises OSError."""
        stay = set(self.kept()[:keep])
        for path in list(self.reports.iterdir()):
            if REPORT.fullmatch(path.name) and path not in stay:
                shutil.rmtree(path)

    def surveyed(self) -> dict[str, float]:
        """When each host was last judged, in Unix seconds; {} where that was not kept."""
        try:
            found = json.loads(self._surveyed.read_bytes())
            return {str(name): float(time) for name, time in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def keep_surveyed(self, surveyed: Mapping[str, float]) -> None:
        """Raises OSError."""
        write_whole(self._surveyed, json.dumps(surveyed) + "\n")
