"""The past runs on these hosts: what stands in each host's journal, and what undoing a run would take back. Reads only.

    pyinfra INVENTORY deploys/runs.py -y

One execution per host. Exit code: 0 all journals were read, 1 a host could not be read, or there was none.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().with_name("ours.py")))

from deploys.run.look import look
from deploys.run.run import begin, show
from deploys.run.runs_view import read_record, render_runs

session = begin("runs").session(())
look(session)
if record := read_record(session):
    show(render_runs(session.host.name, record))
