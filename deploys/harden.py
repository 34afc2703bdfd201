"""Bring these hosts to their policy: survey, plan, enforce what fails, survey again.

    pyinfra INVENTORY deploys/harden.py [--dry] [--diff] [--limit HOST] [--data policy=strict] [--data accept=NAME,…]

Without -y the plan is shown, then pyinfra asks. Nothing is rebooted unless the policy says when
(`kernel: {reboot: …}`); then group `canary` goes first, the others in batches (`--data batch=3`, `batch=25%`), and
none follows a host that did not come back well.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().with_name("ours.py")))

from pyinfra.context import host

from deploys.run.look import look, plan
from deploys.run.operations import enforce, reboot, survey_again
from deploys.run.run import begin, show_plan
from deploys.subjects import STEPS, SUBJECTS

run = begin("harden")
session = run.session(SUBJECTS)
look(session)
plan(session)
show_plan(session)

for step in host.loop(STEPS):
    enforce(name=f"Enforce {step}", step=step)
for batch in host.loop(run.batches()):
    if host.name in batch:
        reboot(name="Reboot, one batch of hosts after the other")
survey_again(name="Survey again, and keep what holds as the baseline")
