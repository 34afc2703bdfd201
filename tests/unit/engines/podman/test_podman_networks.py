"""Networks of Podman's that keep apart: read from their files, judged, and set where the policy names them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Blocked, WriteFile
from deploys.core.control import State
from deploys.engines.podman.controls import SUBJECT
from deploys.engines.podman.networks import VALIDATE
from deploys.engines.podman.rules import PodmanRules
from facts.core.reading import Block, Section, Unknown
from facts.engines.podman import Podman
from facts.engines.podman.podman import BACKEND, NETWORKS, Network
from tests.support.podman import context, podman
from tests.support.script import put, run_script


def network(name: str, driver: str = "bridge", **options: str) -> Network:
    """As Podman writes its file."""
    keys: dict[str, Any] = {"name": name, "driver": driver, **({"options": options} if options else {})}
    return Network(f"{NETWORKS}/{name}.json", json.dumps(keys, indent=5) + "\n", driver, dict(options))


def there(*networks: Network | Unknown, **more: Any) -> Any:
    named = {f"x{n}" if isinstance(each, Unknown) else Path(each.path).stem: each for n, each in enumerate(networks)}
    return podman(more, networks=named)


WEB, DB = network("web", mtu="1400"), network("db")
APART = network("web", isolate="true"), network("db", isolate="strict"), network("podman", isolate="true")


@pytest.mark.parametrize(
    ("reading", "wanted", "state", "word"),
    [
        (there(*APART), "all", State.PASS, ""),
        (there(*APART), ["web", "other"], State.PASS, ""),
        (there(), "all", State.NOT_APPLICABLE, ""),
        (there(network("podman")), "all", State.NOT_APPLICABLE, ""),
        (there(WEB), ["other"], State.NOT_APPLICABLE, ""),
        (there(WEB), "all", State.FAIL, "podman (Podman's own, which has no file), web (isolate is not set)"),
        (there(WEB, *APART[1:]), ["web", "db"], State.FAIL, "apart: web (isolate is not set);"),
        (there(network("web", isolate="yes"), *APART[1:]), ["web"], State.FAIL, "isolate is not set"),
        (there(network("lan", "macvlan"), *APART), ["lan"], State.FAIL, "macvlan has no isolate"),
        (there(*APART, Unknown("no JSON")), "all", State.UNKNOWN, "no JSON"),
        (there(*APART, Unknown("no JSON")), ["web"], State.PASS, ""),
        (there(WEB, Unknown("no JSON")), "all", State.FAIL, "web"),
        (podman(networks=Unknown("CNI")), "all", State.UNKNOWN, "CNI"),
        (there(WEB, **{"network.default_network": "web"}), "all", State.NOT_APPLICABLE, ""),
    ],
)
def test_networks_keep_apart(reading: Any, wanted: Any, state: State, word: str) -> None:
    finding = context(reading, isolate=wanted).findings["podman.networks"]
    assert (finding.state, word in finding.verdict.reason) == (state, True), finding.verdict.reason


def test_what_is_named_is_set_and_all_else_in_its_file_stays() -> None:
    (change,) = SUBJECT.plan(context(there(WEB, *APART[1:]), isolate=["podman", "web"]))
    assert isinstance(change, WriteFile)
    assert (change.path, change.before, change.shared) == (WEB.path, WEB.text, "json")
    assert json.loads(change.text) == {"name": "web", "driver": "bridge", "options": {"mtu": "1400", "isolate": "true"}}
    assert change.text.startswith('{\n     "name"')
    assert "once a container on it starts" in change.what


@pytest.mark.parametrize(
    ("reading", "wanted", "kinds"),
    [
        (there(WEB), "all", [Blocked]),
        (there(WEB), ["podman", "web"], [WriteFile, Blocked]),
        (there(network("lan", "macvlan")), ["lan"], [Blocked]),
    ],
)
def test_what_the_policy_does_not_name_or_has_no_file_goes_by_hand(reading: Any, wanted: Any, kinds: list[Any]) -> None:
    changes = list(SUBJECT.plan(context(reading, isolate=wanted)))
    assert [type(each) for each in changes] == kinds
    assert all(each.controls == ("podman.networks",) for each in changes)


@pytest.mark.parametrize("name", ["a b", "a/b", "$(reboot)", "", "-a"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a Podman network"):
        PodmanRules(isolate=[name])


@pytest.mark.parametrize("status", [0, 1])
def test_a_file_that_podman_does_not_read_is_refused_and_nothing_is_left_behind(status: int, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text(f'#!/bin/sh\n[ -f "$2/web.json" ] && [ "$5" = web ] && exit {status}\nexit 9\n')
    (tmp_path / "podman").chmod(0o755)
    (tmp_path / "new").write_text("{}")
    (tmp_path / "tmp").mkdir()
    script = VALIDATE.format(name="web").replace("{}", '"$NEW"')
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NEW": str(tmp_path / "new"), "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(["sh", "-c", script], env=env)
    assert (done.returncode == 0) is (status == 0)
    assert list((tmp_path / "tmp").iterdir()) == []


def read(*files: tuple[str, str], settings: str = "", backend: str = "netavark") -> Any:
    said = {"podman": "/usr/bin/podman", "settings": settings, BACKEND: backend}
    said |= {f"network {NETWORKS}/{name}.json": text for name, text in files}
    return Podman.parse(Section({name: Block(0, text) for name, text in said.items()})).networks


def test_networks_are_read_from_their_files_and_one_that_makes_no_sense_costs_itself_alone() -> None:
    found = read(("web", WEB.text), ("db", DB.text), ("x", "{"), ("y", "[]"), ("z", '{"driver": "a", "options": 1}'))
    assert (found["web"], found["db"]) == (WEB, DB)
    assert [isinstance(found[name], Unknown) for name in "xyz"] == [True] * 3


def test_the_host_is_asked_for_them(tmp_path: Path) -> None:
    put(tmp_path, WEB.path, WEB.text)
    put(tmp_path, BACKEND, "netavark")
    assert Podman.parse(run_script(Podman.script, tmp_path, "podman")).networks == {"web": WEB}
    put(tmp_path, BACKEND, "cni")
    assert isinstance(Podman.parse(run_script(Podman.script, tmp_path, "podman")).networks, Unknown)


@pytest.mark.parametrize(
    ("key", "backend", "word"),
    [("", "cni", "CNI"), ('network_backend = "cni"', "", "CNI"), ('network_config_dir = "/srv"', "netavark", "/srv")],
)
def test_networks_that_are_kept_elsewhere_are_not_known(key: str, backend: str, word: str) -> None:
    at = "/etc/containers/containers.conf"
    found = read(("web", WEB.text), settings=f"{at}:1:[network]\n{at}:2:{key}" if key else "", backend=backend)
    assert isinstance(found, Unknown)
    assert word in found.unknown
