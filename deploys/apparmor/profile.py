"""The life of a profile that hullproof writes: rendered, checked, observed where the policy says so, enforced, undone.

While it is observed, `hullproof-container` is in complain mode. A profile that stands in for an engine's own stays in
enforce mode, since containers would lose the protection of the engine's rules; hullproof's stricter rules then allow
and record what they would deny.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from deploys.core.control import Verdict, failed, passed
from deploys.core.same_text import same_text
from deploys.lsm.denials import explain, list_kinds, unknown_before
from facts.apparmor import LOADED, OURS, AppArmorReading
from facts.core.numbers import utc
from facts.core.reading import Unknown, UnknownReading, known
from facts.denials import Denial, Gap
from facts.engines import present
from facts.processes import Process

NAME = "apparmor"
ACCEPT_PROFILE = "container-profile"  # accepts that running containers are denied what the profile denies, at once
CONTAINER = "hullproof-container"
LINT = "apparmor_parser -Q -K {} 2>&1"
HOUR = 3600


@dataclass(frozen=True)
class Observation:
    """The observation of a profile that hullproof writes. `since`: when it began; None: the profile is to be enforced.
    `until`: when it ends, or ended without a denial; 0: there was none. `denials`: what enforcing would have denied; a
    `gap` in the record of denials extends the observation."""

    since: int | None
    until: int = 0
    denials: tuple[Denial, ...] = ()
    held: bool = False  # its time is over, and the denials hold enforcing back
    gap: Gap | None = None


def render(name: str, since: int | None, extra: bool = True) -> str:
    """The profile's text. `since`: it is observed since then. Without `extra` it has Docker's own rules only."""
    word = "audit deny" if since is None else "audit"  # a bare `deny` would leave no record
    complain = since is not None and name == CONTAINER
    return templates.render(
        "apparmor/container.j2", name=name, since=since, complain=complain, extra=word if extra else ""
    )


def observed_since(reading: AppArmorReading, name: str) -> int | None:
    """When the observation began, where the file is exactly what hullproof writes for one; else None."""
    since = reading.observed_since(name)
    return since if since is not None and same_text(text_of(reading, name), render(name, since)) else None


def text_of(reading: AppArmorReading, name: str) -> str | None:
    text = reading.files.get(OURS[name])
    return None if text is None else known(text)


def observation(
    reading: AppArmorReading, name: str, hours: int | None, clock: int, denials: Sequence[Denial], gap: Gap | None
) -> Observation:
    """How far the observation of the profile is. `denials`: all of any profile since it began; `gap`: a gap in the
    record of them."""
    if hours is None or same_text(text_of(reading, name), render(name, None)):
        return Observation(None)
    since = observed_since(reading, name)
    if since is None:
        return Observation(clock, clock + hours * HOUR)
    until = (gap.until if gap else since) + hours * HOUR
    seen = tuple(row for row in denials if row.subject == name and row.module == "apparmor" and row.mode != "refused")
    if clock < until or seen:
        return Observation(since, until, seen, held=clock >= until, gap=gap)
    return Observation(None, until)


def profile_verdict(reading: AppArmorReading, name: str, now: Observation) -> Verdict:
    """Pass: the enforcing text is on disk, and the kernel enforces what that compiles to."""
    text, mode = text_of(reading, name), known(reading.profiles).get(name)
    observed = observed_since(reading, name) is not None
    disk = None if text is None else "observe" if observed else "other"
    disk = "enforce" if same_text(text, render(name, None)) else disk
    live = mode if mode is None or disk in (None, "other") or known(reading.current.get(name, True)) else "other"
    if disk == "enforce" and live == "enforce":
        reason = f"the AppArmor profile {name} is enforced with hullproof's rules, now and after the next boot"
        return passed(reason, declared="enforce", disk=disk, live=live)
    if disk == "observe" and live is not None and now.since is not None:
        return failed(_observing(name, now), declared="enforce", disk=disk, live=live)
    on_disk = {None: "missing", "other": "not hullproof's", "observe": "only observed", "enforce": "enforced"}[disk]
    in_kernel = {None: "is not loaded", "other": "has other rules", "enforce": "is enforced"}
    loaded = in_kernel.get(live, f"is in {live} mode")
    reason = f"the AppArmor profile {name} is {on_disk} on disk and {loaded} in the kernel"
    return failed(reason, declared="enforce", disk=disk, live=live)


def _observing(name: str, now: Observation) -> str:
    seen = list_kinds([explain(denial) for denial in now.denials])
    until = f"{utc(now.until):%Y-%m-%d %H:%M} UTC"
    if now.held:
        return (
            f"the AppArmor profile {name} was observed until {until} and is not enforced, since enforcing it would "
            f"have caused these denials: {seen}"
        )
    longer = f", since {unknown_before(now.gap)}" if now.gap else ""
    enforced = f"is observed until {until}{longer}, and the first run after that enforces it"
    return f"the AppArmor profile {name} {enforced}; so far {seen or 'it would have denied nothing'}"


def plan(context: Context, reading: AppArmorReading, name: str, now: Observation, load: str) -> Iterator[Change]:
    """The next step of one profile's life. `load` (sh) loads or replaces it."""
    if now.held and context.accepts(ACCEPT_PROFILE):
        now = Observation(None)
    text, wanted = text_of(reading, name), render(name, now.since)
    declared = reading.declared if not isinstance(reading.declared, Unknown) else ()
    theirs = next((p.file for p in declared if p.name == name and p.file != OURS[name]), None)
    what = f"{'observe' if now.since else 'enforce'} the AppArmor profile {name} ({OURS[name]})"
    if theirs:
        yield Blocked(NAME, what, why=f"{theirs} declares a profile of the same name: remove it first")
        return
    running = _confined_by(context, name)
    same, allowed = same_text(text, wanted), now.until or context.accepts(ACCEPT_PROFILE)
    if now.since is None and not same and running and not allowed:
        yield Blocked(
            NAME,
            what,
            why=f"the profile would at once deny {', '.join(running)} what it forbids",
            by_hand="have it observed first (apparmor.observe_hours)",
            accepts=(ACCEPT_PROFILE,),
        )
    elif not same:
        yield WriteFile(
            NAME,
            what,
            path=OURS[name],
            text=wanted,
            before=text,
            validate=LINT,
            activate=load,
            interrupts=f"the profile confines {', '.join(running)} at once" if running else "",
        )
    elif not _is_live(reading, name, now):
        yield Command(NAME, f"load the AppArmor profile {name} from {OURS[name]}", script=load, undo="")
    elif now.since is not None:
        yield Blocked(
            NAME,
            f"enforce the AppArmor profile {name}",
            why=_observing(name, now),
            by_hand="start the containers that need this with a profile of their own" if now.held else "",
            accepts=(ACCEPT_PROFILE,) if now.held else (),
        )


def _is_live(reading: AppArmorReading, name: str, now: Observation) -> bool:
    mode = "complain" if now.since is not None and name == CONTAINER else "enforce"
    return known(reading.profiles).get(name) == mode and known(reading.current.get(name, True)) is True


def _confined_by(context: Context, name: str) -> list[str]:
    """The running containers that the profile confines."""
    try:
        running = present.running(context.survey)
    except UnknownReading as error:
        return [f"containers that could not be listed ({error})"]
    held = [
        each.shown
        for each in running
        if isinstance(each.process, Process) and each.process.label.startswith(f"{name} ")
    ]
    why = present.silent(context.survey)
    return [*held, f"containers that could not be listed ({why})"] if why else held


def load() -> str:
    """Load or replace hullproof-container; what runs under it stays confined. After an undo the file is gone, or an
    older one of ours."""
    return f"{given(CONTAINER)}\n{templates.text('apparmor/load.sh')}"


def given(name: str) -> str:
    """What a script that loads the profile is given."""
    return f"NAME={name} FILE={OURS[name]} LOADED={LOADED}"
