"""What could not be read is unknown, wherever in a reading it stands; and other values cost findings, never the run."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from facts.core.reading import Unknown
from facts.core.survey import Survey
from tests.fuzz.readings import UNKNOWN, alternatives, others, places, put
from tests.fuzz.surveys import FACTS, Recorded, surveys
from tests.fuzz.whole_run import POLICIES, became_other_than_unknown, policy, run, troubles

POLICY = st.sampled_from(POLICIES)
NUMBER = st.integers(0, 2**16)
SPOTS = st.lists(st.tuples(st.sampled_from(FACTS), NUMBER, NUMBER), min_size=3, max_size=20)


def with_other(survey: Survey, spots: list[tuple[Any, int, int]], unknown: bool) -> Survey:
    """The survey with other values in some places of its readings: Unknown alone, or any that the place may hold."""
    for fact, place, value in spots:
        reading = survey.readings[fact]
        found = []
        for path, hint in places(reading, fact.reading() | Unknown):
            news = [UNKNOWN] * (Unknown in alternatives(hint)) if unknown else others(hint)
            found += [(path, news)] * bool(news)
        path, news = found[place % len(found)]
        survey = Survey({**survey.readings, fact: put(reading, path, news[value % len(news)])})
    return survey


@given(surveys(), SPOTS, POLICY)
def test_unknown_becomes_no_other_state(recorded: Recorded, spots: list[Any], name: str) -> None:
    before = recorded.survey()
    survey = with_other(before, spots, unknown=True)
    assert troubles(survey, policy(name)) == []
    assert became_other_than_unknown(before, survey, policy(name)) == {}
    run(survey, policy(name))


@given(surveys(), SPOTS, POLICY)
def test_any_value_costs_findings_alone(recorded: Recorded, spots: list[Any], name: str) -> None:
    """Parsers promise more than the annotations say, so a control may raise here; the run goes on."""
    run(with_other(recorded.survey(), spots, unknown=False), policy(name))
