"""The seccomp filter that new containers get: Podman's own or one that allows no more, or hullproof's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploys.core.change import Blocked, Change, Context, Obstacle, Remark, Undoing, WriteFile
from deploys.core.control import Severity, some
from deploys.engines.defaults import Put
from deploys.engines.podman.rules import PodmanRules
from deploys.engines.podman.settings import Row, said, setting
from deploys.seccomp.profile import GUARDED_BY_ALL, TEXT, lint, weaknesses
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.podman.podman import DROP_IN, OVERRIDE, PROFILE, SHIPPED_PROFILE, Podman, PodmanReading
from facts.seccomp import Seccomp

KEY = "containers.seccomp_profile"
OURS = "hullproof"  # the policy's word for the profile that allows less
BY_ITSELF = "that comes with Podman"  # where no file names one


def _name(podman: PodmanReading) -> str:
    """The profile that new containers get."""
    return setting(podman, KEY) or (OVERRIDE if podman.override else BY_ITSELF)


def _wrong(podman: PodmanReading, wanted: Any) -> str:
    name = _name(podman)
    if name == "unconfined":
        return said(podman, KEY)
    if wanted != OURS:
        return ""
    if name != PROFILE:
        return f"containers get the seccomp profile {name}, not hullproof's"
    text = known(podman.profile)
    if text is None:
        return f"the seccomp profile {PROFILE} is not there: no container starts"
    return "" if text == TEXT else f"the seccomp profile {PROFILE} is not as hullproof writes it"


def _allowed(survey: Survey) -> str:
    podman, kernel = survey[Podman], survey[Seccomp]
    name = _name(podman)
    try:
        allowed = weaknesses(known(podman.filter), kernel.machine, kernel.release, GUARDED_BY_ALL)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnknownReading(f"the seccomp profile {name} has an unexpected form ({error})") from error
    return f"the seccomp profile {name} allows {some(allowed)}" if allowed else ""


def _put(podman: PodmanReading, wanted: Any) -> Put:
    """Podman's own goes by hand where it is missing, or is what is too weak."""
    if wanted == OURS:
        return {KEY: PROFILE}
    shipped = _name(podman) in (BY_ITSELF, SHIPPED_PROFILE)
    return {KEY: SHIPPED_PROFILE} if podman.shipped and not shipped else {}


def _file(context: Context) -> Iterator[Change]:
    """Nothing of Podman's reads a profile before a container starts with it, so it is checked here."""
    if context.policy[PodmanRules].seccomp != OURS:
        return
    podman, kernel = context.survey[Podman], context.survey[Seccomp]
    what = f"write hullproof's seccomp profile to {PROFILE}, which new containers of users' Podman get too"
    if problems := lint(TEXT, kernel.machine, kernel.release):
        why = f"it does not fit this host: {some(problems, 2)}. Set podman.seccomp to true for this host"
        yield Blocked("podman", what, why=why)
    elif (before := known(podman.profile)) != TEXT:
        yield WriteFile("podman", what, path=PROFILE, text=TEXT, before=before)


def remarks(undoing: Undoing) -> Iterator[Remark]:
    """The profile stays while a file names it: without it no container would start."""
    for entry in undoing.entries:
        goes = undoing.files.get(PROFILE, (None, None))[1] is None
        if entry.subject == "podman" and entry.path == PROFILE and goes and (names := _naming(undoing)):
            again = f"remove seccomp_profile from {names}, and roll back once more"
            yield Remark(entry.id, stays=Obstacle(why=f"{names} names it, and no container would start", by_hand=again))


def _naming(undoing: Undoing) -> str:
    """The file that still names the profile after the undo; "" if none does."""
    podman = undoing.context.survey[Podman]
    found = known(podman.settings).get(KEY)
    if found and found.file != DROP_IN:
        return found.file if found.value == PROFILE else ""
    after = undoing.files[DROP_IN][1] if DROP_IN in undoing.files else known(podman.drop_in)
    return DROP_IN if f'"{PROFILE}"' in (after or "") else ""


DEFAULT = Row(
    name="seccomp",
    title="Podman's containers get a seccomp filter that refuses something",
    severity=Severity.HIGH,
    why="Without a filter every system call of the kernel is open to attack from within a container.",
    references=("NIST-800-190-4.4.3",),
    wrong=_wrong,
    beside=_allowed,
    put=_put,
    first=_file,
    by_hand="install Podman's own profile again (containers-common, golang-github-containers-common), or set "
    "podman.seccomp to hullproof in the policy",
)
