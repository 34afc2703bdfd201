"""An undo takes out of a file that others own too what was put in, and leaves what they wrote."""

from __future__ import annotations

import json

from deploys.core.change import MergeJson, WriteFile
from deploys.run import journal
from tests.support.journal import RUN, Host, apply, host
from tests.support.undo import merge, plan, undo

__all__ = ["host"]


def test_keys_and_rows_of_others_stay_in_files_that_they_own_too(host: Host) -> None:
    before = '{\n    "log-level": "info"\n}\n'
    (host.root / "conf").write_text(before)
    (host.root / "rows").write_text("ops:1:2\n")
    rows = WriteFile("test", "a row", path=str(host.root / "rows"), text="ops:1:2\nours:5:6\n", before="ops:1:2\n",
                     mode="", owner="", shared="lines")  # fmt: skip
    assert apply(host, rows, merge(host, {"icc": False}, before)) == ["", "", ""]
    keys = json.loads((host.root / "conf").read_text())
    (host.root / "conf").write_text(json.dumps(keys | {"dns": ["10.0.0.1"]}, indent=4))
    (host.root / "rows").write_text("ops:1:2\nours:5:6\nbob:9:9\n")
    assert all(error == "" for error, _ in undo(host).values())
    assert json.loads((host.root / "conf").read_text()) == {"log-level": "info", "dns": ["10.0.0.1"]}
    assert (host.root / "rows").read_text() == "ops:1:2\nbob:9:9\n"
    assert (host.root / "live").read_text() == (host.root / "conf").read_text(), "the service took that up"


def test_a_key_that_was_changed_once_more_is_theirs(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    apply(host, merge(host, {"icc": False}, "{}\n"))
    (host.root / "conf").write_text('{"icc": true, "dns": []}')
    assert "icc was changed once more" in plan(host).refused[0]


def test_two_writes_of_one_file_in_one_run_are_taken_out_one_after_the_other(host: Host) -> None:
    (host.root / "rows").write_text("a\n")
    one, two = (WriteFile("test", "w", path=str(host.root / "rows"), text=text, before=before, mode="", owner="",
                          shared="lines") for text, before in (("a\nb\n", "a\n"), ("a\nb\nc\n", "a\nb\n")))  # fmt: skip
    apply(host, one, two)
    (host.root / "rows").write_text("a\nb\nc\ntheirs\n")
    undo(host)
    assert host.files() == {"rows": "a\ntheirs\n"}


def test_what_an_earlier_rollback_would_have_merged_does_not_come_back(host: Host) -> None:
    keys = host.root / "keys"
    apply(host, WriteFile("test", "w", path=str(keys), text='{"a": 1}', before=None, owner="", shared="json"))
    keys.write_text('{\n  "a": 1\n}')
    (host.journal / RUN["id"] / "0001" / "merged").write_text('{"theirs": "gone since"}')
    assert [error for error, _ in undo(host).values()] == [""]
    assert host.files() == {}


def test_a_merge_that_did_not_reach_the_journal_removes_nothing(host: Host) -> None:
    keys = host.root / "keys"
    apply(host, WriteFile("test", "w", path=str(keys), text='{"a": 1}', before=None, owner="", shared="json"))
    keys.write_text('{"a": 1, "theirs": 1}')
    made = plan(host)
    del made.amended["0001", "merged"]
    script = journal.undo_script(made.orders(()), RUN)
    assert "the journal lacks" in script.answer(host.sh(script.text))["0001"].error
    assert host.files() == {"keys": '{"a": 1, "theirs": 1}'}


def test_a_merge_that_its_validator_refuses_is_not_put_in_place(host: Host) -> None:
    (host.root / "conf").write_text("{}")
    change = merge(host, {"a": 1}, "{}")
    apply(host, MergeJson(**{**change.__dict__, "validate": "! grep -q worse {}"}))
    (host.root / "conf").write_text('{"a": 1, "worse": 1}')
    said = undo(host)
    assert "would not be valid" in said["0002"][0]
    assert json.loads((host.root / "conf").read_text()) == {"a": 1, "worse": 1}
