"""What does not hold on these hosts, and what has changed since it held. Reads only: one execution per host.

    pyinfra INVENTORY deploys/drift.py -y

Exit code: 0 all that is demanded holds; 2 something does not; 3 nothing is known to fail, but something could not be
judged; 1 a host could not be read, there was none, or nothing was demanded.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().with_name("ours.py")))

from deploys.run.look import look
from deploys.run.run import begin
from deploys.subjects import SUBJECTS

session = begin("drift").session(SUBJECTS)
look(session)
