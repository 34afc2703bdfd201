"""Reports of fleets: of recorded hosts, and of made ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deploys.core.control import Severity, State, judge
from deploys.core.policy_file import load_policy
from deploys.report.report import STATUSES, HostReport, build
from deploys.subjects import SUBJECTS
from tests.support import recorded
from tests.support.report import KERNEL, OS, a_run, finding

# Every way out of an element, an attribute, a script and a comment.
HOSTILE = "</script><script>document.title='x'</script><img src=x onerror=\"document.title='x'\"><!--\"'>&lt;`${1}"


def recorded_fleet(count: int) -> dict[str, Any]:
    """What the baseline finds on as many recorded hosts, which are of every distribution; stock ones, if there are
    enough of these."""
    policy = load_policy("baseline", SUBJECTS)
    controls = [control for subject in SUBJECTS for control in subject.controls]
    hosts = list(recorded.hosts("stock"))
    if count > len(hosts):
        hosts += recorded.hosts("hardened")
    chosen = [hosts[number * len(hosts) // count] for number in range(count)]
    return build(
        a_run(),
        (
            HostReport(f"web{n}.example.net", "ok", None, {"name": name}, KERNEL, judge(controls, survey, policy))
            for n, (name, survey) in enumerate(chosen)
        ),
    )


def a_fleet(hosts: int, controls: int, reason: Callable[[int, int], str]) -> dict[str, Any]:
    """As many hosts as wanted, on each of which every third control fails. `reason`: what a host (a number) says of a
    control (a number)."""
    states = [State.FAIL, State.PASS, State.NOT_APPLICABLE]
    severities = list(Severity)
    findings = [
        finding(states[n % 3], f"boat.c{n}", "?", severity=severities[n % 7 % 3], declared=True, disk=False, live=[n])
        for n in range(controls)
    ]
    made = build(a_run(), [HostReport("one", "ok", None, OS, KERNEL, findings)])
    part = made["hosts"].pop("one")
    for host in range(hosts):
        rows = [row | {"reason": reason(host, number)} for number, row in enumerate(part["findings"])]
        made["hosts"][f"web{host}.example.net"] = part | {"findings": rows}
    for state, count in made["summary"]["findings"].items():
        made["summary"]["findings"][state] = count * hosts
    made["summary"]["hosts"]["ok"] = hosts
    return made


def hostile_fleet() -> dict[str, Any]:
    """Hosts of which every word is HOSTILE, in every state and with every kind of trouble."""
    drift = {"held": HOSTILE, "moved": {"live": {"was": HOSTILE, "is": [HOSTILE]}}, "cause": HOSTILE}
    said: dict[str, Any] = {"declared": {HOSTILE: 1}, "disk": [HOSTILE], "live": HOSTILE}
    findings = [
        replace(finding(state, f"boat.{state.value}", HOSTILE, **said), drift=drift, next=HOSTILE) for state in State
    ]
    changes = [{"subject": "boat", "what": HOSTILE, "path": HOSTILE, "journal": HOSTILE}]
    waiver = {"control": HOSTILE, "owner": HOSTILE, "reason": HOSTILE, "until": HOSTILE, "only": [HOSTILE]}
    waivers = [waiver | {"days": -1, "every": "", "needed": False}]
    system = {"name": HOSTILE}, {"release": HOSTILE, "build": HOSTILE}
    hosts = [
        HostReport(f"{HOSTILE} {status}", status, HOSTILE, *system, findings, changes, waivers) for status in STATUSES
    ]
    run = replace(a_run(), policy=HOSTILE, problem=HOSTILE)
    return build(run, [*hosts, HostReport(HOSTILE, "unreachable", HOSTILE)])
