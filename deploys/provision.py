"""Make bare hosts into hardened, proved container hosts in one run: container engine, policy, proofs.

    pyinfra INVENTORY deploys/provision.py [--data policy=strict] [-y]

The container engine's package comes from the distribution. When it is there the host is surveyed again, everything the
policy asks for is planned and done, and the proofs (`tests/verify`) run against it.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().with_name("ours.py")))

from pyinfra.context import host

from deploys.engines.provisioning import engine_for
from deploys.run.look import begin_with, look
from deploys.run.operations import enforce, plan_again, reboot, survey_again
from deploys.run.proofs import prove_after
from deploys.run.run import begin, show_plan
from deploys.subjects import STEPS, SUBJECTS

run = begin("provision")
prove_after(run)
session = run.session(SUBJECTS)
look(session)
begin_with(session, engine_for(session.survey, session.policy.accept))
show_plan(session)

for step in host.loop(["packages", "engine"]):
    enforce(name=f"Install the container engine: {step}", step=step)
plan_again(name="Survey the engine, and plan what the policy asks for")
for step in host.loop(STEPS):
    enforce(name=f"Enforce {step}", step=step)
for batch in host.loop(run.batches()):
    if host.name in batch:
        reboot(name="Reboot, one batch of hosts after the other")
survey_again(name="Survey again, and keep what holds as the baseline")
