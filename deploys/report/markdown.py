"""The report as Markdown: the summary of a pull request, of a job, or of a chat's message.

What a host, a policy or a report's writer says stands in code spans alone: there nothing is markup, a mention of a
person, or a link. The size is bounded, since such pages are (65,536 characters of a pull request's comment).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploys.core.control import DOES_IT, Severity, State
from deploys.report import merge, waivers
from deploys.report.report import outcome, part_judged

CONTROLS, HOSTS, REASONS, TEXT = 40, 10, 3, 300  # how much is shown; of text, characters
STATES = [state.value for state in State]
SEVERITIES = [severity.value for severity in Severity]
SHOWN = [State.FAIL, State.PENDING_RESTART, State.PENDING_REBOOT, State.UNKNOWN, State.PASS, State.WAIVED]

Report = Mapping[str, Any]


def markdown(report: Report) -> str:
    """Counts, hosts that were not judged, what does not hold by control with its hosts, waivers."""
    return "\n".join([*_head(report), *_hosts(report), *_problems(report), *_waivers(report)])


def _head(report: Report) -> Iterator[str]:
    run, code = report["run"], report["exit_code"]
    end = outcome(report)
    words = end.words if code == end.code else "a proof failed"
    yield f"## hullproof {run['kind']}: {'holds' if code == 0 else 'does not hold' if code == 2 else 'not clear'}\n"
    yield f"{code_span(words)} (exit code {code}). {part_judged(run)}".rstrip() + "\n"
    statuses = ", ".join(f"{count} {status}" for status, count in report["summary"]["hosts"].items() if count)
    where = f"hosts: {statuses or 'none'} · run {code_span(run['id'])}, {run['finished']}"
    yield f"Policy {code_span(run['policy'])} · {where}\n"
    yield from (f"{sentence}\n" for sentence in map(code_span, merge.differences(report)))
    counts = report["summary"]["findings"]
    yield f"| {' | '.join(SHOWN)} | not applicable |"
    yield "|" + "---:|" * (len(SHOWN) + 1)
    yield f"| {' | '.join(str(counts[state]) for state in (*SHOWN, State.NOT_APPLICABLE))} |\n"


def _hosts(report: Report) -> Iterator[str]:
    lost = {name: host for name, host in report["hosts"].items() if host["status"] != "ok"}
    if lost:
        yield "### Hosts that were not judged to the end\n"
        for name, host in list(lost.items())[:CONTROLS]:
            yield f"- {code_span(name)}: {host['status']}: {code_span(host['error'] or '')}"
        yield from _more(len(lost) - CONTROLS, "hosts")


def _problems(report: Report) -> Iterator[str]:
    found = _by_control(report)
    if found:
        yield "### What does not hold\n"
    for (state, _, control), rows in sorted(found.items(), key=lambda item: _order(item[0]))[:CONTROLS]:
        first = rows[0][1]
        count = len(rows)
        takes = f", takes a {first['impact']}" if first["impact"] != "none" else ""
        where = f"{count} host{'s' if count > 1 else ''}: {_names(name for name, _ in rows)}"
        yield f"- **{state}** {code_span(control)} ({first['severity']}{takes}) on {where}"
        reasons = dict.fromkeys((finding["reason"], finding["next"]) for _, finding in rows)
        for reason, todo in list(reasons)[:REASONS]:
            after = f" – next: {code_span(todo)}" if todo and todo != DOES_IT else ""
            yield f"  - {code_span(reason)}{after}"
        yield from (f"  {line}" for line in _more(len(reasons) - REASONS, "reasons") if line)
    yield from _more(len(found) - CONTROLS, "controls")


def _by_control(report: Report) -> dict[tuple[str, str, str], list[tuple[str, Mapping[str, Any]]]]:
    """What does not hold, with its hosts, by state, severity and control."""
    found: dict[tuple[str, str, str], list[tuple[str, Mapping[str, Any]]]] = {}
    for name, host in report["hosts"].items():
        for finding in host["findings"]:
            if not State(finding["state"]).holds:
                key = finding["state"], finding["severity"], finding["control"]
                found.setdefault(key, []).append((name, finding))
    return found


def _order(key: tuple[str, str, str]) -> tuple[int, int, str]:
    state, severity, control = key
    return STATES.index(state), SEVERITIES.index(severity), control


def _waivers(report: Report) -> Iterator[str]:
    if sentences := list(waivers.sentences(report["summary"]["waivers"])):
        yield "### Waivers\n"
        yield from (f"- {code_span(sentence)}" for sentence in sentences[:CONTROLS])
        yield from _more(len(sentences) - CONTROLS, "sentences")


def _names(names: Iterable[str]) -> str:
    each = list(names)
    more = f" and {len(each) - HOSTS} more" if len(each) > HOSTS else ""
    return ", ".join(map(code_span, each[:HOSTS])) + more


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"- and {count} more {what}"
    yield ""


def code_span(text: str) -> str:
    """The text as a code span, whatever backquotes it has."""
    text = " ".join(text.split())
    text = text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"
