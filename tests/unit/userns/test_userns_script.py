"""Where files of LXC's containers are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from facts.userns import Userns
from tests.support.script import put, run_script


@pytest.mark.parametrize("path", ["", "/var/lib/lxc", "/var/lib/lxc/", "/srv/guests", '"/srv/guests"'])
def test_ids_of_containers_are_found_below_the_folder_that_lxc_is_set_to(path: str, tmp_path: Path) -> None:
    folder = path.strip('"').rstrip("/") or "/var/lib/lxc"
    within = path.replace("/srv", f"{tmp_path}/srv")
    put(tmp_path, "/etc/lxc/lxc.conf", f"lxc.lxcpath = {within}\n" if path else "")
    put(tmp_path, f"{folder}/web/config", "lxc.idmap = u 0 1879048192 65536\n")
    found = Userns.parse(run_script(Userns.script, tmp_path)).lxc
    assert [(row.owner, row.start) for row in found] == [("web", 1879048192)]  # type: ignore[union-attr]
