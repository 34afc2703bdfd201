"""The pyinfra operations of a run. Each yields nothing where there is nothing to do on the host."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api import FunctionCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import host

from deploys.run import again, ending, execute, look
from deploys.run.run import current, show_plan
from deploys.run.undo import undo as undo_run


@operation()
def enforce(step: str) -> Generator[FunctionCommand, None, None]:
    """
    Execute a part of the host's plan: one subject's changes, or `services`: the files of daemons, and their activation.

    + step: the subject's name, or `services`
    """
    if not current().sessions[host.name].steps_named(step):
        host.noop(f"{step}: everything is as the policy demands")
        return
    yield FunctionCommand(_execute, (step,), {})


@operation()
def reboot() -> Generator[FunctionCommand, None, None]:
    """
    Reboot the host where its plan says so and wait for it; not after another host that did not come back well, nor
    where a canary warns.
    """
    if not current().sessions[host.name].steps_named("reboot"):
        host.noop("no reboot is planned")
        return
    yield FunctionCommand(_reboot, (), {})


@operation()
def survey_again() -> Generator[FunctionCommand, None, None]:
    """
    Survey the host again after its changes, over a fresh connection where the old one is gone, and keep the baseline.
    """
    session = current().sessions[host.name]
    changed = session.steps or session.entries  # what failed may have left no step standing
    rewritten = session.only is None and again.outlived(session.survey, session.findings)
    if not changed and not rewritten:
        host.noop("nothing was changed")
        return
    yield FunctionCommand(_survey_again, (), {})


@operation()
def plan_again() -> Generator[FunctionCommand, None, None]:
    """
    Survey the host after its container engine was installed, and plan what the policy asks for now.
    """
    yield FunctionCommand(_plan_again, (), {})


@operation()
def undo() -> Generator[FunctionCommand, None, None]:
    """
    Undo the run that the host's session chose, last change first.
    """
    plan = current().sessions[host.name].undoing
    if plan is None or plan.refused:
        host.noop("nothing is undone")
        return
    yield FunctionCommand(_undo, (), {})


# pyinfra hands `state` and `host` to functions that name them, and takes False for a failure without a traceback.
def _execute(state: State, host: Host, step: str) -> bool:
    session = current().sessions[host.name]
    for found in session.steps_named(step):
        with session.keeping(step):
            execute.execute(session, found)
    return True  # other subjects go on; `survey_again` fails the host if anything failed


def _reboot(state: State, host: Host) -> bool:
    run = current()
    session = run.sessions[host.name]
    if why := run.may_not_reboot(host):
        session.errors.append(f"not rebooted, since {why}")
        return True
    run.rebooted.add(host.name)
    well = False
    with session.keeping("reboot"):
        well = all([execute.reboot(session, step) for step in session.steps_named("reboot")])
    if not well:
        run.stopped = f"{host.name} did not come back well"
    return True  # `survey_again` fails the host


def _survey_again(state: State, host: Host) -> bool:
    return ending.survey_again(current().sessions[host.name])


def _plan_again(state: State, host: Host) -> bool:
    session = current().sessions[host.name]
    missing = [f"{change.what}: {change.reason}" for change in session.blocked]
    look.look(session)
    look.plan(session)
    session.errors += missing  # without a container engine its controls do not apply, and all the others may hold
    show_plan(session)
    return not session.lost


def _undo(state: State, host: Host) -> bool:
    session = current().sessions[host.name]
    with session.keeping("rollback"):
        undo_run(session)
    return ending.survey_again(session)
