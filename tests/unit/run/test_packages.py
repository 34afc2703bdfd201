"""Packages: installed at once, undone by removing what was not there, also where power was lost midway."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploys.core.change import Install
from deploys.run import journal
from facts.core.frame import survey_script
from facts.core.record import Record
from facts.core.survey import Survey
from tests.support.armed import ID, Host
from tests.support.journal import RUN

NFT = Install("test", "install nft", packages=("nftables", "there"))
APT = """\
[ ! -e /proc/$$/fd/9 ] || { echo 'E: this holds the lock on the host'; exit 100; }
echo apt "$@" >>ROOT/asked
[ ! -e ROOT/half ] || { echo 'E: dpkg was interrupted'; exit 100; }
case "$*" in
*"install "*) cat ROOT/theirs >>ROOT/db 2>/dev/null
  printf 'libnft\\nnftables\\n' >>ROOT/db
  printf 'Unpacking libnft:amd64 (1.0) ...\\nUnpacking nftables (1.0) ...\\n'
  printf 'Unpacking upgraded (2) over (1) ...\\nSetting up nftables (1.0) ...\\n' ;;
*"-s remove "*) for name; do grep -qx "$name" ROOT/db && echo "Remv $name [1]"; done; cat ROOT/along 2>/dev/null || : ;;
*"remove "*) for name; do sed -i "/^$name\\$/d" ROOT/db; done ;;
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
    script = journal.undo_script(journal.Orders(ID), RUN)
    return [outcome.error for outcome in script.answer(host.sh(script.text)).values()]


def test_what_came_with_it_goes_with_it(host: Host) -> None:
    assert host.apply(NFT) == [""]
    assert "nftables" in (host.root / "db").read_text()
    assert undo(host) == [""]
    assert (host.root / "db").read_text() == "there\n"


def test_what_others_installed_meanwhile_stays(host: Host) -> None:
    """apt waits for its turn behind theirs."""
    (host.root / "theirs").write_text("nginx\nupgraded\n")
    assert host.apply(NFT) == [""]
    entry = host.journal / ID / "0001"
    assert (entry / "packages").read_text() == "libnft\nnftables\n"
    assert undo(host) == [""]
    assert (host.root / "db").read_text() == "there\nnginx\nupgraded\n"


def test_nothing_makes_room_for_what_is_installed(host: Host) -> None:
    apt = (host.root / "bin" / "apt-get").read_text()
    refusal = (
        'case "$*" in *--no-remove*install*) printf "The following packages will be REMOVED:\\n  containerd.io\\n'
        "The following NEW packages will be installed:\\n  docker.io\\n0 upgraded, 1 to remove.\\n"
        'E: Packages need to be removed but remove is disabled.\\n"; exit 100 ;; esac\n'
    )
    (host.root / "bin" / "apt-get").write_text(apt.replace("case", f"{refusal}case", 1))
    (error,) = host.apply(NFT)
    assert "REMOVED:;  containerd.io" in error
    assert "remove is disabled" in error


def test_nothing_is_purged(host: Host) -> None:
    host.apply(NFT)
    undo(host)
    assert "purge" not in (host.root / "asked").read_text()


@pytest.mark.parametrize("line", ["Remv ufw [0.36]", "Remv ufw:amd64 [0.36]", "Inst other (1 Debian)"])
def test_what_would_take_others_along_stays_and_says_so(host: Host, line: str) -> None:
    host.apply(NFT)
    (host.root / "along").write_text(f"{line}\n")
    (error,) = undo(host)
    assert line.split()[1].partition(":")[0] in error
    assert "nftables" in error
    assert "nftables" in (host.root / "db").read_text().split()


def test_the_same_holds_where_an_installation_failed(host: Host) -> None:
    apt = (host.root / "bin" / "apt-get").read_text()
    (host.root / "bin" / "apt-get").write_text(
        apt.replace("(1.0) ...\\n' ;;", "(1.0) ...\\n'; echo E: no room; exit 100 ;;", 1)
    )
    (host.root / "along").write_text("Remv ufw [0.36]\n")
    (error,) = host.apply(NFT)
    assert "no room" in error
    assert "Taking it back failed: the packages stay" in error
    (host.root / "along").unlink()
    assert undo(host) == [""]
    assert (host.root / "db").read_text() == "there\n"


def test_what_is_gone_already_is_not_asked_for(host: Host) -> None:
    host.apply(NFT)
    (host.root / "db").write_text("there\n")
    assert undo(host) == [""]
    assert " remove " not in (host.root / "asked").read_text()


def test_rpm_is_asked_first_too(host: Host) -> None:
    for name in ("apt-get", "dpkg-query"):
        (host.root / "bin" / name).unlink()
    root = host.root
    host.tool(
        "rpm",
        f'case "$*" in "-qa"*TID*) sed "s/^/7 /; s/^7 theirs/8 theirs/" {root}/db ;; -q*TID*nftables*) echo "^7 " ;; '
        f'-qa*) cat {root}/db ;; *) echo rpm "$@" >>{root}/asked; cat {root}/needed 2>/dev/null ;; esac',
    )
    host.tool(
        "dnf",
        f'echo dnf "$@" >>{root}/asked\n'
        f'case "$*" in *install*) printf "libnft\\nnftables\\ntheirs\\n" >>{root}/db ;; esac',
    )
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    tools = root / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "sed", "sort", "comm", "mkdir", "mv", "rm", "sync", "tr", "tail", "date", "stat", "touch",
                 "chmod", "ls", "grep", "flock", "base64"):  # fmt: skip
        (tools / name).symlink_to(str(shutil.which(name)))

    def sh(script: str) -> list[str]:
        script = script.replace(path, f"PATH={root}/bin:{tools}")
        env = {"HULLPROOF_JOURNAL": str(host.journal), "PATH": os.environ["PATH"]}
        done = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, env=env, timeout=60)
        return done.stdout.splitlines()

    host.sh = sh  # type: ignore[method-assign]
    assert host.apply(NFT) == [""]
    (root / "needed").write_text("nftables is needed by (installed) firewalld-1.2\n")
    (error,) = undo(host)
    assert "firewalld" in error
    (root / "needed").unlink()
    assert undo(host) == [""]
    assert "clean_requirements_on_remove=False remove libnft nftables\n" in (root / "asked").read_text()


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


def test_power_lost_midway_is_known_to_the_plan_and_what_its_packages_need_stopped_stops_first(host: Host) -> None:
    """Or an engine would go without a look at what it holds."""
    entry = host.journal / ID / "0001"
    assert host.apply(NFT) == [""]
    (entry / "packages").unlink()
    (entry / "done").unlink()
    script = survey_script([Record]).replace("/var/lib/hullproof", str(host.journal.parent))
    ((past,),) = (journal.entries for journal in Survey.parse([Record], host.sh(script))[Record].journals)
    assert past.packages == ("nftables",)
    (entry / "undo").write_text(f"echo it holds data; ! grep -q nftables {host.root}/db\n")
    assert undo(host) == ["it holds data"]
    assert "nftables" in (host.root / "db").read_text().split()
