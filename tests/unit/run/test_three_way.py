"""What a change put into a file that others own too is taken out again; what they wrote since stays."""

from __future__ import annotations

import json

import pytest

from deploys.run.three_way import Conflict, merged_json, merged_lines


@pytest.mark.parametrize(
    ("was", "wrote", "now", "after"),
    [
        ("ops:1:2\n", "ops:1:2\nours:5:6\n", "ops:1:2\nours:5:6\nbob:9:9\n", "ops:1:2\nbob:9:9\n"),
        ("ours:1:1\nops:1:2\n", "ops:1:2\nours:5:6\n", "ops:1:2\nours:5:6\nbob:9:9\n", "ours:1:1\nops:1:2\nbob:9:9\n"),
        ("a\nMODE=x\nb\n", "a\nMODE=y\nb\n", "# new\na\nMODE=y\nb2\n", "# new\na\nMODE=x\nb2\n"),
        ("a\n", "a\nours\n", "a\ntheirs\n", "a\ntheirs\n"),
        ("a\nb\n", "b\n", "b\nc\n", "a\nb\nc\n"),
        ("a\n", "a\nours\n", "ours\nb\na\n", "b\na\n"),
        (None, "ours\n", "ours\ntheirs\n", "theirs\n"),
        (None, "ours\n", "ours", None),
        ("", "ours\n", "ours", ""),
        ("a", "a\nours\n", "a\nours\nb", "a\nb\n"),
    ],
)
def test_lines(was: str | None, wrote: str, now: str, after: str | None) -> None:
    assert merged_lines(was, wrote, now) == after


@pytest.mark.parametrize(
    ("was", "wrote", "now"),
    [("MODE=x\n", "MODE=y\n", "MODE=z\n"), ("a\n", "a\n1\n2\n", "a\n1\n"), ("a", "b", "\n" * 9999)],
)
def test_lines_that_were_changed_once_more_are_no_business_of_ours(was: str, wrote: str, now: str) -> None:
    with pytest.raises(Conflict):
        merged_lines(was, wrote, now)


@pytest.mark.parametrize(
    ("was", "wrote", "now", "after"),
    [
        ({}, {"icc": False}, {"icc": False, "dns": []}, {"dns": []}),
        ({"icc": True}, {"icc": False}, {"icc": False, "dns": []}, {"icc": True, "dns": []}),
        ({"hosts": ["x"]}, {}, {"dns": []}, {"dns": [], "hosts": ["x"]}),
        ({"a": 1}, {"a": 2}, {"a": 1, "b": 1}, {"a": 1, "b": 1}),
        (
            {},
            {"log-opts": {"max-size": "1m"}},
            {"log-opts": {"max-size": "1m", "tag": "x"}},
            {"log-opts": {"tag": "x"}},
        ),
        ({"o": {"x": 1}}, {"o": {"x": 1, "y": 2}}, {"o": {"x": 3, "y": 2}}, {"o": {"x": 3}}),
        (None, {"icc": False}, {"dns": []}, {"dns": []}),
        (None, {"icc": False}, {"icc": False}, None),
    ],
)
def test_keys(was: object, wrote: object, now: object, after: object) -> None:
    text = None if was is None else json.dumps(was)
    merged = merged_json(text, json.dumps(wrote), json.dumps(now))
    assert (None if merged is None else json.loads(merged)) == after


def test_the_form_of_what_is_there_now_is_kept() -> None:
    now = '{\n\t"dns": ["é"],\n\t"icc": false\n}'
    assert merged_json("{}", '{"icc": false}', now) == '{\n\t"dns": [\n\t\t"é"\n\t]\n}'


@pytest.mark.parametrize("now", ['{"icc": true}', '{"icc": "secret"}', "[1]", "{", None, '{"icc": {"a": 1}}'])
def test_keys_that_were_changed_once_more_are_theirs_and_no_value_is_told(now: str | None) -> None:
    with pytest.raises(Conflict) as conflict:
        merged_json('{"icc": 7}', '{"icc": false}', now)
    assert "secret" not in str(conflict.value)
