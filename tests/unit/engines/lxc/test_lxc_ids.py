"""The ids of new containers of LXC where another owner has them too."""

from __future__ import annotations

from typing import Any

from deploys.core.change import Blocked, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy, Rules
from deploys.engines.lxc.controls import SUBJECT
from deploys.engines.lxc.rules import LxcRules
from deploys.userns.controls import CONTROLS, UsernsRules
from facts.cgroups import Cgroups, CgroupsReading
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.lxc import Lxc
from facts.engines.lxc.lxc import DEFAULT, LxcReading
from facts.lxc_files import Line
from facts.userns import LXC_DEFAULT, SUBGID, SUBUID, Userns
from tests.support.lxc import beside
from tests.support.userns import both, reading

START = 0x7000_0000
BOTH = ("lxc.user-namespace", "userns.ranges")


def context(start: int, rows: str, **more: Any) -> Context:
    """A host whose new containers get ids from `start` on."""
    lines = tuple(Line("lxc.idmap", f"{kind} 0 {start} 65536", f"{DEFAULT}:{kind}") for kind in "ug")
    values: dict[str, Any] = dict.fromkeys(LxcReading.__dataclass_fields__, ())
    text = "".join(f"{line.key} = {line.value}\n" for line in lines)
    values |= {"installed": True, "path": DEFAULT, "text": text, "lines": lines, **more}
    lxc = LxcReading(**values)
    ids = reading(rows, rows, lxc=both(start, 65536, LXC_DEFAULT, DEFAULT))
    groups = CgroupsReading(**(dict.fromkeys(CgroupsReading.__dataclass_fields__, ()) | {"version": "v2"}))  # type: ignore[arg-type]
    survey = Survey({Lxc: lxc, Userns: ids, Cgroups: groups, **beside()})
    rules: dict[type[Rules], Rules] = {
        LxcRules: LxcRules(user_namespace="mapped"),
        UsernsRules: UsernsRules(ranges=True),
    }
    findings = [*judge(SUBJECT.controls, survey, Policy("p", rules)), *judge(CONTROLS, survey, Policy("p", rules))]
    return Context(survey, Policy("p", rules), {finding.control.id: finding for finding in findings})


def planned(host: Context) -> dict[str, tuple[str, tuple[str, ...]]]:
    changes = [change for change in SUBJECT.plan(host) if not isinstance(change, Blocked)]
    return {change.path: (change.text, change.controls) for change in changes if isinstance(change, WriteFile)}


def test_new_containers_get_ids_that_nobody_has_and_those_that_are_there_keep_theirs() -> None:
    rows = "root:131072:65536\ncontainers:100000:65536\n"
    host = context(131072, rows)
    finding = host.findings["lxc.user-namespace"]
    assert finding.state is State.FAIL
    assert "ids that are another owner's: root:131072:65536 (/etc/subuid) overlaps containers:100000:65536" in (
        finding.verdict.reason
    )
    plan = planned(host)
    assert plan[SUBUID] == plan[SUBGID] == (f"{rows}root:{START}:65536\n", BOTH)
    assert plan[DEFAULT][0].endswith(f"lxc.idmap = g 0 {START} 65536\n# The end of hullproof's block.\n")
    assert plan[DEFAULT][1] == BOTH
    assert planned(context(START, plan[SUBUID][0])) == {}


def test_files_of_lxc_that_are_not_known_are_in_nobodys_way() -> None:
    host = context(131072, "root:131072:65536\ncontainers:100000:65536\n", lines=Unknown("line 3 is broken"))
    assert host.findings["lxc.user-namespace"].state is State.UNKNOWN
    assert list(SUBJECT.plan(host)) == []


def test_what_others_share_is_not_lxcs_to_mend() -> None:
    rows = f"root:{START}:65536\nroot:200000:9\nbob:200000:5\nalice:100000:9\ncontainers:100000:9\n"
    host = context(START, rows)
    assert host.findings["userns.ranges"].state is State.FAIL
    assert host.findings["lxc.user-namespace"].state is State.PASS
    assert planned(host) == {}
