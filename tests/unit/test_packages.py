"""Packages: installed at once, undone by removing what was not there, also where power was lost midway."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.engine import journal
from deploys.engine.change import Install
from tests.unit.test_armed import ID, Host

NFT = Install("test", "install nft", packages=("nftables", "there"))
APT = """\
echo apt "$@" >>ROOT/asked
[ ! -e ROOT/half ] || { echo 'E: dpkg was interrupted'; exit 100; }
case "$*" in
*"install "*) printf 'libnft\\nnftables\\n' >>ROOT/db ;;
*"purge "*) for name; do sed -i "/^$name\\$/d" ROOT/db; done ;;
esac"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    (tmp_path / "db").write_text("there\n")
    made.tool("apt-get", APT.replace("ROOT", str(tmp_path)))
    made.tool("dpkg-query", f"sed 's/^/installed /' {tmp_path}/db")
    made.tool("dpkg", f'echo dpkg "$@" >>{tmp_path}/asked; rm -f {tmp_path}/half')
    return made


def undo(host: Host) -> list[str]:
    script, nonce = journal.undo_script(ID)
    return [outcome.error for outcome in journal.parse_answer(host.sh(script), nonce).values()]


def test_what_came_with_it_goes_with_it(host: Host) -> None:
    assert host.apply(NFT) == [""]
    assert "nftables" in (host.root / "db").read_text()
    assert undo(host) == [""]
    assert (host.root / "db").read_text() == "there\n"


def test_a_package_manager_that_was_cut_off_before_is_put_right_first(host: Host) -> None:
    (host.root / "half").touch()
    assert host.apply(NFT) == [""]
    assert "--configure -a" in (host.root / "asked").read_text()


def test_power_lost_midway_is_undone_as_far_as_it_is_known(host: Host) -> None:
    entry = host.journal / ID / "0001"
    assert host.apply(NFT) == [""]
    (entry / "packages").unlink()
    (entry / "done").unlink()
    (host.root / "half").touch()
    assert undo(host) == [""]
    assert "nftables" not in (host.root / "db").read_text().split()
    assert "there" in (host.root / "db").read_text().split(), "it was there before"
