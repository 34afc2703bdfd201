"""What a container engine adds to a subject of another name, joined with what the subject has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from deploys.core.change import Change, Command, Context, Part, Remark, Subject, Undoing
from deploys.core.control import Finding, failed
from deploys.core.policy import Policy, Rules
from deploys.subjects import ENGINES, OWN, SUBJECTS
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from facts.core.system import System
from facts.kernel.kernel import Kernel
from tests.support.control import control

FAILING = {"net.engine": Finding(control(id="net.engine"), failed("it is open"))}
CONTEXT = Context(Survey({}), Policy("test", {}), FAILING)
UNDOING = Undoing(CONTEXT, (), {})


def change(name: str) -> Command:
    return Command("net", name, script=":", undo="", controls=(f"net.{name}",))


def planned(context: Context) -> Iterator[Change]:
    yield from (change("own"), change("other"))


def added(context: Context) -> Iterator[Change]:
    yield change("engine")


def along(context: Context) -> Mapping[str, tuple[str, ...]]:
    return {"net.own": ("net.engine", "net.late")}


def remark(entry: str) -> Remark:
    return Remark(entry)


OWN_SUBJECT = Subject(
    "net", Rules, (control(id="net.own"),), planned, (System,), ("lose-it",), lambda undoing: [remark("first")]
)
PART = Part((control(id="net.engine"),), added, (Kernel, System), ("restart",), lambda undoing: [remark("then")], along)
WHOLE = OWN_SUBJECT.with_part(PART)


def test_what_the_part_adds_comes_after_what_the_subject_has() -> None:
    assert [each.id for each in WHOLE.controls] == ["net.own", "net.engine"]
    assert (WHOLE.facts, WHOLE.accepts) == ((System, Kernel), ("lose-it", "restart"))
    assert [each.what for each in WHOLE.plan(CONTEXT)] == ["own", "other", "engine"]
    assert [each.entry for each in WHOLE.undoing(UNDOING)] == ["first", "then"]


def test_a_change_of_the_subject_mends_what_the_part_says_it_mends_too() -> None:
    own, other, _ = WHOLE.plan(CONTEXT)
    assert own.controls == ("net.own", "net.engine", "net.late")
    assert other.controls == ("net.other",)


def test_a_part_has_no_control_of_another_subject() -> None:
    with pytest.raises(ValueError, match=r"not its controls: web\.engine"):
        OWN_SUBJECT.with_part(Part((control(id="web.engine"),), added, ()))


def test_each_part_of_each_engine_is_in_the_subject_that_it_names() -> None:
    whole = {subject.name: subject for subject in SUBJECTS}
    assert [*whole] == [subject.name for subject in OWN]
    for parts in ENGINES:
        for name, part in parts.items():
            assert set(part.controls) <= set(whole[name].controls)


def test_an_engine_that_cannot_be_read_is_in_nobodys_way_where_nothing_of_it_fails() -> None:
    def unread(context: Context) -> Iterator[Change]:
        raise UnknownReading("docker: timed out")

    whole = OWN_SUBJECT.with_part(replace(PART, plan=unread))
    nothing = Context(Survey({}), Policy("test", {}), {})
    assert [each.what for each in whole.plan(nothing)] == ["own", "other"]
    with pytest.raises(UnknownReading):
        list(whole.plan(CONTEXT))


def test_a_part_may_mend_what_the_subject_itself_asks_for() -> None:
    failing = {"net.own": Finding(control(id="net.own"), failed("it is open"))}
    host = Context(Survey({}), Policy("test", {}), failing)
    assert [each.what for each in WHOLE.plan(host)] == ["own", "other"]
    whole = OWN_SUBJECT.with_part(replace(PART, mends=("net.own",)))
    assert [each.what for each in whole.plan(host)] == ["own", "other", "engine"]
