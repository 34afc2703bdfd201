"""The break matrix has a row for every control, or says where else it is broken."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from deploys.core.control import State
from deploys.subjects import SUBJECTS
from tests.lab.breaks import BATCHES, ELSEWHERE, broken

CONTROLS = {control.id for subject in SUBJECTS for control in subject.controls}
ROOT = Path(__file__).parents[3]


def test_each_control_is_broken_somewhere() -> None:
    assert CONTROLS - set(broken()) - set(ELSEWHERE) == set(), "without a row in tests/lab/breaks"
    assert (set(broken()) | set(ELSEWHERE)) - CONTROLS == set(), "no such control"
    assert set(broken()) & set(ELSEWHERE) == set()


def test_a_control_is_broken_twice_in_a_batch_only_where_each_finding_names_its_cause() -> None:
    for batch in BATCHES.values():
        said = Counter(control for row in batch for control in row.says)
        assert [control for row in batch for control in row.says if said[control] > 1 and not row.names] == []


def test_states_and_drills_are_there() -> None:
    states = {state for batch in BATCHES.values() for row in batch for state in row.says.values()}
    assert states <= {state.value for state in State}
    drills = [where for where in ELSEWHERE.values() if where.startswith("tests/lab/")]
    assert all((ROOT / where).is_file() for where in drills)
