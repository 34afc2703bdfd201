"""Which files and control groups of single machines are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from facts.engines.nspawn import Nspawn
from tests.support.script import put, run_script


@pytest.mark.parametrize("folder", ["/etc/systemd/system.control", "/run/systemd/system.control"])
def test_what_set_property_writes_is_read(folder: str, tmp_path: Path) -> None:
    put(tmp_path, f"{folder}/systemd-nspawn@web.service.d/50-MemoryMax.conf", "[Service]\nMemoryMax=\n")
    (word,) = Nspawn.parse(run_script(Nspawn.script, tmp_path, "systemd-nspawn")).words
    assert (word.machine, word.key, word.value) == ("web", "MemoryMax", "")


@pytest.mark.parametrize("folder", ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd"])
def test_machines_that_run_are_found_whatever_the_version_of_control_groups(folder: str, tmp_path: Path) -> None:
    put(tmp_path, f"{folder}/machine.slice/systemd-nspawn@web.service/tasks")
    assert Nspawn.parse(run_script(Nspawn.script, tmp_path, "systemd-nspawn")).running == ("web",)


def test_trees_and_images_are_found(tmp_path: Path) -> None:
    for path in ("web/usr/x", "db.raw", "web.nspawn", ".hidden/x"):
        put(tmp_path, f"/var/lib/machines/{path}")
    trees = Nspawn.parse(run_script(Nspawn.script, tmp_path, "systemd-nspawn")).trees
    assert [(each.machine, each.path) for each in trees] == [
        ("web", "/var/lib/machines/web"), ("db", "/var/lib/machines/db.raw"),
    ]  # fmt: skip
