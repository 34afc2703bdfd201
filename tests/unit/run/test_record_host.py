"""What a host tells of changes since the baseline: by the survey's own script, on a folder that stands for a host."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from facts.core.frame import read_frame, survey_script
from facts.core.record import Record, RecordReading
from facts.core.survey import Survey
from facts.core.trail import Touch
from tests.support.journal import Host, apply, host, write

__all__ = ["host"]

EVENT = """\
type=SYSCALL msg=audit({time}.5:{id}): arch=c000003e syscall=257 success=yes auid=1000 uid=0 exe="{exe}" key="{key}"
type=CWD msg=audit({time}.5:{id}): cwd="{cwd}"
type=PATH msg=audit({time}.5:{id}): item=0 name="{folder}" nametype=PARENT
type=PATH msg=audit({time}.5:{id}): item=1 name="{name}" nametype=NORMAL
type=PROCTITLE msg=audit({time}.5:{id}): proctitle=76
"""


def event(host: Host, id_: int, name: str = "f", exe: str = "/usr/bin/vim", key: str = "hullproof", **more: Any) -> str:
    values = {"time": int(time.time()), "cwd": host.root, "folder": f"{host.root}/"} | more
    return EVENT.format(id=id_, name=name, exe=exe, key=key, **values)


def record(host: Host) -> tuple[RecordReading, list[str]]:
    """The reading, and the blocks that the host printed for it."""
    script = survey_script([Record]).replace("/var/lib/hullproof", str(host.root))
    lines = host.sh(script.replace("/var/log/", f"{host.root}/log/"))
    return Survey.parse([Record], lines)[Record], lines


@pytest.fixture
def changed(host: Host) -> Host:
    """A run wrote f and g for two controls, kept its baseline a minute ago, and somebody wrote f since."""
    (host.root / "log/audit").mkdir(parents=True)
    f = write(host, "f", "ours\n", None, controls=("test.one", "test.two"))
    apply(host, f, write(host, "g", "ours\n", None, controls=("test.two",)))
    (host.root / "baseline.json").write_text("{}")
    then = time.time() - 60
    for name in ("baseline.json", "f", "g"):
        os.utime(host.root / name, (then, then))
    (host.root / "f").write_text("theirs\n")
    return host


def test_the_journal_says_for_which_controls_a_file_was_written(changed: Host) -> None:
    [journal] = record(changed)[0].journals
    assert {entry.path: entry.controls for entry in journal.entries} == {
        f"{changed.root}/f": ("test.one", "test.two"), f"{changed.root}/g": ("test.two",),
    }  # fmt: skip


def test_auditds_last_record_of_a_changed_file_says_who_it_was(changed: Host) -> None:
    log = changed.root / "log/audit/audit.log"
    (changed.root / "log/audit/audit.log.1").write_text(event(changed, 1, exe="/usr/bin/first"))
    log.write_text(
        event(changed, 2, exe="/usr/bin/sed", name=f"{changed.root}/f")
        + event(changed, 3, exe="/usr/bin/another", key="theirs")
        + event(changed, 4, exe="/usr/bin/another", name="g")
        + event(changed, 5, exe="/usr/bin/another", cwd="/elsewhere")
    )
    found = {file.path.rpartition("/")[2]: file.touched for file in record(changed)[0].watched}
    assert found["f"] is not None
    assert found["f"] == Touch(found["f"].time, "1000", "0", "/usr/bin/sed")
    assert found["g"] is None, "it is as it was"
    log.unlink()
    assert all(file.touched is None for file in record(changed)[0].watched)


def test_the_log_is_not_read_where_nothing_has_changed(changed: Host) -> None:
    (changed.root / "log/audit/audit.log").write_text(event(changed, 1))
    assert "trail" in blocks(changed)
    os.utime(changed.root / "f", (time.time() - 90,) * 2)
    assert "trail" not in blocks(changed)
    (changed.root / "g").unlink()
    assert "trail" in blocks(changed), "a file that is gone was changed too"


def blocks(host: Host) -> set[str]:
    section = read_frame(record(host)[1])["record"]
    return set(getattr(section, "blocks", {}))


def test_packages_count_from_the_end_of_the_last_run_on_by_the_hosts_own_clock(
    changed: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What our run installed came before that, whatever the time zone."""
    monkeypatch.setenv("TZ", "UTC-14")
    times = [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 14 * 3600 + s)) for s in (-90, -30)]
    (changed.root / "log/dpkg.log").write_text(
        f"{times[0]} install ours:amd64 <none> 1\n{times[1]} upgrade theirs:amd64 1 2\n"
        f"{times[1]} status installed theirs:amd64 2\n"
    )
    assert record(changed)[0].packages == (f"{times[1]} upgrade theirs:amd64 1 2",)
