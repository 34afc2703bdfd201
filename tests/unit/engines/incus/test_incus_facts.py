"""What Incus and LXD answer, what is cut off or refused of it, and what is said of a daemon that does not run."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.engines.incus import Incus
from facts.engines.incus.incus import Certificate, Configured, Daemon
from tests.support.script import put, run_script

FOLDER = "/var/lib/incus"
ABOUT = {
    "api_extensions": ["profiles_all_projects"],
    "config": {"core.https_address": ":8443"},
    "environment": {"server_clustered": False},
}
WEB = {"name": "web", "type": "container", "project": "default", "config": {},
       "expanded_config": {"limits.memory": "1GiB", "user.token": "hush", "environment.KEY": "hush"}}  # fmt: skip


def answer(path: str, metadata: Any, status: int = 200) -> str:
    body = {"type": "sync", "status_code": status, "error": "no such thing", "metadata": metadata}
    return f"{json.dumps(body)}\n\n@http://daemon/1.0{path}\n"


def whole(**more: Any) -> str:
    said = {"": ABOUT, "certificates": [], "profiles": [], "instances": [WEB], **more}
    return "".join(answer(f"/{path}?recursion=1".removesuffix("/?recursion=1"), rows) for path, rows in said.items())


def read(text: str = "", **blocks: Any) -> Daemon:
    said = {"sockets": f" {FOLDER}", "running": "incusd\n", f"api {FOLDER}": text or whole(), **blocks}
    (daemon,) = Incus.parse(Section({
        name: text if isinstance(text, Block) else Block(0, text) for name, text in said.items() if text is not None
    })).daemons  # fmt: skip
    return daemon


def test_without_a_socket_nothing_is_there() -> None:
    reading = Incus.parse(Section({}))
    assert (reading.daemons, reading.members) == ((), {})


def test_what_is_judged_is_kept_and_no_secret() -> None:
    daemon = read()
    assert (daemon.name, daemon.address, daemon.clustered, daemon.client) == ("incus", ":8443", False, "incus")
    assert daemon.instances == (Configured("web", "container", {"limits.memory": "1GiB"}),)
    assert "hush" not in str(daemon.to_json())


def test_an_instance_of_another_project_has_its_name() -> None:
    (shop,) = known_of(read(whole(instances=[{**WEB, "project": "shop"}])).instances)
    assert shop.name == "shop/web"


def known_of(rows: Any) -> Any:
    assert not isinstance(rows, Unknown), rows
    return rows


def test_a_client_says_what_it_is_kept_to() -> None:
    rows = [{"name": "ops", "fingerprint": "a" * 64, "restricted": False, "projects": []},
            {"name": "ci", "fingerprint": "b" * 64, "restricted": True, "projects": ["shop"]}]  # fmt: skip
    assert read(whole(certificates=rows)).certificates == (
        Certificate("ops", "a" * 12, None), Certificate("ci", "b" * 12, ("shop",)),
    )  # fmt: skip


def test_a_socket_in_two_places_is_of_one_daemon_and_lxd_has_its_own() -> None:
    reading = Incus.parse(Section({"sockets": Block(0, f"{FOLDER} /run/incus /var/snap/lxd/common/lxd /nonsense")}))
    assert [(each.name, each.snap, each.client) for each in reading.daemons] == [
        ("incus", False, "incus"), ("lxd", True, "lxc"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        ({"running": Block(1, "")}, "incusd does not run, and is not started to be asked"),
        ({"running": "lxd"}, "incusd does not run, and is not started to be asked"),
        ({f"api {FOLDER}": None}, "curl is not installed, with which incusd is asked"),
    ],
)
def test_a_daemon_that_is_not_asked_is_unknown(blocks: dict[str, Any], why: str) -> None:
    daemon = read(**blocks)
    assert {daemon.address, daemon.clustered, daemon.certificates, daemon.profiles, daemon.instances} == {Unknown(why)}


def test_what_is_cut_off_is_unknown_and_the_rest_is_not() -> None:
    daemon = read(whole()[:-100])
    assert daemon.instances == Unknown("/1.0/instances was not answered in time, or not whole")
    assert daemon.profiles == ()
    refused = read(whole() + answer("/profiles", None, 403))
    assert refused.profiles == Unknown("/1.0/profiles: no such thing")
    assert refused.address == ":8443"


OLDER = {**ABOUT, "api_extensions": ["id_map"]}
OTHER = "this release says nothing of the profiles of other projects"


@pytest.mark.parametrize(
    ("projects", "profiles"),
    [
        (["/1.0/projects/default"], (Configured("default", "profile", {}),)),
        (["/1.0/projects/default", "/1.0/projects/shop"], Unknown(OTHER)),
        (None, Unknown("/1.0/projects was not answered in time, or not whole")),
    ],
)
def test_an_older_release_knows_the_profiles_of_one_project(projects: Any, profiles: Any) -> None:
    rows = whole(**{"": OLDER, "profiles": [{"name": "default", "config": {}}]})
    assert read(rows + (answer("/projects", projects) if projects else "")).profiles == profiles


def test_a_certificate_says_what_it_is_for() -> None:
    rows = [{"name": "n2", "fingerprint": "a" * 64, "type": "server"}, {"name": "ops", "fingerprint": "b" * 64}]
    assert [each.kind for each in known_of(read(whole(certificates=rows)).certificates)] == ["server", "client"]


@pytest.mark.parametrize("running", [(), ("lxd",), ("incusd",), ("bash", "incusd", "lxd")])
def test_a_daemon_that_does_not_run_is_not_asked_as_its_socket_would_start_it(
    running: tuple[str, ...], tmp_path: Path
) -> None:
    for n, name in enumerate(running, 1):
        put(tmp_path, f"/proc/{n}/comm", f"{name}\n")
    for folder in (FOLDER, "/var/lib/lxd"):
        put(tmp_path, f"{folder}/x")
    put(tmp_path, "/bin/curl", f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n')
    (tmp_path / "bin/curl").chmod(0o755)
    with socket.socket(socket.AF_UNIX) as incus, socket.socket(socket.AF_UNIX) as lxd:
        incus.bind(f"{tmp_path}{FOLDER}/unix.socket")
        lxd.bind(f"{tmp_path}/var/lib/lxd/unix.socket")
        section = run_script(Incus.script.replace("/proc/", f"{tmp_path}/proc/"), tmp_path)
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert (f"{FOLDER}/unix.socket" in asked, "/var/lib/lxd/unix.socket" in asked) == (
        "incusd" in running, "lxd" in running,
    )  # fmt: skip
    assert [each.name for each in Incus.parse(section).daemons] == ["incus", "lxd"]


def test_members_of_a_group_with_many_users_are_found_in_no_time() -> None:
    groups = "".join(f"g{n}:x:{n}:\n" for n in range(12_000))
    users = "".join(f"u{n}:x:1:{n}::/:/bin/sh\n" for n in range(12_000))
    began = time.process_time()
    reading = Incus.parse(Section({"groups": Block(0, groups), "primary": Block(0, users)}))
    assert time.process_time() - began < 1
    assert reading.members["g11999"] == ("u11999",)


@pytest.mark.parametrize("rows", [[1], {"a": 1}, [{"name": "x"}], "text", None])
def test_nonsense_is_unknown(rows: Any) -> None:
    assert isinstance(read(whole(instances=rows)).instances, Unknown)


def test_members_are_those_whose_own_group_it_is_too() -> None:
    reading = Incus.parse(Section({
        "groups": Block(0, "incus-admin:x:990:ops,\nincus:x:991:\nbroken"),
        "primary": Block(0, "cia:x:1009:990::/home/cia:/bin/sh\nops:x:1:990::/:/bin/sh\ndev:x:2:991::/:/bin/sh"),
    }))  # fmt: skip
    assert reading.members == {"incus-admin": ("ops", "cia"), "incus": ("dev",)}
