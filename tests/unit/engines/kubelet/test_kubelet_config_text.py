"""A file of KubeletConfiguration is changed where it has to be, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from deploys.engines.kubelet.config_text import merged, with_keys
from facts.core import yaml_text

ANON = "authentication.anonymous.enabled"


@pytest.mark.parametrize(
    ("text", "put", "expected"),
    [
        ("a: 1 # one\nb: 2\n", {"a": 3}, "a: 3 # one\nb: 2\n"),
        ("a: 1", {"b": True}, "a: 1\nb: true\n"),
        ("a: 1 # one\n# last\n", {"b": "x"}, 'a: 1 # one\nb: "x"\n# last\n'),
        ("authentication:\n  anonymous:\n    enabled: true\n", {ANON: False},
         "authentication:\n  anonymous:\n    enabled: false\n"),
        ("authentication:\n  webhook:\n    enabled: true\nz: 1\n", {ANON: False},
         'authentication:\n  anonymous: {"enabled": false}\n  webhook:\n    enabled: true\nz: 1\n'),
        ("authentication: {anonymous: {enabled: true}}\n", {ANON: False},
         "authentication: {anonymous: {enabled: false}}\n"),
        ("authentication: {webhook: {}}\n", {ANON: False},
         'authentication: {"anonymous": {"enabled": false}, webhook: {}}\n'),
        ("authentication:\nz: 1\n", {ANON: False}, 'authentication: {"anonymous": {"enabled": false}}\nz: 1\n'),
        ("authentication: {}\n", {ANON: False}, 'authentication: {"anonymous": {"enabled": false}}\n'),
        ("tls:\n- A\n- B # weak\nz: 1\n", {"tls": ["C"]}, 'tls: ["C"] # weak\nz: 1\n'),
        ("z: 1\ntls:\n  - A\n  # and\n  - B\n", {"tls": ["C"]}, 'z: 1\ntls: ["C"]\n'),
        ("text: |\n  a\n  b\n# end\n", {"b": 1}, "text: |\n  a\n  b\nb: 1\n# end\n"),
        ("a: 1\na: 2\n", {"a": 3}, "a: 1\na: 3\n"),
        ("  a: 1\n  b: 2\n", {"c": 3}, "  a: 1\n  b: 2\n  c: 3\n"),
        ('{"a": {"b": 1}, "kind": "K"}', {"a.b": 2, "c": 0}, '{"c": 0, "a": {"b": 2}, "kind": "K"}'),
    ],
)  # fmt: skip
def test_only_the_keys_change(text: str, put: dict[str, Any], expected: str) -> None:
    made, whole = with_keys(text, put)
    assert (made, whole) == (expected, True)
    assert yaml.safe_load(made) == merged(yaml.safe_load(text), put)


@pytest.mark.parametrize(
    "text", ["---\na: 1\n...\n", "? a\n: 1\n", "--- # it\na: 1\n", "%YAML 1.1\n---\na: 1\n", "{}\n"]
)
def test_what_is_written_otherwise_says_the_same(text: str) -> None:
    made, whole = with_keys(text, {"b.c": [1, "x"]})
    assert yaml_text.load(made) == {**yaml_text.load(text), "b": {"c": [1, "x"]}}
    assert whole or "#" in text


def test_where_comments_go_that_is_said() -> None:
    made, whole = with_keys("# a comment\n{}\n", {"a": 1})
    assert (yaml_text.load(made), whole) == ({"a": 1}, False)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: [", "line 1"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: !!python/object:os.system x\n", "tag"),
        ("a: !!binary aGk=\n", "tag"),
        ("a: .nan\n", "no number"),
        ("a: b\n--- \nc: d\n", "document"),
        ("[" * 200 + "]" * 200, "nested too deep"),
        ("[" * 30_000, "nested too deep"),
        ("a\0b: 1", "not allowed"),
        ("a: 0x\n" + "b: " + "9" * 50_000, "longer than"),
        ("a: !!int x\n", "makes no sense"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        yaml_text.load(text)


def test_dates_and_merge_keys_stay_text() -> None:
    assert yaml_text.load("a: 2026-01-01\n'<<': {b: 1}\n1: x\n") == {"a": "2026-01-01", "<<": {"b": 1}, "1": "x"}
    assert yaml_text.load("") is None
    assert json.dumps(yaml_text.load("a: 12:30:00\nb: yes\n"))
