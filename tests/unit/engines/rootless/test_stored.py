"""What users have stored with ids that another owner has too: looked for only where somebody shares some."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from facts.core.reading import Unknown
from facts.engines.rootless import stored
from facts.engines.rootless.rootless import Rootless
from facts.engines.rootless.stored import Stored
from tests.support.script import put, run_script

ROOT = "root:x:0:0:root:/root:/bin/sh\n"
ALICE, BOB = "alice:100000:65536\n", "bob:165000:65536\n"


def host(root: Path, subuid: str = ALICE + BOB, subgid: str = "", *people: str) -> Path:
    """A host with alice and bob, who has a home too; alice's is returned."""
    home = root / "home/alice"
    home.mkdir(parents=True)
    passwd = f"alice:x:54321:54321::{home}:/bin/sh\nbob:x:54322:54322::{root}/home/bob:/bin/sh\n"
    put(root, "/etc/passwd", ROOT + passwd + "".join(people))
    put(root, "/etc/group", "root:x:0:\n")
    put(root, "/etc/subuid", subuid)
    put(root, "/etc/subgid", subgid)
    return home


def found(root: Path) -> dict[str, Stored | Unknown]:
    return Rootless.parse(run_script(Rootless.script, root, "newuidmap")).stored


def of_alice(root: Path) -> Stored:
    reading = found(root)["alice"]
    assert isinstance(reading, Stored)
    return reading


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
def test_files_with_ids_of_the_rows_are_counted_where_engines_keep_them(tmp_path: Path) -> None:
    home = host(tmp_path, subgid=ALICE)
    for name, uid, gid in (("a", 100000, 54321), ("b\nc", 54321, 165535), ("d", 165536, 54321), ("e", 54321, 99999)):
        for folder in ("containers", "docker"):
            put(home, f".local/share/{folder}/x/{name}", "12345")
            os.chown(home / f".local/share/{folder}/x/{name}", uid, gid)
    (home / ".local/share/docker/away").symlink_to("/")
    reading = of_alice(tmp_path)
    assert reading.folders == ("/home/alice/.local/share/containers", "/home/alice/.local/share/docker")
    assert (reading.files, reading.size, reading.more, reading.processes) == (4, 20, False, 0)
    assert (reading.elsewhere, reading.lxc) == ((), ())
    assert reading.tools is (shutil.which("getfattr") is not None)


@pytest.mark.parametrize(
    ("subuid", "subgid", "more", "users"),
    [
        (ALICE + BOB, "", "", {"alice", "bob"}),
        (ALICE, BOB, "", set()),
        (ALICE + "bob:165536:65536\n", ALICE, "", set()),
        ("54321:100000:65536\n" + BOB, "", "", {"alice", "bob"}),
        (ALICE + "alice:100000:9\n", "", "", set()),
        (ALICE + "dockremap:131072:9\n", "", "", {"alice"}),
        (ALICE + "root:100000:65536\n", "", "", set()),
        (ALICE + "root:100000:65537\n", "", "", {"alice"}),
        (ALICE + "root:1:4000000000\n", "", "", {"alice"}),
        (ALICE, "", "ipa:x:100007:100007::/x:/bin/sh\n", {"alice"}),
        (ALICE, ALICE, "lxc.idmap = g 0 131072 9\n", {"alice"}),
        (ALICE, "", "lxc.idmap = g 0 131072 9\n", set()),
        ("", "", "", set()),
        ("alice:x:y\nalice::\n:::\nalice:1:99999999999999\nbob:0:0\n", ALICE, "", set()),
        ("dockremap:100000:65536\nroot:100000:9\n", "", "", set()),
    ],
)
def test_homes_are_looked_into_only_where_another_owner_has_ids_of_the_user(
    tmp_path: Path, subuid: str, subgid: str, more: str, users: set[str]
) -> None:
    host(tmp_path, subuid, subgid, *([more] if more.startswith("ipa") else []))
    if more.startswith("lxc"):
        put(tmp_path, "/var/lib/lxc/web/config", f"lxc.include = /x\n{more}")
    assert set(found(tmp_path)) == users


def test_of_many_files_it_is_said_that_there_are_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = host(tmp_path)
    for number in range(9):
        put(home, f".local/share/containers/{number}")
        put(home, f".local/share/docker/{number}")
    monkeypatch.setattr(Rootless, "script", Rootless.script.replace(f"MOST={stored.MOST}\n", "MOST=5\n"))
    reading = of_alice(tmp_path)
    assert reading.more
    assert len(reading.folders) == 2


def test_folders_that_files_name_are_looked_into_and_those_that_only_the_user_names_are_said(tmp_path: Path) -> None:
    home = host(tmp_path)
    for path in ("/srv/alice", "/elsewhere", "/home/alice/kept", "/home/alice/data"):
        (tmp_path / path.lstrip("/")).mkdir(parents=True)
    put(tmp_path, "/etc/containers/storage.conf", f'[storage]\nrootless_storage_path = "{tmp_path}/srv/$USER"\n')
    own = f'[storage]\n# graphroot = "/no"\ngraphroot = \'$HOME/kept\'\nrootless_storage_path="{tmp_path}/elsewhere"\n'
    put(home, ".config/containers/storage.conf", own)
    put(home, ".config/docker/daemon.json", f'{{"debug": true, "data-root": "{home}/data"}}\n')
    reading = of_alice(tmp_path)
    assert reading.folders == ("/home/alice/data", "/home/alice/kept", "/srv/alice")
    assert reading.elsewhere == ("/elsewhere",)


def test_a_pipe_in_a_home_is_not_waited_for(tmp_path: Path) -> None:
    home = host(tmp_path)
    (home / ".config/containers").mkdir(parents=True)
    os.mkfifo(home / ".config/containers/storage.conf")
    (home / ".config/docker").mkdir()
    (home / ".config/docker/daemon.json").symlink_to("/dev/zero")
    put(home, ".local/share/lxc/web/config")
    assert of_alice(tmp_path).lxc == ("/home/alice/.local/share/lxc",)


@pytest.mark.skipif(os.geteuid() != 0, reason="runs as another user")
@pytest.mark.parametrize(("user", "many"), [(54321, 1), (100007, 1), (165536 + 70000, 0)])
def test_processes_that_are_in_the_way_are_counted(tmp_path: Path, user: int, many: int) -> None:
    host(tmp_path)
    running = subprocess.Popen(["sleep", "1000"], user=user, group=99, extra_groups=[])
    try:
        assert of_alice(tmp_path).processes == many
    finally:
        running.kill()
        running.wait()
