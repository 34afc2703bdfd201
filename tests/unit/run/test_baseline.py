"""What moved since the baseline, and its cause: from a record that may hold anything."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from deploys.core.control import Finding, State, Verdict, failed, judge, passed
from deploys.core.policy import Policy, Rules
from deploys.run.baseline import baseline_of, with_drift
from facts.core.reading import Block, Section, Unknown
from facts.core.record import Journal, JournalEntry, Record, RecordReading, Watched
from facts.core.survey import Survey
from facts.core.trail import Touch
from tests.support.control import control


class BoatRules(Rules):
    icc: int | None = None
    spared: list[str] = Field([])


ID = "test.one"
FILE = Watched("/etc/x.conf", "a" * 64, "b" * 64, 1790000000, "root")
OTHER = Watched("/etc/modules-load.d/x.conf", "a" * 64, "b" * 64, 1790000000, "root")
POLICY = Policy("strict", {BoatRules: BoatRules(icc=1)})
KEPT = {"time": "2026-09-01T00:00:00Z", "run": "r", "policy": "strict", "rules": POLICY.plain,
        "findings": {ID: {"state": "pass", "disk": 1, "live": 1}}}  # fmt: skip


def entry(path: str | None = None, *controls: str, **more: Any) -> JournalEntry:
    return JournalEntry("0001", "test", "what", path, True, False, controls=controls, **more)


def journal(*entries: JournalEntry) -> Journal:
    return Journal("r", "harden", "2026-09-01T00:00:00Z", entries)


def drift(verdict: Verdict, row: dict[str, Any], policy: Policy = POLICY, **more: Any) -> dict[str, Any] | None:
    values: dict[str, Any] = {"baseline": KEPT, "watched": (FILE, OTHER)}
    values |= {"journals": (journal(entry(FILE.path, ID)),), "spent": (), "unread": (), "packages": ()}
    survey = Survey({Record: RecordReading(**{**values, **more})})
    [found] = with_drift([Finding(control(**row), verdict)], survey, policy)
    assert (found.drift is None) == (found.verdict.reason == verdict.reason)
    return found.drift


def cause(disk: Any = 2, live: Any = 2, files: tuple[str, ...] = (), **more: Any) -> str:
    found = drift(failed("no", declared=1, disk=disk, live=live), {"files": files}, **more)
    return str((found or {}).get("cause"))


@pytest.mark.parametrize(("modified", "said"), [(1790000000, "2026-09-21"), (10**19, "9999-12-31"), (0, "1970-01-01")])
def test_a_file_says_when_it_was_changed_whatever_the_clock(modified: int, said: str) -> None:
    assert f"/etc/x.conf was changed {said}" in cause(watched=(Watched("/etc/x.conf", "a", "b", modified, "root"),))


@pytest.mark.parametrize("kept", [None, Unknown("no JSON"), {}, {"findings": []}, {"findings": {ID: []}}])
def test_without_a_baseline_nothing_has_moved(kept: Any) -> None:
    assert cause(baseline=kept) == "None"


def test_a_cause_names_the_files_of_that_control_alone() -> None:
    """By what the journal says they were written for, or by the control's own row."""
    assert cause() == "/etc/x.conf was changed 2026-09-21 14:13 UTC (owner root), not by hullproof"
    assert OTHER.path not in cause(files=("/etc/x.conf",), journals=())
    of_another = (journal(entry(OTHER.path, "test.two")),)
    assert cause(journals=of_another) == "cause not known: no file that hullproof wrote sets it"


def test_files_are_said_to_be_untouched_only_where_they_are() -> None:
    same = Watched("/etc/x.conf", "a", "a", 1, "root")
    assert cause(disk=None, watched=(same, OTHER)) == "cause not known: /etc/x.conf is as hullproof left it"
    assert "x.conf was changed" in cause(disk=None)
    # what it reads on disk has not moved: whatever else became of a file that many share is not its cause
    assert cause(disk=1) == (
        "cause not known: nothing on disk has changed for it, and what changed the running system is not recorded"
    )


def test_what_is_not_known_has_not_moved() -> None:
    assert drift(Verdict(State.UNKNOWN, "the daemon does not answer"), {}) is None


def test_another_policy_is_no_drift() -> None:
    """What it demands, what it spares, and a policy of then that makes no sense any more."""
    nothing = failed("not 2", declared=2, disk=1, live=1)

    def check(survey: Survey, policy: Policy) -> Verdict:
        rules = policy[BoatRules]
        found = {name: "strange" for name in ("backup",) if name not in rules.spared}
        if rules.icc != 1 or found:
            return failed("no", declared=rules.icc, disk=1, live=found)
        return passed("yes", declared=rules.icc, disk=1, live=1)

    then = Policy("strict", {BoatRules: BoatRules(icc=1, spared=["backup"])})
    kept = {**KEPT, "rules": then.plain}
    for now in (BoatRules(icc=2, spared=["backup"]), BoatRules(icc=1)):
        assert drift(nothing, {"check": check}, Policy("strict", {BoatRules: now}), baseline=kept) is None
    senseless: tuple[Any, ...] = (5, {}, {"BoatRules": {"gone": 1}}, {"BoatRules": []})
    for rules in senseless:
        assert cause(baseline={**KEPT, "rules": rules}) == "None"
    # of the release before, which kept its name alone
    before = {name: value for name, value in KEPT.items() if name != "rules"}
    assert cause(baseline={**before, "policy": "baseline"}) == "None"
    assert cause(baseline=before) != "None"


def test_what_moved_is_drift_under_another_policy_too() -> None:
    def check(survey: Survey, policy: Policy) -> Verdict:
        return failed("no", declared=policy[BoatRules].icc, disk=3, live=1)

    now = Policy("s", {BoatRules: BoatRules(icc=2)})
    found = drift(failed("no", declared=2, disk=3, live=1), {"check": check}, now)
    assert found is not None
    assert found["moved"] == {"disk": {"was": 1, "is": 3}}


def test_the_baseline_says_what_the_policy_demanded() -> None:
    run = {"id": "r", "started": "t", "policy": "strict"}
    assert baseline_of(run, judge([control()], Survey({}), POLICY), POLICY) == {
        "run": "r", "time": "t", "policy": "strict", "rules": {"BoatRules": {"icc": 1, "spared": []}}, "in_vain": [],
        "findings": {ID: {"state": "pass", "disk": None, "live": None}},
    }  # fmt: skip


def test_packages_are_named_where_the_control_stands_on_them() -> None:
    lines = (
        "2026-11-22 20:29:43 install iptables:amd64 <none> 1.8.11-2\n2027-cut\n\n zz\n"
        "2026-11-22 20:30:00 upgrade auditd:amd64 1 2\n"
    )
    reading = Record.read(Section({"packages": Block(0, lines)}))
    assert isinstance(reading, RecordReading)
    assert reading.packages == (lines.split("\n")[0], lines.split("\n")[4])
    of_ours = (journal(entry(None, ID, packages=("iptables",))),)
    said = "package install iptables:amd64 <none> 1.8.11-2 at 2026-11-22 20:29:43 (the host's time)"
    assert package_cause(reading, journals=of_ours) == said
    assert "upgrade auditd" in package_cause(reading, stands_on=("audit*",))
    assert package_cause(reading) == "cause not known: no file that hullproof wrote sets it"


def package_cause(reading: RecordReading, journals: tuple[Journal, ...] = (), stands_on: tuple[str, ...] = ()) -> str:
    row = {"packages": stands_on}
    found = drift(failed("no"), row, journals=journals, watched=(), packages=reading.packages)
    return str((found or {}).get("cause"))


WROTE = """\
type=SYSCALL msg=audit(1790000001.5:9): arch=c000003e syscall=257 success=yes exit=3 items=2 pid=9 auid=1000 uid=0 \
gid=0 comm="vim" exe="/usr/bin/vim.basic" key="hullproof"\x1dARCH=x86_64 SYSCALL=openat AUID="alice" UID="root"
type=CWD msg=audit(1790000001.5:9): cwd="/etc"
type=PATH msg=audit(1790000001.5:9): item=1 name="x.conf" inode=1 nametype=CREATE
"""
OWNERS = "1790000000 root /etc/x.conf\n{since} root /var/lib/hullproof/baseline.json\n"


def read(trail: str, since: int = 1789999999) -> Watched:
    blocks = {"written": f"{'a' * 64} /etc/x.conf\n", "digests": f"{'b' * 64}  /etc/x.conf\n", "trail": trail,
              "owners": OWNERS.format(since=since)}  # fmt: skip
    reading = Record.read(Section({name: Block(0, text) for name, text in blocks.items()}))
    assert isinstance(reading, RecordReading)
    return reading.watched[0]


def test_auditd_says_who_it_was() -> None:
    file = read(WROTE)
    assert file.touched == Touch(1790000001, "alice", "root", "/usr/bin/vim.basic")
    assert cause(watched=(file,)).endswith(
        "not by hullproof; auditd recorded alice (as root) with /usr/bin/vim.basic at 14:13:21 UTC"
    )
    raw = WROTE.partition("\x1d")[0] + "\n" + WROTE[WROTE.index("type=CWD") :]
    assert read(raw).touched == Touch(1790000001, "1000", "0", "/usr/bin/vim.basic")
    service = read(raw.replace("auid=1000", "auid=4294967295"))
    assert "0, outside any login session, with" in cause(watched=(service,))


@pytest.mark.parametrize(
    "trail", ["", "zz", WROTE.replace('name="x.conf"', 'name="y.conf"'), WROTE.replace("type=CWD", "type=ZZ"),
              WROTE.replace("1790000001", "1" * 30)]
)  # fmt: skip
def test_of_what_auditd_does_not_say_nothing_is_said(trail: str) -> None:
    assert read(trail).touched is None


def test_a_record_from_before_the_baseline_is_no_cause() -> None:
    assert read(WROTE, since=1790000002).touched is None
