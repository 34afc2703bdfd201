"""Runs the data cases: tests/facts/<module.Class>/<case>.json, in pyinfra's own convention.

A case has `output` (the plain frame, as a list of lines) and `fact` (what the parser makes of it).
"""

from __future__ import annotations

from pathlib import Path

from pyinfra_testing.facts import make_fact_tests

CASES = Path(__file__).resolve().parents[1] / "facts"

for folder in sorted(path for path in CASES.iterdir() if path.is_dir()):
    globals()[f"Test_{folder.name}"] = make_fact_tests("facts", folder.name, folder)
