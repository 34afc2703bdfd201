"""When a watch looked last, how that ended, and when it looks next."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.text import clean_text
from deploys.report.report import EXIT_CODES, outcome
from hullproof.watching.state import State
from hullproof.watching.systemd import Manager
from hullproof.watching.units import PREFIX, WatchError, whose

SERVICE = ("ActiveState", "Result", "ExecMainStatus", "ExecMainStartTimestamp", "ExecMainExitTimestamp")

CODES = [str(code) for code in EXIT_CODES]


def names(manager: Manager) -> list[str]:
    """The watches that are installed."""
    found = manager.units.glob(f"{PREFIX}*.timer")
    return sorted(path.name.removeprefix(PREFIX).removesuffix(".timer") for path in found)


def status(name: str, manager: Manager) -> Iterator[str]:
    """The lines for one watch."""
    yield f"{name}:"
    yield from (f"  {label:<10} {words}" for label, words in (*_units(name, manager), *_report(name, manager)))


def _units(name: str, manager: Manager) -> Iterator[tuple[str, str]]:
    unit = PREFIX + name
    for part in ("timer", "service"):
        path = manager.units / f"{unit}.{part}"
        if not path.exists():
            yield part, f"{path} is not there"
        elif (kind := whose(path.read_text(encoding="utf-8", errors="replace"))) != "ours":
            yield part, f"{path} {'was changed after it was installed' if kind == 'edited' else 'is not of hullproof'}"
    try:
        service = manager.properties(f"{unit}.service", *SERVICE)
        timer = manager.properties(f"{unit}.timer", "ActiveState", "NextElapseUSecRealtime")
    except WatchError as error:
        yield "systemd", str(error)
        return
    yield "last look", _last(service)
    yield "next look", timer["NextElapseUSecRealtime"] or f"none: the timer is {timer['ActiveState']}"


def _last(service: dict[str, str]) -> str:
    began = service["ExecMainStartTimestamp"]
    if service["ActiveState"] in ("activating", "active"):
        return f"under way since {began}"
    if not began:
        return "none since this machine has started"
    how = "" if service["Result"] in ("success", "exit-code") else f" ({service['Result']})"
    if service["ExecMainStatus"] not in CODES:
        how += ", which is none of hullproof's: journalctl -u has more"
    return f"{began}, ended {service['ExecMainExitTimestamp']} with exit code {service['ExecMainStatus']}{how}"


def _report(name: str, manager: Manager) -> Iterator[tuple[str, str]]:
    state = State(manager.state(name))
    try:
        path, newest = state.newest()
        kept = state.kept()
    except FileNotFoundError:
        yield "reports", f"none in {state.reports}"
        return
    except OSError as error:
        yield "reports", f"{state.reports} cannot be read: {error.strerror}"
        return
    if newest:
        end = outcome(newest)
        yield "report", f"{path}/report.json, {newest['run']['finished']}: {clean_text(end.words)}"
    yield "reports", f"{len(kept)} in {state.reports}"
