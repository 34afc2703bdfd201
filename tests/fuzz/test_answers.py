"""Whatever a host answers costs findings of that host, and never the run."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.core.fact import SectionFact
from facts.core.reading import Unknown
from facts.core.survey import Survey
from tests.fuzz import mutations
from tests.fuzz.surveys import FACTS, Pieces, Recorded, recorded, render, surveys
from tests.fuzz.whole_run import POLICIES, became_other_than_unknown, policy, run, troubles

POLICY = st.sampled_from(POLICIES)


def packed(frame: bytes) -> bytes:
    return base64.b64encode(gzip.compress(frame, 1, mtime=0))


def survive(answer: bytes, name: str) -> None:
    survey = Survey.parse(FACTS, ["Welcome!", *answer.decode("utf-8", "replace").split("\n")])
    assert troubles(survey, policy(name)) == []
    run(survey, policy(name))


@given(surveys(), st.lists(mutations.BYTES, min_size=3, max_size=20), POLICY)
def test_other_bytes(survey: Recorded, others: list[tuple[str, int, int]], name: str) -> None:
    """On the host, before they are packed; the last of them on the way here."""
    frame = render(survey.pieces()).encode()
    for other in others[:-1]:
        frame = mutations.mutate_bytes(frame, other)
    survive(packed(frame), name)
    survive(mutations.mutate_bytes(packed(frame), others[-1]), name)


@given(surveys(), st.lists(mutations.STRUCTURE, min_size=5, max_size=30), POLICY)
def test_other_blocks(survey: Recorded, others: list[tuple[mutations.Mutation, int, int]], name: str) -> None:
    pieces = survey.pieces()
    for mutate, place, value in others:
        if any(pieces.values()):
            mutate(pieces, place, value)
    survive(packed(render(pieces).encode("utf-8", "replace")), name)


@given(surveys(), st.lists(mutations.JSON, min_size=5, max_size=30), POLICY)
def test_other_json(survey: Recorded, others: list[tuple[int, int, int]], name: str) -> None:
    pieces = survey.pieces()
    mutations.mutate_json(pieces, others)
    survive(packed(render(pieces).encode("utf-8", "replace")), name)


def hosts() -> list[Recorded]:
    """One host of each distribution."""
    return [Recorded(tuple(recorded(fact, name)[0] for fact in FACTS)) for name in ("debian12", "rhel9")]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("ends", ["missing", "124", "137", "1"])
def test_without_any_section_nothing_holds(ends: str, name: str) -> None:
    pieces: Pieces = {} if ends == "missing" else hosts()[0].pieces()
    survey = Survey.parse(FACTS, render(pieces, dict.fromkeys(pieces, ends)).split("\n"))
    assert all(isinstance(reading, Unknown) for reading in survey.readings.values())
    built = run(survey, policy(name))
    assert built["exit_code"] != 0
    assert built["summary"]["findings"]["pass"] == built["summary"]["findings"]["fail"] == 0


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.key)
def test_without_one_section_nothing_holds_that_did_not(fact: type[SectionFact[Any]], name: str) -> None:
    for host in hosts():
        survey = host.survey()
        without = Survey({**survey.readings, fact: Unknown("no answer in time")})
        assert became_other_than_unknown(survey, without, policy(name)) == {}
