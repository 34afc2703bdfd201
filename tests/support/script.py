"""Scripts of the survey, run against a folder that stands for the host's root."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from facts.core.frame import PRELUDE, read_frame
from facts.core.reading import Section


def run_script(script: str, root: Path, *programs: str) -> Section:
    """What the script finds where the host's root is this folder, and has these programs."""
    folder = root / "bin"
    folder.mkdir(exist_ok=True)
    for name in programs:
        (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    within = re.sub(r"(?<![\w.*}\]])/(etc|run|usr|var|sys)/", rf"{root}/\1/", script)
    text = f"PATH={folder}:$PATH\nN=n\n{PRELUDE}\n{within}"
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=False)
    said = done.stdout.decode(errors="replace").replace(str(root), "")
    [section] = read_frame(f"@hullproof n\n@n section x\n{said}\n@n end x 0\n@n done".split("\n")).values()
    assert isinstance(section, Section)
    return section


def put(root: Path, path: str, text: str = "") -> None:
    """A file of the host's."""
    at = root / path.lstrip("/")
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(text, encoding="utf-8")
