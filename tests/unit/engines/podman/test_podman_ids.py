"""Ids that each of Podman's containers has for itself, and the range that they come out of."""

from __future__ import annotations

import dataclasses

import pytest

from deploys.core.change import Blocked, Context, Undoing, WriteFile
from deploys.core.control import State
from deploys.engines.podman.controls import SUBJECT
from facts.core.reading import Unknown
from facts.core.record import JournalEntry
from facts.engines.podman.podman import DROP_IN, AutoIds
from facts.engines.rootless.rootless import Listening
from facts.userns import Range
from tests.support.hosts import listed
from tests.support.podman import context, found, podman, written


def test_without_a_range_no_container_would_start_so_it_is_given_first() -> None:
    auto = podman({"containers.userns": "auto"})
    state, reason = found(auto, "user-namespace", ranges=(), user_namespace="auto")
    assert (state, "no ids for containers" in reason) == (State.FAIL, True)
    changes = list(SUBJECT.plan(context(podman(), ranges=(), user_namespace="auto")))
    assert [c.path for c in changes if isinstance(c, WriteFile)] == ["/etc/subuid", "/etc/subgid", DROP_IN]
    subuid = next(c for c in changes if isinstance(c, WriteFile))
    assert subuid.text == f"x:1:2\ncontainers:{0x7A000000}:{1 << 22}\n"


def row(kind: str, start: int, count: int, owner: str = "containers") -> Range:
    return Range(kind, start, count, owner, {"u": "/etc/subuid", "g": "/etc/subgid"}[kind])


AUTO = podman({"containers.userns": "auto"})
FRESH = f"containers:{0x7A000000}:{1 << 22}"


@pytest.mark.parametrize(
    ("ranges", "sizes", "word", "given"),
    [
        ([row("u", 200_000, 65536), row("g", 200_000, 65536)], AutoIds(), "", {}),
        ([row("u", 200_000, 65536)], AutoIds(), "/etc/subgid have no ids", {"/etc/subgid": "containers:200000:65536"}),
        ([row("g", 200_000, 65536)], AutoIds(), "/etc/subuid have no ids", {"/etc/subuid": "containers:200000:65536"}),
        # Another owner has the same ids of groups, or the one row is too small: the one that is there stays.
        ([row("u", 200_000, 65536), row("g", 200_010, 9, "ops")], AutoIds(), "no ids", {"/etc/subuid": FRESH,
                                                                                      "/etc/subgid": FRESH}),
        ([row("u", 200_000, 65536), row("g", 200_000, 4096)], AutoIds(), "/etc/subgid has 4096 ids for containers",
         {"/etc/subuid": FRESH, "/etc/subgid": FRESH}),
        ([row("u", 200_000, 4096), row("g", 200_000, 4096)], AutoIds(1024, 4096), "", {}),
        ([row("u", 200_000, 65536), row("g", 200_000, 65536)], AutoIds(1 << 23, 65536), "may need 8388608",
         {"/etc/subuid": f"containers:{0x7A000000}:{1 << 23}", "/etc/subgid": f"containers:{0x7A000000}:{1 << 23}"}),
        ([row("u", 200_000, 4096), row("u", 300_000, 61440), row("g", 200_000, 65536)], AutoIds(), "", {}),
    ],
)  # fmt: skip
def test_each_file_has_as_many_ids_as_a_container_may_need_and_rows_that_are_there_stay(
    ranges: list[Range], sizes: AutoIds, word: str, given: dict[str, str]
) -> None:
    made = context(dataclasses.replace(AUTO, auto_ids=sizes), ranges=tuple(ranges), user_namespace="auto")
    finding = made.findings["podman.user-namespace"]
    assert (finding.state, word in finding.verdict.reason) == (State.FAIL if given else State.PASS, True)
    texts = {"/etc/subuid": "x:1:2\n", "/etc/subgid": ""}
    for each in ranges:
        texts[each.source] += f"{each.owner}:{each.start}:{each.count}\n"
    plan = {c.path: c.text for c in SUBJECT.plan(made) if isinstance(c, WriteFile)}
    assert {path: text for path, text in plan.items() if path != DROP_IN} == {
        path: f"{texts[path]}{text}\n" for path, text in given.items()
    }


def test_sizes_that_are_not_known_judge_nothing() -> None:
    reading = dataclasses.replace(AUTO, auto_ids=Unknown("storage.conf"))
    assert found(reading, "user-namespace", user_namespace="auto")[0] is State.UNKNOWN


def test_users_whose_podman_reads_the_same_file_are_named_first() -> None:
    """On Debian 13 each container of theirs has 1,024 ids from then on, and others than before."""
    theirs = [listed("web", user=1000), listed("db", user=1000)]
    listening = (Listening(1000, "/run/user/1000/podman/podman.sock"), Listening(4711, "*:2375"))
    (blocked,) = SUBJECT.plan(context(podman(), *theirs, listening=listening, user_namespace="auto"))
    assert isinstance(blocked, Blocked)
    assert "users' Podman reads the same file: 4711, ops (db, web)." in blocked.why
    of_docker = (Listening(1000, "/run/user/1000/docker.sock"),)
    assert all(
        isinstance(c, WriteFile) for c in SUBJECT.plan(context(podman(), listening=of_docker, user_namespace="auto"))
    )
    changes = SUBJECT.plan(context(podman(), *theirs, accept="podman-userns", user_namespace="auto"))
    assert [c.path for c in changes if isinstance(c, WriteFile)] == [DROP_IN]


def test_containers_and_volumes_that_are_there_have_to_be_accepted() -> None:
    stored = podman(volumes=("data",))
    (blocked,) = SUBJECT.plan(context(stored, listed("db"), user_namespace="auto"))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("podman-userns",)
    assert "1 containers (db) and 1 volumes (data)" in blocked.why
    allowed = context(stored, listed("db"), user_namespace="auto", accept="podman-userns")
    assert written(SUBJECT.plan(allowed)) == {"containers.userns": "auto"}


def test_a_rollback_leaves_the_range_while_something_may_own_its_ids() -> None:
    rows = (JournalEntry("r/1", "podman", "give", "/etc/subuid", True, False),
            JournalEntry("r/2", "podman", "have", DROP_IN, True, False))  # fmt: skip

    def stay(host: Context) -> list[str]:
        return [each.entry for each in SUBJECT.undoing(Undoing(host, rows, {})) if each.stays]

    assert stay(context(podman(), listed("new"))) == ["r/1"]
    assert stay(context(podman(volumes=("data",)))) == ["r/1"]
    assert stay(context(podman(held=("0123456789abcdef",)))) == ["r/1"]
    assert stay(context(podman(held=Unknown("kept elsewhere")))) == ["r/1"]
    assert stay(context(podman())) == []


def test_a_rollback_leaves_a_range_that_took_the_place_of_another_too() -> None:
    given = JournalEntry("r/1", "userns", "give containers the ids 1–2 in /etc/subuid", "/etc/subuid", True, False)
    of_docker = dataclasses.replace(given, id="r/2", what="give dockremap the ids 3–4 in /etc/subuid")
    undoing = Undoing(context(podman(volumes=("data",))), (given, of_docker), {})
    assert [each.entry for each in SUBJECT.undoing(undoing)] == ["r/1"]
