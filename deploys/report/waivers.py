"""Waivers as a report shows them: what they waive, which end soon, which are past, and which nothing needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploys.core.control import Finding, State, some
from deploys.core.policy import Policy, Waiver

SOON = 14  # days

Row = Mapping[str, Any]


def of_host(policy: Policy, findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """A row per waiver. `needed`: whether the control does not hold without; None where that is not known, since the
    host was not judged. `every`: what the control lists, where the waiver covers all of that without naming it."""
    judged = {finding.control.id: finding for finding in findings}
    controls = dict.fromkeys(waiver.control for waiver in policy.waivers)
    found = (waiver for control in controls for waiver in policy.waivers_for(control))
    return [_row(waiver, judged.get(waiver.control)) for waiver in found]


def _row(waiver: Waiver, finding: Finding | None) -> dict[str, Any]:
    return {
        "control": waiver.control,
        "owner": waiver.owner,
        "reason": waiver.reason,
        "until": waiver.until.isoformat(),
        "days": waiver.days,
        "only": waiver.only,
        "every": finding.control.lists if finding and waiver.only is None and not waiver.expired else "",
        "needed": _needed(waiver, finding),
    }


def _needed(waiver: Waiver, finding: Finding | None) -> bool | None:
    if finding is None or finding.state is State.UNKNOWN:
        return None
    if waiver.only and not waiver.expired:
        return any(name in finding.verdict.waived for name in waiver.only)
    return finding.state not in (State.PASS, State.NOT_APPLICABLE)


def summary(hosts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Over the whole run: how many findings are waived, and the waivers that need a look."""
    parts = list(hosts)
    kept: dict[tuple[str, ...], dict[str, Any]] = {}
    needs: dict[tuple[str, ...], list[bool | None]] = {}
    every: dict[tuple[str, ...], str] = {}
    for row in (row for part in parts for row in part["waivers"]):
        key = (row["control"], row["owner"], row["until"], *(row["only"] or ()))
        kept.setdefault(key, {name: row[name] for name in ("control", "only", "owner", "until", "days")})
        every[key] = every.get(key) or row["every"]
        needs.setdefault(key, []).append(row["needed"])
    rows = kept.values()
    return {
        "findings": sum(finding["state"] == State.WAIVED for part in parts for finding in part["findings"]),
        "expiring": [row for row in rows if 0 <= row["days"] <= SOON],
        "past": [row for row in rows if row["days"] < 0],
        "unnamed": [row | {"every": every[key]} for key, row in kept.items() if every[key]],
        "unneeded": [row for key, row in kept.items() if not any(need is not False for need in needs[key])],
    }


def why(host: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    """Of a waived finding of a host's part of a report: who waives it, until when and why."""
    own = [row for row in host["waivers"] if row["control"] == finding["control"] and row["days"] >= 0]
    return "; ".join(f"{row['owner']}, until {row['until']}: {row['reason']}" for row in own) or str(finding["reason"])


def rows(hosts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each waiver, whichever hosts have it: `hosts` counts them, `needed` those of them where it is not known
    to be idle. Those that end first come first."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in (row for part in hosts for row in part["waivers"]):
        key = (row["control"], row["owner"], row["reason"], row["until"], *(row["only"] or ()))
        kept = found.setdefault(key, row | {"hosts": 0, "needed": 0})
        kept["hosts"] += 1
        kept["needed"] += row["needed"] is not False
    return sorted(found.values(), key=lambda row: (row["until"], row["control"]))


def sentences(waivers: Mapping[str, Any]) -> Iterator[str]:
    """The summary in words."""
    idle = waivers["unneeded"]  # it does not matter when these end
    if count := waivers["findings"]:
        yield f"{count} finding{' is' if count == 1 else 's are'} waived."
    for row in (row for row in waivers["expiring"] if row not in idle):
        left = {0: "today", 1: "in 1 day"}.get(row["days"], f"in {row['days']} days")
        yield f"{_name(row)} ends {left}, on {row['until']} (owner: {row['owner']})."
    for row in (row for row in waivers["past"] if row not in idle):
        yield f"{_name(row)} ended on {row['until']} and waives nothing (owner: {row['owner']})."
    for row in waivers["unnamed"]:
        yield (
            f"{_name(row)} covers every {row['every']}, and each that is started later: name those that it is for with "
            f"`only` (owner: {row['owner']})."
        )
    for row in idle:
        yield (
            f"{_name(row)} is needed by no host of this run: the control holds without it, or does "
            f"not apply (owner: {row['owner']}, until {row['until']})."
        )


def _name(row: Row) -> str:
    only = f" for {some(row['only'])}" if row["only"] else ""
    return f"The waiver of {row['control']}{only}"
