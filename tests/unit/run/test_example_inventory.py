"""The inventory to copy: it can be read, and accepts no host whose key is unknown."""

from __future__ import annotations

from tests.support.entry_points import ROOT
from tests.verify.hosts import ask_inventory


def test_the_example_accepts_no_unknown_host_key() -> None:
    hosts = ask_inventory(str(ROOT / "inventories" / "example.py"))
    assert {host.name.partition(".")[0] for host in hosts} == {"canary", "docker1", "docker2", "docker3"}
    assert {host.data["ssh_strict_host_key_checking"] for host in hosts} == {"yes"}
