"""A case that is another almost has the difference alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import read

OUTPUT = ["@hullproof n", "@n section s", "@n block a", "1", "@n status 0", "@n block b", "2", "@n end s 0", "@n done"]
WHOLE = {"output": OUTPUT, "fact": {"a": 1, "b": {"x": 2, "y": 3}}}


def case(folder: Path, **said: Any) -> Path:
    (folder / "whole.json").write_text(json.dumps(WHOLE))
    (folder / "other.json").write_text(json.dumps({"base": "whole", **said}))
    return folder / "other.json"


def test_a_block_has_other_lines_and_a_field_another_value(tmp_path: Path) -> None:
    other = read(case(tmp_path, replace={"b": ["5", "6"]}, fact={"b": {"x": 5}}))
    assert other["output"] == [*OUTPUT[:6], "5", "6", "@n end s 0", "@n done"]
    assert other["fact"] == {"a": 1, "b": {"x": 5}}
    assert read(tmp_path / "whole.json") == WHOLE


def test_a_block_is_not_there(tmp_path: Path) -> None:
    other = read(case(tmp_path, replace={"a": None}))
    assert other["output"] == [*OUTPUT[:2], *OUTPUT[5:]]
    assert other["fact"] == WHOLE["fact"]


def test_a_block_that_the_base_has_not_is_a_slip(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the base has no block c"):
        read(case(tmp_path, replace={"c": []}))


def test_no_case_leans_on_one_that_leans_on_another(tmp_path: Path) -> None:
    other = case(tmp_path)
    (tmp_path / "third.json").write_text(json.dumps({"base": "other"}))
    assert read(other) == WHOLE
    with pytest.raises(AssertionError, match="leans on another"):
        read(tmp_path / "third.json")
