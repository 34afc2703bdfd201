"""Waivers as a report shows them: what they waive, which end soon, which are past, and which nothing needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploys.core.control import Finding, State
from deploys.core.policy import Policy, Waiver

SOON = 14  # days

Row = Mapping[str, Any]


def of_host(policy: Policy, findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """A row per control that the policy waives. `needed`: whether the control does not hold without; None where that
    is not known, since the host was not judged."""
    states = {finding.control.id: finding.state for finding in findings}
    found = (policy.waiver_for(control) for control in dict.fromkeys(waiver.control for waiver in policy.waivers))
    return [_row(waiver, states.get(waiver.control)) for waiver in found if waiver is not None]


def _row(waiver: Waiver, state: State | None) -> dict[str, Any]:
    return {
        "control": waiver.control,
        "owner": waiver.owner,
        "reason": waiver.reason,
        "until": waiver.until.isoformat(),
        "days": waiver.days,
        "needed": None if state in (None, State.UNKNOWN) else state not in (State.PASS, State.NOT_APPLICABLE),
    }


def summary(hosts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Over the whole run: how many findings are waived, and the waivers that need a look."""
    parts = list(hosts)
    kept: dict[tuple[str, str, str], dict[str, Any]] = {}
    needs: dict[tuple[str, str, str], list[bool | None]] = {}
    for row in (row for part in parts for row in part["waivers"]):
        key = (row["control"], row["owner"], row["until"])
        kept.setdefault(key, {name: row[name] for name in ("control", "owner", "until", "days")})
        needs.setdefault(key, []).append(row["needed"])
    rows = kept.values()
    return {
        "findings": sum(finding["state"] == State.WAIVED for part in parts for finding in part["findings"]),
        "expiring": [row for row in rows if 0 <= row["days"] <= SOON],
        "past": [row for row in rows if row["days"] < 0],
        "unneeded": [row for key, row in kept.items() if not any(need is not False for need in needs[key])],
    }


def sentences(waivers: Mapping[str, Any]) -> Iterator[str]:
    """The summary in words."""
    idle = waivers["unneeded"]  # it does not matter when these end
    if count := waivers["findings"]:
        yield f"{count} finding{' is' if count == 1 else 's are'} waived."
    for row in (row for row in waivers["expiring"] if row not in idle):
        left = {0: "today", 1: "in 1 day"}.get(row["days"], f"in {row['days']} days")
        yield f"The waiver of {row['control']} ends {left}, on {row['until']} (owner: {row['owner']})."
    for row in (row for row in waivers["past"] if row not in idle):
        yield f"The waiver of {row['control']} ended on {row['until']} and waives nothing (owner: {row['owner']})."
    for row in idle:
        yield (
            f"The waiver of {row['control']} is needed by no host of this run: the control holds without it, or does "
            f"not apply (owner: {row['owner']}, until {row['until']})."
        )
