"""Undo the last run on these hosts (or --data run=ID): files and live state, last change first.

pyinfra INVENTORY deploys/rollback.py [--data run=ID]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyinfra.context import host

from deploys.engine.operations import undo
from deploys.engine.run import begin, show_undo
from deploys.engine.undo import choose

session = begin("rollback").session()
session.look()
choose(session, host.data.get("run"))
show_undo(session)

undo(name="Undo the run, last change first")
