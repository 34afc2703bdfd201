"""Podman's files as they are read: which key counts, which file is broken, and who may speak to the API."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.engines.podman import Podman, podman
from facts.engines.podman.podman import BACKEND, DROP_IN, OVERRIDE, SHIPPED_PROFILE, AutoIds, Setting, Socket
from tests.support.script import put, run_script

USR, ETC = "/usr/share/containers/containers.conf", "/etc/containers/containers.conf"
FIRST, LAST = "/etc/containers/containers.conf.d/10-first.conf", "/etc/containers/containers.conf.d/zzz.conf"
FILTER = '{"defaultAction": "SCMP_ACT_ERRNO"}'


def settings(**files: str) -> str:
    """What grep(1) prints of files, in the order in which it was asked for them."""
    paths = {"usr": USR, "etc": ETC, "first": FIRST, "last": LAST, "storage": "/etc/containers/storage.conf",
             "shipped": "/usr/share/containers/storage.conf"}  # fmt: skip
    rows = ((paths[name], n, line) for name, text in files.items() for n, line in enumerate(text.split("\n"), 1))
    return "\n".join(f"{path}:{n}:{line}" for path, n, line in rows if line.strip() and line.lstrip()[0] != "#")


def read(**blocks: Any) -> Any:
    said = {"podman": "/usr/bin/podman", "package": "ii  5.4.2+ds1-2", "settings": "", "filter": FILTER, "volumes": "",
            "socket": "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled", "held": "",
            **blocks}  # fmt: skip
    made = {name: text if isinstance(text, Block) else Block(0, text) for name, text in said.items()}
    absent = {path: Block(1, "No such file or directory") for path in (DROP_IN,)}
    return Podman.parse(Section(absent | made))


def test_without_podman_nothing_is_there() -> None:
    reading = Podman.parse(Section({}))
    assert (reading.installed, reading.settings, reading.broken) == (False, {}, ())


def test_the_last_file_that_sets_a_key_counts() -> None:
    reading = read(settings=settings(
        etc="[containers]\npids_limit = 10", usr="[containers]\nuserns = \"host\"\npids_limit = 20",
        last="[containers]\nuserns = \"auto\"", first="[containers]\nuserns = \"nomap\"",
    ))  # fmt: skip
    assert reading.settings == {
        "containers.pids_limit": Setting(10, ETC),
        "containers.userns": Setting("auto", LAST),
    }


def test_a_list_may_add_to_the_one_before_it() -> None:
    reading = read(settings=settings(
        usr='[engine]\nhooks_dir = ["/a"]', etc='[engine]\nhooks_dir = ["/b", {append = true}]',
    ))  # fmt: skip
    assert reading.settings["engine.hooks_dir"] == Setting(["/a", "/b"], ETC)


@pytest.mark.parametrize("name", ["etc", "storage"])
def test_a_broken_file_is_named_with_its_line_and_makes_all_keys_unknown(name: str) -> None:
    reading = read(settings=settings(**{"usr": "[containers]", name: "# a comment\n[containers]\n\nuserns = auto"}))
    assert isinstance(reading.settings, Unknown)
    assert len(reading.broken) == 1
    assert "not TOML (Invalid value (at line 4, column 10))" in reading.broken[0]


def test_a_host_says_which_containers_podman_has_made_whatever_their_driver(tmp_path: Path) -> None:
    for folder in ("overlay-containers/abc/userdata", "vfs-containers/def", "overlay-layers/ghi"):
        (tmp_path / "var/lib/containers/storage" / folder).mkdir(parents=True)
    put(tmp_path, "/var/lib/containers/storage/overlay-containers/containers.json", "[]")
    assert Podman.parse(run_script(Podman.script, tmp_path, "podman")).held == ("abc", "def")


def test_containers_that_podman_has_made_are_found_where_it_keeps_them() -> None:
    assert read(held=" overlay-containers/abc/ vfs-containers/def/").held == ("abc", "def")
    elsewhere = read(settings=settings(storage='[storage]\ngraphroot = "/srv/podman"')).held
    assert isinstance(elsewhere, Unknown)
    assert "/srv/podman" in elsewhere.unknown
    usual = settings(storage='[storage]\ngraphroot = "/var/lib/containers/storage"')
    assert read(settings=usual).held == ()


def test_what_is_nested_beyond_all_bounds_is_broken() -> None:
    assert read(settings=settings(etc="a = " + "[" * 100_000)).broken


UNIT = "SocketMode=0660\nSocketUser=\nSocketGroup=dev\nListen=/run/podman/podman.sock (Stream)\nListen=[::]:80 (Stream)"
LISTENS = ("/run/podman/podman.sock", "[::]:80")


@pytest.mark.parametrize(
    ("socket", "sockets", "expected"),
    [
        (f"ActiveState=active\nUnitFileState=enabled\n{UNIT}", "660 root root /run/podman/podman.sock",
         Socket(True, True, "0660", "root", "root", "0660", "root", "dev", LISTENS)),
        (f"ActiveState=inactive\nUnitFileState=disabled\n{UNIT}", Block(1, "stat: cannot stat"),
         Socket(False, False, "", "", "", "0660", "root", "dev", LISTENS)),
        ("", "", Socket(False, False, "", "", "", "", "root", "root", ())),
        (Block(1, "Failed to connect to bus"), "", Unknown("systemctl: Failed to connect to bus")),
    ],
)  # fmt: skip
def test_the_socket(socket: Any, sockets: Any, expected: Any) -> None:
    assert read(socket=socket, sockets=sockets).socket == expected


def test_a_socket_whose_mode_is_not_known_is_unknown() -> None:
    assert isinstance(read(socket="ActiveState=active").socket, Unknown)


def test_services_that_run_are_read_from_their_command_lines() -> None:
    lines = (
        "/proc/9/cmdline:podman\0system\0service\0--time=0\0tcp:0.0.0.0:8080\0",
        "/proc/10/cmdline:podman\0run\0x\0",
        "/proc/11/cmdline:podman\0system\0service\0",
    )
    assert read(serving="\n".join(lines)).serving == ("tcp:0.0.0.0:8080", "unix:///run/podman/podman.sock")


@pytest.mark.parametrize(("block", "unknown"), [("[]", True), ("no", True), (Block(1, "No such file"), True),
                                                (FILTER, False)])  # fmt: skip
def test_a_filter_that_is_none_is_unknown(block: Any, unknown: bool) -> None:
    assert isinstance(read(filter=block).filter, Unknown) is unknown


OPTIONS = "[storage.options]\nauto-userns-{} = {}"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, AutoIds(1024, 65536)),
        ({"shipped": OPTIONS.format("max-size", 9)}, AutoIds(1024, 9)),
        ({"shipped": OPTIONS.format("max-size", 9), "storage": OPTIONS.format("min-size", 7)}, AutoIds(7, 65536)),
        ({"storage": OPTIONS.format("min-size", "true")}, Unknown("{'least': True}: not numbers")),
        ({"storage": "storage = 1"}, AutoIds(1024, 65536)),
    ],
)
def test_how_many_ids_a_container_gets_is_what_storage_conf_says(files: dict[str, str], expected: Any) -> None:
    """The administrator's takes the place of all that the distribution's says."""
    assert read(settings=settings(**files)).auto_ids == expected


def test_options_that_are_no_table_cost_the_number_of_ids_alone() -> None:
    reading = read(settings=settings(storage="[storage]\noptions = 5"))
    assert (isinstance(reading.auto_ids, Unknown), reading.networks) == (True, {})


KEPT = '[storage]\ngraphroot = "/srv/podman"'
NO_BACKEND = Block(1, f"cat: {BACKEND}: No such file or directory")


@pytest.mark.parametrize(
    ("release", "backend", "files", "known_"),
    [
        ("3.4.4+ds1-1", NO_BACKEND, {}, False),
        ("4.9.4-1", NO_BACKEND, {}, True),
        ("5:4.9.4-1", NO_BACKEND, {}, True),
        ("", NO_BACKEND, {}, False),
        ("3.4.4+ds1-1", "netavark", {}, True),
        ("4.9.4-1", "netavark", {"storage": KEPT}, False),
        ("5.4.2-1", NO_BACKEND, {"storage": KEPT}, True),
        ("3.4.4-1", NO_BACKEND, {"etc": '[network]\nnetwork_backend = "netavark"'}, True),
    ],
)
def test_a_podman_that_may_have_chosen_cni_shows_no_networks(
    release: str, backend: Any, files: dict[str, str], known_: bool
) -> None:
    """Before 4 there was CNI alone, and before 5 it went on where it was; what it chose is where its storage is."""
    found = read(package=f"ii  {release}", settings=settings(**files), **{BACKEND: backend}).networks
    assert isinstance(found, Unknown) is not known_


@pytest.mark.parametrize(("there", "override", "text"), [(False, False, "shipped"), (True, True, "override")])
def test_the_filter_that_counts_where_no_file_names_one(tmp_path: Path, there: bool, override: bool, text: str) -> None:
    put(tmp_path, SHIPPED_PROFILE, '{"name": "shipped"}')
    if there:
        put(tmp_path, OVERRIDE, '{"name": "override"}')
    reading = Podman.parse(run_script(Podman.script, tmp_path, "podman"))
    assert (reading.filter, reading.override, reading.shipped) == ({"name": text}, override, True)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_the_filter_that_a_file_names_is_read_in_either_quotes(quote: str) -> None:
    script = Path(podman.__file__).with_suffix(".sh").read_text()
    line = next(line for line in script.splitlines() if line.startswith("filter="))
    made = f"/etc/containers/containers.conf:2:seccomp_profile = {quote}/etc/own.json{quote}"
    said = subprocess.run(["sh", "-c", f'{line}\necho "$filter"'], env={"settings": made, "PATH": os.environ["PATH"]},
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert said == "/etc/own.json\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root has processes of two users")
@pytest.mark.parametrize(("uid", "seen"), [(0, True), (65534, False)])
def test_a_users_own_service_is_not_roots(uid: int, seen: bool) -> None:
    script = Path(podman.__file__).with_suffix(".sh").read_text()
    script = 'run() { shift; "$@"; }\n' + script[script.index("# Root's alone") :]
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = shutil.copy("/bin/sleep", f"{folder}/podman")
        with subprocess.Popen([program, "30"], user=uid) as process:
            said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
            process.kill()
    assert (f"/proc/{process.pid}/cmdline" in said) is seen
