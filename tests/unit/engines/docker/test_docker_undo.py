"""What a rollback says of Docker before it begins, and what it does not do unasked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from deploys.core.change import Obstacle, Remark, Undoing
from deploys.engines.docker import controls as subject
from deploys.engines.docker.rules import DockerRules
from deploys.engines.docker.undo import remarks
from facts.core.reading import Unknown
from facts.core.record import JournalEntry
from facts.engines.docker.docker import DAEMON_JSON, Docker, Stored
from facts.userns import SUBUID
from tests.support.hosts import container, docker, judged

SERVICE = JournalEntry("0003", "docker", "have docker take up its settings", None, True, False, kind="service")
PACKAGES = JournalEntry(
    "0001", "packages", "install Docker", None, True, False, kind="packages", packages=("docker.io",)
)
STARTED = JournalEntry("0002", "engine", "start Docker, now and at boot", None, True, False, kind="command")
LIVE = {"LiveRestoreEnabled": True, "SecurityOptions": []}
LR = {"live-restore": True}


def say(
    entries: tuple[JournalEntry, ...] = (SERVICE,),
    now: Mapping[str, Any] = LR,
    after: Mapping[str, Any] | None = None,
    accept: str = "",
    rows: tuple[str, str] = ("", ""),
    **reading: Any,
) -> list[Remark]:
    values = {"info": LIVE, "containers": (container("web"), container("db"))} | reading
    values.setdefault("stored", Stored((), 0, (), ()))
    context = judged(subject.SUBJECT, DockerRules(), {Docker: docker(dict(now), **values)}, accept)
    files = {DAEMON_JSON: (json.dumps(now), None if after is None else json.dumps(after)), SUBUID: rows}
    return list(remarks(Undoing(context, entries, files)))


def said(obstacle: Obstacle | None) -> str:
    return obstacle.reason if obstacle else ""


def test_containers_run_on_where_live_restore_is_on_even_if_it_goes() -> None:
    (remark,) = say()
    assert remark.refused is None
    assert "running containers keep running" in remark.interrupts
    assert "removed last" in remark.interrupts
    assert remark.script.startswith("STOP=0\nUNDO=1\n"), "whatever the journal's own script would do"
    assert "taken away" not in say(now=LR | {"log-level": "info"}, after=LR)[0].interrupts


@pytest.mark.parametrize(
    ("now", "after", "info", "words"),
    [
        (LR, {}, {"LiveRestoreEnabled": False}, "because live-restore is off"),
        (LR | {"icc": False}, {}, LIVE, "Docker applies icc only when it starts without running containers"),
        (
            LR | {"userns-remap": "dockremap"},
            {},
            LIVE | {"SecurityOptions": ["name=userns"]},
            "changes the user namespace",
        ),
    ],
)
def test_what_would_stop_containers_is_refused_until_it_is_accepted(
    now: dict[str, Any], after: dict[str, Any], info: dict[str, Any], words: str
) -> None:
    (remark,) = say(now=now, after=after, info=info)
    assert words in said(remark.refused)
    assert "web, db" in said(remark.refused)
    assert "accept=container-restart" in said(remark.refused)
    (remark,) = say(now=now, after=after, info=info, accept="container-restart")
    assert remark.refused is None
    assert "stops web, db" in remark.interrupts
    assert remark.script.startswith("STOP=1\nUNDO=1\n")
    assert say(now=now, after=after, info=info, containers=())[0].refused is None


def test_what_was_started_with_rm_is_never_stopped() -> None:
    containers = (container("web"), container("job", auto_remove=True))
    assert "stopping would delete job" in said(say(containers=containers, accept="container-restart")[0].refused)
    assert say(containers=containers)[0].refused is None, "it runs on"


def test_where_it_is_not_known_what_runs_nothing_is_restarted_unasked() -> None:
    unread = Unknown("no answer")
    (remark,) = say(containers=unread)
    assert "cannot determine which containers a restart of Docker would stop (no answer)" in said(remark.refused)
    assert say(containers=unread, accept="container-restart")[0].refused is None


HELD = Stored(("busybox",), 1, (), ("ledger",))


def test_what_goes_out_of_sight_with_the_mapping_is_named_and_asked_for() -> None:
    now, info = LR | {"userns-remap": "dockremap"}, LIVE | {"SecurityOptions": ["name=userns"]}
    (remark,) = say(now=now, after={}, info=info, stored=HELD, containers=())
    assert "1 image: busybox; 1 volume: ledger" in said(remark.refused)
    assert "accept=userns-remap" in said(remark.refused)
    (remark,) = say(now=now, after={}, info=info, stored=HELD, containers=(), accept="userns-remap")
    assert remark.refused is None
    assert "accept=userns-remap" in said(
        say(now=now, after={}, info=info, stored=Unknown("?"), containers=())[0].refused
    )


def test_other_ids_for_docker_hide_what_it_has_as_well() -> None:
    keys, info = LR | {"userns-remap": "dockremap"}, LIVE | {"SecurityOptions": ["name=userns"]}
    same: dict[str, Any] = {"now": keys, "after": keys, "info": info, "stored": HELD, "containers": ()}
    (remark,) = say(**same, rows=("alice:1:2\ndockremap:3:4\n", "alice:1:2\ndockremap:1:4\n"))
    assert "no longer sees what it has (1 image: busybox; 1 volume: ledger)" in said(remark.refused)
    assert say(**same, rows=("alice:1:2\ndockremap:3:4\n", "dockremap:3:4\n"))[0].refused is None


@pytest.mark.parametrize(
    ("stored", "words"), [(HELD, "1 image: busybox; 1 volume: ledger"), (Unknown("no answer"), "could not be listed")]
)
def test_an_engine_that_holds_anything_stays_and_runs(stored: Any, words: str) -> None:
    started, packages = say((STARTED, PACKAGES), stored=stored)
    assert (started.entry, packages.entry) == ("0002", "0001")
    for remark in (started, packages):
        assert words in said(remark.stays)
        assert "accept=remove-engine" in said(remark.stays)
    for remark in say((STARTED, PACKAGES), stored=stored, accept="remove-engine"):
        assert remark.stays is None
        assert remark.script.startswith("ENGINE=1\n")
        assert "stops Docker and web, db" in remark.interrupts


def test_an_engine_whose_start_was_not_recorded_any_more_is_looked_at_all_the_same() -> None:
    """Power was lost during its installation, which had started it."""
    (remark,) = say((PACKAGES,), containers=(), stored=Stored((), 0, (), ()))
    assert (remark.entry, remark.stays, remark.interrupts) == ("0001", None, "stops Docker")
    assert remark.script.startswith("ENGINE=1\n"), "the host looks once more at what it holds"
    (remark,) = say((PACKAGES,), containers=Unknown("no answer"), stored=Stored((), 0, (), ()))
    assert "cannot determine which containers would stop together with Docker (no answer)" in said(remark.stays)


def test_an_engine_that_holds_nothing_goes() -> None:
    for remark in say((STARTED, PACKAGES), containers=(), stored=Stored((), 0, (), ())):
        assert (remark.stays, remark.interrupts) == (None, "stops Docker")


def test_docker_that_the_run_only_started_is_not_stopped_under_containers_unasked() -> None:
    (remark,) = say((STARTED,))
    assert "stop web, db" in said(remark.stays)
    (remark,) = say((STARTED,), accept="container-restart")
    assert remark.stays is None
    assert remark.script.startswith("ENGINE=0\n")


@pytest.mark.parametrize(
    ("entries", "accept"), [((STARTED,), "container-restart"), ((STARTED, PACKAGES), "remove-engine")]
)
def test_where_it_is_not_known_what_runs_docker_is_not_stopped_unasked(
    entries: tuple[JournalEntry, ...], accept: str
) -> None:
    for remark in say(entries, containers=Unknown("no answer")):
        assert "cannot determine which containers would stop together with Docker (no answer)" in said(remark.stays)
        assert f"accept={accept}" in said(remark.stays)
    started = say(entries, containers=Unknown("no answer"), accept=accept)[0]
    assert started.stays is None
    assert "all of its containers" in started.interrupts


def test_a_run_without_docker_does_not_ask_for_it() -> None:
    context = judged(subject.SUBJECT, DockerRules(), {})
    entry = JournalEntry("0001", "kernel", "set", "/etc/x", True, False, kind="file")
    assert list(remarks(Undoing(context, (entry,), {}))) == []
