"""Hosts that are alike share what is made of their answers, and a host that differs in what was asked has its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, ClassVar

import gevent
import pytest

from deploys.core import alike
from deploys.core.change import Context
from deploys.core.control import Control, Finding, State, Verdict, failed, judge, passed
from deploys.core.policy import Policy, Waiver
from deploys.core.policy_file import load_policy
from deploys.run import planning
from deploys.subjects import SUBJECTS
from facts.core import budget, shared
from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, OfOneHost, Section, UnknownReading
from facts.core.survey import Survey
from facts.kernel.kernel import BOOT_ID, Kernel
from facts.kernel.sysctls import Sysctls
from tests.support.control import control
from tests.support.kernel_host import KERNEL
from tests.support.recorded import FACTS, hosts, readings

CONTROLS = [each for subject in SUBJECTS for each in subject.controls]


@dataclass(frozen=True)
class Said(OfOneHost, own={"clock": 0}):
    text: str
    clock: int

    @property
    def late(self) -> bool:
        return self.remember("late", lambda: self.clock > 100)


@dataclass(frozen=True)
class Plain(Jsonable):
    text: str


class One(SectionFact[Said]):
    key: ClassVar[str] = "one"
    script: ClassVar[str] = ""

    @staticmethod
    def parse(section: Section) -> Said:
        return Said(section.blocks["text"].text, int(section.blocks["clock"].text))


class Other(SectionFact[Plain]):
    key: ClassVar[str] = "other"
    script: ClassVar[str] = ""

    @staticmethod
    def parse(section: Section) -> Plain:
        return Plain(section.blocks["text"].text)


def survey(text: str = "a", clock: int = 0, other: str = "x") -> Survey:
    lines = [
        "@hullproof n", "@n section one", "@n block text", text, "@n status 0", "@n block clock", str(clock),
        "@n status 0", "", "@n end one 0", "@n section other", "@n block text", other, "@n status 0", "",
        "@n end other 0", "@n done",
    ]  # fmt: skip
    return Survey.parse([One, Other], lines)


class Counted:
    """A control, and how often it was judged."""

    def __init__(self, check: Callable[[Survey], Verdict]) -> None:
        self.times = 0
        self.check = check
        self.policy = Policy("p", {})
        self.control: Control = control(self.judged)

    def judged(self, survey: Survey, policy: Policy) -> Verdict:
        self.times += 1
        return self.check(survey)

    def of(self, *surveys: Survey) -> list[str]:
        return [judge([self.control], each, self.policy)[0].verdict.reason for each in surveys]


def test_hosts_that_say_the_same_have_one_reading() -> None:
    assert survey()[Other] is survey()[Other]
    assert survey()[Other] is not survey(other="y")[Other]


def test_a_verdict_serves_all_hosts_of_which_it_asked_the_same() -> None:
    counted = Counted(lambda survey: passed(f"{survey[Other].text} is right"))
    assert counted.of(survey(), survey("b", 5), survey(other="y"), survey()) == [
        "x is right", "x is right", "y is right", "x is right",
    ]  # fmt: skip
    assert counted.times == 2


CHECKS: dict[str, Callable[[Survey], Verdict]] = {
    "the clock": lambda survey: passed(str(survey[One].clock)),
    "what is remembered of the clock": lambda survey: passed(str(survey[One].late)),
    "all readings": lambda survey: passed(str(len(survey.readings))),
    "remembered by the survey": lambda survey: passed(str(survey.remember("late", lambda: survey[One].late))),
}


@pytest.mark.parametrize("what", CHECKS)
def test_what_no_two_hosts_share_is_asked_of_each(what: str) -> None:
    counted = Counted(CHECKS[what])
    clocks = (1, 200, 1, 300)
    alone = [Counted(CHECKS[what]).of(survey(clock=clock))[0] for clock in clocks]
    assert counted.of(*(survey(clock=clock) for clock in clocks)) == alone
    assert counted.times == len(clocks)


def test_what_is_never_the_same_is_in_nobodys_way() -> None:
    counted = Counted(lambda survey: passed(survey[One].text))
    assert counted.of(survey(clock=1), survey(clock=2), survey("b", 3)) == ["a", "a", "b"]
    assert counted.times == 2


def test_a_host_that_names_its_boot_and_no_sysctl_is_not_one_that_named_nothing() -> None:
    """Of the one it is known that its kernel has no such sysctl, of the other it is not."""
    live: list[dict[str, str]] = [{BOOT_ID: "b1"}, {}, {BOOT_ID: "b2"}]
    surveys = [Survey({Kernel: replace(KERNEL, sysctls=Sysctls(each, {}, ()))}) for each in live]
    counted = Counted(lambda survey: passed(repr(survey[Kernel].sysctls.value("kernel.dmesg_restrict"))))
    unread = "Unknown(unknown='/proc/sys was not read: no answer')"
    assert counted.of(*surveys) == ["None", unread, "None"]
    assert counted.times == 2


def test_what_was_remembered_is_asked_for_again_by_whoever_uses_it() -> None:
    """Else the second of two controls would seem to have asked for nothing."""
    first, second = (
        Counted(lambda survey: passed(survey.remember("text", lambda: survey[Other].text))) for _ in range(2)
    )
    for text in ("x", "y"):
        mine = survey(other=text)
        assert first.of(mine) + second.of(mine) == [text, text]


def test_what_raises_is_made_on_each_host() -> None:
    def unknown(survey: Survey) -> Verdict:
        raise UnknownReading(survey[Other].text)

    counted = Counted(unknown)
    assert counted.of(survey(), survey()) == ["x", "x"]
    assert counted.times == 2


def test_what_cannot_be_held_weakly_is_judged_on_each_host() -> None:
    """A tuple, as a fact of a test's own may be: the verdict is none the worse."""
    counted = Counted(lambda survey: passed(str(survey.get(Other))))
    assert counted.of(*(Survey({Other: ("x",)}) for _ in range(2))) == ["('x',)"] * 2
    assert counted.times == 2


def test_a_reading_that_is_gone_is_not_taken_for_one_that_never_was() -> None:
    counted = Counted(lambda survey: passed("nothing" if survey.get(Other) is None else "something"))
    found = [*counted.of(Survey({Other: Plain("x")})), *counted.of(Survey({})), *counted.of(Survey({}))]
    assert found == ["something", "nothing", "nothing"]
    assert counted.times == 2


def test_a_waiver_by_name_ends_at_midnight_on_the_hosts_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(lambda survey: passed(", ".join(counted.policy.waived_by_name(counted.control.id))))
    waiver = Waiver(control=counted.control.id, reason="r", owner="o", until=date.max, only=["web"])
    counted.policy = Policy("p", {}, waivers=(waiver,))
    assert counted.of(survey()) == ["web"]
    monkeypatch.setattr(Waiver, "days", -1)
    assert counted.of(survey()) == [""]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "KEPT", 50)
    counted = Counted(lambda survey: failed(survey[Other].text))
    kept = [survey(other=f"{number:010d}") for number in range(100)]
    counted.of(*kept)
    [(_, rows)] = counted.policy.outcomes.values()
    assert len(rows) == alike.MOST
    assert sum(size for size, _ in shared._readings.values()) == shared._kept <= 50
    long = Section({"text": Block(0, "z" * (shared.GREATEST + 1))})
    assert shared.shared(Other, Other.parse, long, lambda: object()) is not shared.shared(
        Other, Other.parse, long, lambda: object()
    )


@pytest.mark.parametrize(
    "other",
    [{"a": Block(0, "b")}, {"a": Block(1, "")}, {"a": Block(0, ""), "b": Block(0, "")}, {"a0 0:": Block(0, "")}],
)
def test_sections_that_differ_anywhere_are_two(other: dict[str, Block]) -> None:
    made = [shared.shared(Other, None, Section(each), lambda: object()) for each in ({"a": Block(0, "")}, other)]
    assert made[0] is not made[1]


def findings(policy: Policy, survey: Survey) -> tuple[list[Finding], Any]:
    found = judge(CONTROLS, survey, policy)
    context = Context(survey, policy, {each.control.id: each for each in found})
    return found, planning.make(SUBJECTS, context)


def every_tenth() -> Iterator[tuple[str, Survey]]:
    for kind in ("stock", "hardened"):
        yield from itertools.islice(hosts(kind), 0, None, 10)


def test_a_host_is_judged_and_planned_after_others_as_it_is_alone() -> None:
    policy = load_policy("strict", SUBJECTS)
    for name, read in every_tenth():
        among, plan = findings(policy, read)
        alone, own = findings(Policy(policy.name, policy.rules, policy.waivers, policy.accept), Survey(read.readings))
        assert [repr(each.verdict) for each in among] == [repr(each.verdict) for each in alone], name
        assert repr(plan) == repr(own), name
    assert {each.state for each in among} >= {State.PASS, State.FAIL}


OWN = [(fact, name) for fact in FACTS if issubclass(fact.reading(), OfOneHost) for name in fact.reading()._own]


@pytest.mark.parametrize(("fact", "name"), OWN, ids=[f"{fact.key}-{name}" for fact, name in OWN])
def test_two_hosts_that_differ_in_what_is_each_ones_own_have_each_its_own_verdicts(fact: Any, name: str) -> None:
    policy = load_policy("strict", SUBJECTS)
    _, host = next(hosts("hardened"))
    mine = host.readings[fact]
    others = [found for found in readings(fact).values() if isinstance(found, OfOneHost)]
    values = (getattr(found, name) for found in others)
    other = next((value for value in values if value != getattr(mine, name)), ("unix:///run/other.sock",))
    findings(policy, host)
    differs = Survey({**host.readings, fact: replace(mine, **{name: other})})
    among, plan = findings(policy, differs)
    alone, own = findings(Policy(policy.name, policy.rules, policy.waivers, policy.accept), Survey(differs.readings))
    assert [repr(each.verdict) for each in among] == [repr(each.verdict) for each in alone]
    assert repr(plan) == repr(own)


def test_hosts_that_take_turns_do_not_get_what_another_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "TURN", -1)  # at each chance another goes on
    checks = [Counted(lambda survey: passed(survey[One].text)), Counted(lambda survey: passed(survey[Other].text))]
    policy = Policy("p", {})
    surveys = [survey(f"a{number % 2}", other=f"x{number % 3}") for number in range(12)]
    rows = [each.control for each in checks]
    found = [gevent.spawn(judge, rows, each, policy) for each in surveys]
    gevent.joinall(found, raise_error=True)
    said = [[finding.verdict.reason for finding in each.value] for each in found]
    assert said == [[f"a{number % 2}", f"x{number % 3}"] for number in range(12)]
    asked_for = {frozenset(for_it.facts) for _, rows in policy.outcomes.values() for _, for_it, _ in rows}
    assert asked_for == {frozenset({One}), frozenset({Other})}


def test_a_text_of_many_hosts_is_read_once_for_the_same_words_beside_it() -> None:
    asked: list[tuple[int, str]] = []

    @shared.of_text
    def read(text: str, machine: str) -> int:
        asked.append((len(text), machine))
        return len(text)

    long = "z" * (shared.TEXT + 1)
    assert [read(text, machine) for text in ("a", long) for machine in ("x", "y", "x")] == [1, 1, 1, *[len(long)] * 3]
    assert asked == [(1, "x"), (1, "y"), *((len(long), machine) for machine in "xyx")]
