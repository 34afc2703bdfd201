"""JSON from a host: by JSON's own rules, and nothing in it that what comes after could not take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from facts.core.json_text import DEEPEST, load, load_first


@pytest.mark.parametrize("read", [load, load_first])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested too deep"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested too deep"),
        ("9" * 5000, "too many digits"),
        ("[NaN]", "NaN is no JSON"),
        ("[-Infinity]", "-Infinity is no JSON"),
        ("1e999", "1e999 is no JSON"),
        ("", "Expecting value"),
        ("{'a': 1}", "Expecting property name"),
    ],
)
def test_refused(text: str, why: str, read: Any) -> None:
    with pytest.raises(ValueError, match=why):
        read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * DEEPEST + "]" * DEEPEST, None),
        ('"' + "[" * 500 + '"', "[" * 500),
        (r'"\ud800x\udfff"', "\ufffdx\ufffd"),
        (r'{"\udc00": ["\ud83d\ude00", "\udead"]}', {"\ufffd": ["\U0001f600", "\ufffd"]}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("[1.5, 1e3, 123456789012345678901234567890]", [1.5, 1000.0, 123456789012345678901234567890]),
    ],
)
def test_read(text: str, value: Any) -> None:
    assert load(text) == (json.loads(text) if value is None else value)
    assert load_first(f"{text} and what stands after it") == load(text)
    assert load(text) is None or json.dumps(load(text), ensure_ascii=False).encode()


def test_rows_of_an_object_can_be_had() -> None:
    found: list[Any] = []
    load('{"b": {"a": 1}, "b": 2}', lambda rows: found.append(rows))
    assert found == [[("a", 1)], [("b", None), ("b", 2)]]
