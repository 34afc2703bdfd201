"""Where files of containers are looked for, and what they say of ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from facts.core.reading import Block, Section
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


DOMAIN = """\
<domain type='lxc'>
  <name>shop</name>
  <idmap>
    <uid start='0' target='700000' count='65536'/>
    <gid start='0' target='800000' count='65536'/>
  </idmap>
</domain>
"""


@pytest.mark.parametrize("folder", ["/etc/libvirt/lxc", "/run/libvirt/lxc"])
def test_ids_of_containers_of_libvirt_are_found_whether_they_run_or_not(folder: str, tmp_path: Path) -> None:
    put(tmp_path, f"{folder}/shop.xml", DOMAIN)
    found = Userns.parse(run_script(Userns.script, tmp_path)).libvirt
    assert [(row.kind, row.owner, row.start) for row in found] == [("u", "shop", 700000), ("g", "shop", 800000)]  # type: ignore[union-attr]


def test_a_map_to_the_same_ids_takes_none_of_them() -> None:
    maps = Block(0, "0 0 4294967295\n1 1 4294967294\n0 655360 65536\n5 1000 1\n")
    found = Userns.parse(Section({"uid_map": maps, "gid_map": maps})).mapped
    assert [(row.kind, row.start) for row in found] == [("u", 655360), ("g", 655360)]  # type: ignore[union-attr]
