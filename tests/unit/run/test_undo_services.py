"""A service step that fails is taken back, and the service with it."""

from __future__ import annotations

import json

from deploys.core.change import MergeJson
from deploys.run.script import WORDS, Fate
from tests.support.journal import RUN, Host, apply, host, record, service, write
from tests.support.undo import merge, undo

__all__ = ["host"]


def test_a_service_step_that_failed_is_taken_back_in_report_and_journal(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    errors = apply(host, merge(host, {"bad": 1}, "{}\n"))
    assert errors[1] == WORDS[Fate.PUT_BACK]
    assert "daemon runs as before" in errors[0]
    assert record(host).journals == (), "the next rollback must not restart the daemon for nothing"


def test_a_service_that_was_left_alone_is_not_activated_for_what_is_put_back(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    change, daemon = merge(host, {"a": 1}, "{}\n"), service(host)
    alone = type(daemon)(**{**daemon.__dict__, "activate": f"echo ran >>{host.root}/log; echo not now; exit 3"})
    errors = apply(host, MergeJson(**{**change.__dict__, "service": alone}))
    assert "daemon was left alone. It said: not now" in errors[0]
    assert host.files() == {"conf": "{}\n", "log": "ran\n"}
    assert record(host).journals == ()


def test_a_service_file_that_somebody_changed_at_once_is_not_put_back_over_it(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    change = merge(host, {"bad": 1}, "{}\n")
    meddling = f"echo theirs >{host.root}/conf; false"
    daemon = service(host)
    errors = apply(
        host, MergeJson(**{**change.__dict__, "service": type(daemon)(**{**daemon.__dict__, "activate": meddling})})
    )
    assert "was changed after this run had written it" in errors[0]
    assert (host.root / "conf").read_text() == "theirs\n"
    assert len(record(host).journals) == 1


def test_a_service_that_does_not_take_up_the_old_files_gets_the_new_ones_again(host: Host) -> None:
    (host.root / "conf").write_text('{"x": 1}')
    apply(host, write(host, "first", "x", None), merge(host, {"x": 2}, '{"x": 1}'))
    daemon = host.journal / RUN["id"] / "0002" / "undo"
    daemon.write_text(f"! grep -q '\"x\": 1' {host.root}/conf && cp {host.root}/conf {host.root}/live")
    said = undo(host)
    assert list(said) == ["0003", "0002"]
    assert said["0003"][0] == WORDS[Fate.PUT_BACK]
    assert "put back" in said["0002"][0]
    assert json.loads((host.root / "conf").read_text()) == {"x": 2} == json.loads((host.root / "live").read_text())
    assert [entry.id for entry in record(host).journals[0].left] == ["0003", "0002", "0001"]
