"""The life of a profile of ours: rendered, checked, observed where the policy asks for that, enforced, taken back.

Docker has no setting for the profile of containers that ask for none: it is `docker-default`, which the daemon makes
and loads itself, unless (before version 25 or so) one of that name is loaded already. So as the default, our rules are
loaded under that name, at boot before Docker and again after each start of Docker.

Observed, `hullproof-container` complains. `docker-default` must not: other people's containers would lose what Docker's
own profile denies; it stays enforced, and what ours denies beyond that is allowed and recorded.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

from deploys.apparmor.plan import REPLACE
from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from deploys.core.control import Verdict, failed, passed
from deploys.lsm.denials import explain, list_kinds, unknown_before
from facts.apparmor import LOADED, OURS, UNIT_DROP_IN, AppArmorReading
from facts.core.numbers import utc
from facts.core.reading import Unknown, known
from facts.denials import Denial, Gap
from facts.engines.docker.docker import Docker

SUBJECT = "apparmor"
ACCEPT = "container-profile"
CONTAINER, DEFAULT = "hullproof-container", "docker-default"
LINT = "apparmor_parser -Q -K {} 2>&1"
HOUR = 3600


@dataclass(frozen=True)
class Stage:
    """Where a profile of ours is on its way. `since`: observed from then on; None: to be enforced. `until`: when the
    observation ends, or ended with nothing in the way; 0: there was none. `denials`: what enforcing it would have
    refused in that time; a `gap` in what is known of that lets it be observed longer."""

    since: int | None
    until: int = 0
    denials: tuple[Denial, ...] = ()
    held: bool = False  # the time is over, and what was seen is in the way
    gap: Gap | None = None


def render(name: str, since: int | None, extra: bool = True) -> str:
    """The profile's text. `since`: observed since then. Without `extra` it is what Docker's own is."""
    word = "audit deny" if since is None else "audit"  # a bare `deny` would refuse without a record
    complain = since is not None and name == CONTAINER
    return templates.render("apparmor/container.j2", name=name, since=since, complain=complain,
                            extra=word if extra else "")  # fmt: skip


def observed_since(name: str, text: str | None) -> int | None:
    """Since when this text of ours observes; None where it does not."""
    match = re.search(r"^# observed since (\d+)", text or "", re.MULTILINE)
    return int(match[1]) if match and text == render(name, int(match[1])) else None


def text_of(reading: AppArmorReading, name: str) -> str | None:
    text = reading.files.get(OURS[name])
    return None if text is None else known(text)


def stage(
    reading: AppArmorReading, name: str, hours: int | None, clock: int, denials: Sequence[Denial], gap: Gap | None
) -> Stage:
    """The stage in which the profile belongs now. `denials` are all that were read since it is observed, of any
    profile; `gap` tells where some of that time may be missing."""
    text = text_of(reading, name)
    if hours is None or text == render(name, None):
        return Stage(None)
    since = observed_since(name, text)
    if since is None:
        return Stage(clock, clock + hours * HOUR)
    until = (gap.until if gap else since) + hours * HOUR
    seen = tuple(row for row in denials if row.subject == name and row.module == "apparmor" and row.mode != "refused")
    if clock < until or seen:
        return Stage(since, until, seen, held=clock >= until, gap=gap)
    return Stage(None, until)


def judge(reading: AppArmorReading, name: str, now: Stage) -> Verdict:
    """Pass: the enforcing text is on disk, and the kernel enforces what it compiles to."""
    text, mode = text_of(reading, name), known(reading.profiles).get(name)
    disk = {render(name, None): "enforce", None: None}.get(text, "observe" if observed_since(name, text) else "other")
    live = mode if mode is None or disk in (None, "other") or known(reading.current.get(name, True)) else "other"
    if disk == "enforce" and live == "enforce":
        return passed(f"{name} is enforced with our rules, now and after the next boot", "enforce", disk, live)
    if disk == "observe" and live is not None and now.since is not None:
        return failed(_observing(name, now), "enforce", disk, live)
    words = {None: "not there", "other": "not ours", "observe": "only observed", "enforce": "enforced"}
    said = (
        f"{name} is {words[disk]} on disk and {words.get(live, f'in {live}') if live else 'not loaded'} in the kernel"
    )
    return failed(said, "enforce", disk, live)


def _observing(name: str, now: Stage) -> str:
    said = list_kinds([explain(denial) for denial in now.denials])
    until = utc(now.until)
    if now.held:
        return (
            f"{name} has been observed until {until:%Y-%m-%d %H:%M} UTC and stays so, since enforced it would have "
            f"been in the way: {said}. Start what needs that with a profile of its own, or enforce it all the same "
            f"with accept={ACCEPT}"
        )
    lost = f", since {unknown_before(now.gap)}" if now.gap else ""
    next_ = f"it is observed until {until:%Y-%m-%d %H:%M} UTC{lost}, and enforced by the first run after that"
    return f"{name}: {next_}; so far {said or 'nothing was seen that it would refuse'}"


def plan(context: Context, reading: AppArmorReading, name: str, now: Stage) -> Iterator[Change]:
    """The next step of one profile's life."""
    if now.held and context.accepts(ACCEPT):
        now = Stage(None)
    text, wanted = text_of(reading, name), render(name, now.since)
    declared = reading.declared if not isinstance(reading.declared, Unknown) else ()
    theirs = next((p.file for p in declared if p.name == name and p.file != OURS[name]), None)
    what = f"{'observe' if now.since else 'enforce'} the profile {name} ({OURS[name]})"
    if theirs:
        yield Blocked(SUBJECT, what, why=f"{theirs} declares a profile of that name: take it away first")
        return
    running = _confined_by(context, name)
    if now.since is None and text != wanted and running and not (now.until or context.accepts(ACCEPT)):
        why = (
            f"{', '.join(running)} would at once be refused what it denies; allow that with accept={ACCEPT}, or have it"
        )
        yield Blocked(SUBJECT, what, why=f"{why} observed first (apparmor.observe_hours)")
    elif text != wanted:
        yield WriteFile(SUBJECT, what, path=OURS[name], text=wanted, before=text, validate=LINT, activate=load(name),
                        interrupts=f"{', '.join(running)} come under it at once" if running else "")  # fmt: skip
    elif not _is_live(reading, name, now):
        yield Command(SUBJECT, f"load the profile {name} from {OURS[name]}", script=load(name), undo="")
    elif now.since is not None:
        yield Blocked(SUBJECT, f"enforce the profile {name}", why=_observing(name, now))


def _is_live(reading: AppArmorReading, name: str, now: Stage) -> bool:
    mode = "complain" if now.since is not None and name == CONTAINER else "enforce"
    return known(reading.profiles).get(name) == mode and known(reading.current.get(name, True)) is True


def _confined_by(context: Context, name: str) -> list[str]:
    docker = context.survey[Docker]
    running = docker.containers if isinstance(docker.containers, tuple) else ()
    return [c.name for c in running if not isinstance(c.process, Unknown) and c.process.label.startswith(f"{name} ")]


def keep_after_start(context: Context, reading: AppArmorReading) -> Iterator[Change]:
    """Newer Dockers load their own docker-default at every start: ours is loaded again after that."""
    before = reading.files.get(UNIT_DROP_IN)
    if before != drop_in():
        yield WriteFile(SUBJECT, f"load our {DEFAULT} after each start of Docker ({UNIT_DROP_IN})", path=UNIT_DROP_IN,
                        text=drop_in(), before=None if before is None else known(before),
                        activate="systemctl daemon-reload")  # fmt: skip


def drop_in() -> str:
    return f"""\
# Written by hullproof. Docker may have loaded a {DEFAULT} of its own when it started.
[Service]
ExecStartPost=-/usr/sbin/apparmor_parser -r -W {OURS[DEFAULT]}
"""


def load(name: str) -> str:
    """Load or replace; what runs under it stays confined. After an undo the file is gone, or an older one of ours."""
    file = OURS[name]
    if name == DEFAULT:
        plain = base64.b64encode(render(DEFAULT, None, extra=False).encode()).decode()
        gone = f"printf %s {plain} | base64 -d | apparmor_parser -K -r"
    else:
        gone = f"""\
if grep -ls '^{name} ' /proc/[0-9]*/attr/current >/dev/null; then
    echo {quote(f"{name} confines what runs: it stays loaded, or that would run unconfined; end it and undo again")}
    exit 1
  fi
  echo 'profile {name} {{}}' | apparmor_parser -K -R"""
    return f"""\
if [ -e {file} ]; then {REPLACE} {file}
elif grep -q '^{name} ' {LOADED}; then
  {gone}
fi
"""
