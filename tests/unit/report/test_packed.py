"""A part's report on its way: each finding once, and nothing lost."""

from __future__ import annotations

import json

import pytest

from deploys.core.control import State
from deploys.report import packed
from deploys.report.report import HostReport, build
from tests.support.report import a_run, finding


def test_what_was_packed_comes_out_and_hosts_share_what_is_the_same() -> None:
    same, own = finding(State.PASS), finding(State.FAIL, reason="\u00e9 <own>")
    hosts = [HostReport(name, "ok", None, findings=[same, *more]) for name, more in {"a": [own], "b": []}.items()]
    made = build(a_run(), [*hosts, HostReport("c", "unreachable", "no answer")])
    data = packed.pack(made)
    again = packed.unpack(data)
    assert again == made
    assert len(json.loads(data)["rows"]) == 2
    assert again["hosts"]["a"]["findings"][0] is again["hosts"]["b"]["findings"][0]
    assert packed.unpack(data)["hosts"]["a"]["findings"][0] is again["hosts"]["a"]["findings"][0]


def test_no_more_is_kept_than_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_known", {})
    monkeypatch.setattr(packed, "KEPT", 1)
    rows = [finding(State.PASS, name=f"boat.c{number}") for number in range(3)]
    made = build(a_run(), [HostReport("a", "ok", findings=rows)])
    assert packed.unpack(packed.pack(made)) == made
    assert len(packed._known) == 1
