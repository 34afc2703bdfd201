"""The alert rules, and promtool's word on a changed copy of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploys.core import templates
from deploys.core.text import clean_text
from hullproof.watching.units import WatchError


def rules() -> str:
    """The rules as hullproof has them."""
    return templates.text("watch/alerts.yml")


def check(path: Path) -> str:
    """What promtool says of a rule file that it takes. Raises WatchError where it refuses it, or cannot be asked."""
    try:
        path.read_bytes()
        done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True)
    except FileNotFoundError as error:
        if error.filename != "promtool":
            raise WatchError(f"{path} is not there") from None
        raise WatchError(f"{path} was not checked: there is no promtool here (Debian has it in prometheus)") from None
    except OSError as error:
        raise WatchError(f"{path} cannot be read: {error.strerror}") from error
    said = [clean_text(line) for line in (done.stdout + done.stderr).splitlines()]
    told = [line.strip() for line in said if line.strip() and not line.startswith("Checking") and "FAILED" not in line]
    if done.returncode:
        raise WatchError(f"promtool refuses {path}: {'; '.join(told)}")
    return " ".join(told)
