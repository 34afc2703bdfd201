"""How the kubelet takes up new files, with programs in the place of systemctl(1) and curl(1)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploys.core import templates
from deploys.core.change import Undoing
from deploys.engines.kubelet.controls import SUBJECT
from facts.core.record import JournalEntry

SYSTEMCTL = """\
#!/bin/sh
echo "$@" >>"$HOST/calls"
case $1 in
is-active) cat "$HOST/state" ;;
show) cat "$HOST/pid"; [ ! -e "$HOST/dies" ] || echo 8 >"$HOST/pid" ;;
esac
"""


def run(tmp_path: Path, script: str, state: str, *, answers: bool = True, dies: bool = False) -> tuple[int, str]:
    (tmp_path / "state").write_text(f"{state}\n")
    (tmp_path / "pid").write_text("7\n")
    if dies:
        (tmp_path / "dies").touch()
    for name, text in (("systemctl", SYSTEMCTL), ("curl", f"#!/bin/sh\nexit {int(not answers)}\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOST": str(tmp_path), "HULLPROOF_SETTLE": "0"}
    done = subprocess.run(["sh", "-c", script], env=env, check=False, capture_output=True)
    return done.returncode, (tmp_path / "calls").read_text()


@pytest.mark.parametrize(
    ("state", "answers", "dies", "well"),
    [
        ("active", True, False, True),
        ("active", False, False, False),
        ("active", True, True, False),  # it answers, and has started anew meanwhile
        ("activating", True, False, False),
        ("inactive", False, False, True),  # nobody started it
    ],
)
def test_the_kubelet_is_well_once_it_goes_on_answering(
    tmp_path: Path, state: str, answers: bool, dies: bool, well: bool
) -> None:
    script = f"AT='127.0.0.1:10248'\n{templates.text('engines/kubelet/healthy.sh')}"
    assert (run(tmp_path, script, state, answers=answers, dies=dies)[0] == 0) is well


@pytest.mark.parametrize(("state", "restarted"), [("active", True), ("failed", True), ("inactive", False)])
def test_a_kubelet_that_does_not_run_is_left_so(tmp_path: Path, state: str, restarted: bool) -> None:
    status, calls = run(tmp_path, templates.text("engines/kubelet/activate.sh"), state)
    assert status == 0
    assert calls.startswith("daemon-reload\n")
    assert ("restart kubelet.service" in calls) is restarted


def test_an_undo_says_what_it_interrupts() -> None:
    entries = tuple(
        JournalEntry(str(number), "kubelet", "x", None, True, False, kind=kind)
        for number, kind in enumerate(("file", "service"))
    )
    undoing = Undoing(context=None, entries=entries, files={})  # type: ignore[arg-type]
    (remark,) = SUBJECT.undoing(undoing)
    assert remark.entry == "1"
    assert "pods go on running" in remark.interrupts
