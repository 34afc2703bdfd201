"""A value of a type that no annotation allows is unknown, at the nearest place that may be; numbers and times alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from facts.core.frame import read_frame
from facts.core.numbers import utc, whole_number
from facts.core.reading import Block, Section, Unknown, UnknownReading
from facts.core.shape import fits, shaped
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading
from tests.support.cases import CASES, read


@dataclass(frozen=True)
class Leaf:
    name: str
    age: int | Unknown | None = None


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...] | Unknown
    keys: dict[str, Leaf]
    pair: tuple[str, int] = ("", 0)
    kind: Literal["oak", "elm"] = "oak"
    rest: Any = None


BAD: Any = ["x"]


@pytest.mark.parametrize(
    ("value", "unknown_at"),
    [
        (Tree((Leaf("a"), Leaf("b", BAD)), {}), "tree.leaves[1].age is a list"),
        (Tree((Leaf("a"), Leaf(BAD)), {}), "tree.leaves[1].name is a list"),
        (Tree(BAD, {}), "tree.leaves is a list"),
        (Tree((), {"a": Leaf("a", BAD)}), "tree.keys[a].age is a list"),
    ],
)
def test_the_nearest_place_that_may_be_unknown_is(value: Tree, unknown_at: str) -> None:
    found = shaped(value, Tree, "tree")
    assert f"unknown='{unknown_at}: the host's answer makes no sense there'" in repr(found).replace('"', "'")
    assert fits(Tree)(found)


@pytest.mark.parametrize(
    "value",
    [
        Tree((), {"a": Leaf(BAD)}),
        Tree((), BAD),
        Tree((), {BAD[0]: Leaf("a"), 1: Leaf("b")}),  # type: ignore[dict-item]
        Tree((), {}, ("a", "b")),  # type: ignore[arg-type]
        Tree((), {}, ("a",)),  # type: ignore[arg-type]
        Tree((), {}, ("a", True)),
        Tree((), {}, kind="ash"),  # type: ignore[arg-type]
        None,
        {},
    ],
)
def test_what_no_place_around_it_may_be_is_unknown_as_a_whole(value: Any) -> None:
    with pytest.raises(UnknownReading, match="makes no sense there"):
        shaped(value, Tree, "tree")
    assert isinstance(shaped(value, Tree | Unknown, "tree"), Unknown)


def test_what_has_its_shape_is_left_as_it_is() -> None:
    tree = Tree((Leaf("a", 1), Leaf("b", Unknown("c"))), {"a": Leaf("d")}, rest={"any": [1]})
    assert shaped(tree, Tree, "tree") is tree


def recorded(case: str) -> dict[str, Block]:
    lines = read(CASES / "engines.docker.Docker" / f"{case}.json")["output"]
    section = read_frame(lines)["docker"]
    assert isinstance(section, Section)
    return section.blocks


@pytest.mark.parametrize(
    ("theirs", "other"),
    [
        ('"started":"', '"started":7,"was":"'),
        ('"security_opt":null', '"security_opt":[7]'),
        ('"auto_remove":false', '"auto_remove":[]'),
    ],
)
def test_a_container_of_another_form_is_unknown_and_the_rest_of_docker_is_read(theirs: str, other: str) -> None:
    blocks = recorded("debian13-containers")
    told = blocks["inspect"].text.replace(theirs, other, 1)
    assert told != blocks["inspect"].text
    reading = Docker.read(Section({**blocks, "inspect": Block(0, told)}))
    assert isinstance(reading, DockerReading)
    assert isinstance(reading.containers, Unknown)
    assert "docker.containers[" in reading.containers.unknown
    assert reading.running is True


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), (" 7\n", 7), ("0", 0), ("", None), ("-1", None), ("²", None), ("٣", None), ("1 2", None),
     ("1 # x", None), ("9" * 21, None), ("9" * 5_000, None)],
)  # fmt: skip
def test_a_number_is_one_in_plain_digits(text: str, number: int | None) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("status", ["²", "٣", "-1", "x", "", "9" * 5_000])
def test_a_status_that_is_no_number_is_a_failure_and_the_survey_is_read(status: str) -> None:
    frame = f"@hullproof n\n@n section docker\n@n block uid\n0\n\n@n status {status}\n\n@n end docker 0\n@n done\n"
    reading = Survey.parse([Docker], frame.split("\n")).readings[Docker]
    assert not isinstance(reading, DockerReading) or reading.running is not True


@pytest.mark.parametrize("seconds", [-1, 0, 1790000000, 10**11, 10**19])
def test_any_clock_gives_a_time(seconds: int) -> None:
    assert 1970 <= utc(seconds).year <= 9999
