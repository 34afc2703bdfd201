"""What is no option and no system call is refused before the drop-in is put in place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploys.core import templates

NSPAWN = """#!/bin/sh
for option; do
  case $option in --version) exit ;; --bad*) echo "unrecognized option '$option'" >&2 && exit 1 ;; esac
done
"""
ANALYZE = """#!/bin/sh
case $2 in
@known) printf '# all\\n    bpf\\n    keyctl\\n' ;;
@keyring) ;;
*) echo "Filter set $2 not found." >&2 && exit 1 ;;
esac
"""


def refused(options: str, folder: Path, analyze: str = ANALYZE) -> tuple[int, str]:
    for name, text in (("systemd-nspawn", NSPAWN), ("systemd-analyze", analyze)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "new").write_text(f"[Service]\nExecStart=\nExecStart=systemd-nspawn {options} --machine=%i\n")
    script = templates.text("engines/nspawn/validate.sh").replace("{}", '"$NEW"')
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "NEW": str(folder / "new")}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=given)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--boot --bad-option=x", "--bad-option=x"),
        ("--system-call-filter=~@nonsense", "@nonsense"),
        ("--system-call-filter=~@keyring --system-call-filter=~unshar", "no system call unshar"),
    ],
)
def test_what_systemd_does_not_know_is_refused(options: str, why: str, tmp_path: Path) -> None:
    status, said = refused(options, tmp_path)
    assert (status, why in said) == (1, True), said


@pytest.mark.parametrize("options", ["--boot -U", "--system-call-filter=~@keyring --system-call-filter=~bpf"])
def test_what_it_knows_is_taken(options: str, tmp_path: Path) -> None:
    assert refused(options, tmp_path) == (0, "")


def test_where_systemd_lists_no_calls_names_are_taken_as_they_are(tmp_path: Path) -> None:
    assert refused("--system-call-filter=~bpf", tmp_path, "#!/bin/sh\nexit 1\n") == (0, "")
