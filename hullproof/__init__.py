"""The command `hullproof`: a thin layer over pyinfra and hullproof's deploys."""

from __future__ import annotations

import runpy
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# Where deploys, facts, templates, inventories and tests are: beside this folder in a clone, in it where installed.
ROOT = PACKAGE if (PACKAGE / "deploys").is_dir() else PACKAGE.parent

# `deploys` and `facts` are imported by these names, as pyinfra's own runs of the deploys do.
runpy.run_path(str(ROOT / "deploys" / "ours.py"))
