"""Undo the last run on these hosts (or --data run=ID): files and live state, last change first.

    pyinfra INVENTORY deploys/rollback.py [--data run=ID] [--data skip=ID/0003,ID/0005] [--data accept=NAME]

`skip` names changes that stay as they are for good: what cannot be undone, or is not to be.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().with_name("ours.py")))

from pyinfra.context import host

from deploys.run.look import look
from deploys.run.operations import undo
from deploys.run.run import begin, names, show_undo
from deploys.run.undo import choose
from deploys.subjects import SUBJECTS

session = begin("rollback").session(SUBJECTS)
look(session)
choose(session, host.data.get("run"), names(host.data.get("skip")))
show_undo(session)

undo(name="Undo the run, last change first")
