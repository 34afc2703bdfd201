"""Ids that each of Podman's containers has for itself, and the range that they come out of."""

from __future__ import annotations

from deploys.core.change import Blocked, Context, Undoing, WriteFile
from deploys.core.control import State
from deploys.engines.podman.controls import SUBJECT
from facts.core.record import JournalEntry
from facts.engines.podman.podman import DROP_IN
from facts.engines.rootless.rootless import Listening
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
    assert stay(context(podman())) == []
