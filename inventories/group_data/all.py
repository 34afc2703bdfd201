"""Data for every host of the inventories in this folder. A group's own file and a host's own data come before it.

    policy   the name of a policy in inventories/policies/, or a path
    accept   consequences accepted by name: what a plan lists under "Blocked, and how to allow it"
    report   the folder for report.json and its other forms

pyinfra reads this file before it connects, so a run that reaches no host at all gets its report here too.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parents[2] / "deploys" / "ours.py"))

from deploys.run.run import begin_from_command_line

begin_from_command_line()

policy = "baseline"
