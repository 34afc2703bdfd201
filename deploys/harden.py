"""Bring these hosts to their policy: survey, plan, enforce what fails, survey again.

    pyinfra INVENTORY deploys/harden.py [--dry] [--diff] [--limit HOST] [--data policy=strict] [--data accept=NAME,…]

Without -y the plan is shown, then pyinfra asks. Nothing is ever rebooted here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyinfra.context import host

from deploys.engine.operations import confirm, enforce
from deploys.engine.run import begin, show_plan
from deploys.subjects import SUBJECTS

session = begin("harden").session()
session.look()
session.plan()
show_plan(session)

for step in host.loop([*(subject.name for subject in SUBJECTS), "services"]):
    enforce(name=f"Enforce {step}", step=step)
confirm(name="Survey again, and keep what holds as the baseline")
