"""The networks of root's Podman, as netavark's files have them; and Podman as one of the host's engines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facts.containers import Container, Containers, ContainersReading
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.docker.docker import Docker
from facts.engines.podman import Podman
from facts.engines.podman.neutral import neutral
from facts.engines.podman.podman import BACKEND, NETWORKS, PodmanReading
from facts.engines.shapes import EngineReading, Network
from tests.support.hosts import OF_HOST, beside, docker, listed
from tests.support.podman import podman
from tests.support.script import put, run_script

SHOP: dict[str, Any] = {
    "name": "shop", "id": "a" * 64, "driver": "bridge", "network_interface": "podman1", "ipv6_enabled": True,
    "subnets": [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}, {"subnet": "fd00:89::/64"}],
    "internal": False, "dns_enabled": True, "ipam_options": {"driver": "host-local"},
}  # fmt: skip
LAN = {"name": "lan", "driver": "macvlan", "network_interface": "eth0", "subnets": None, "internal": True}
DEFAULT = Network("podman", "bridge", "podman0", False, True, ("10.88.0.0/16",), ())
OF_SHOP = Network("shop", "bridge", "podman1", False, True, ("10.89.0.0/24", "fd00:89::/64"), ())


def read(root: Path, *networks: dict[str, Any] | str, conf: str = "", backend: str = "netavark") -> PodmanReading:
    """What is read where these files are."""
    for number, each in enumerate(networks):
        name, text = (str(number), each) if isinstance(each, str) else (each["name"], json.dumps(each, indent=5))
        put(root, f"{NETWORKS}/{name}.json", text)
    put(root, "/etc/containers/containers.conf", conf)
    put(root, BACKEND, backend)
    return Podman.parse(run_script(Podman.script, root, "podman"))


def beside_docker(*running: Container) -> ContainersReading:
    return beside(docker(), *running, also=("podman",))


def networks(reading: PodmanReading) -> tuple[Network, ...] | Unknown:
    return engine(reading).networks


def engine(reading: PodmanReading | Unknown, *running: Container) -> EngineReading:
    return neutral(reading, beside_docker(*running))


def test_what_no_file_changes_is_podmans_own_network(tmp_path: Path) -> None:
    found = engine(read(tmp_path))
    assert (found.default_network, found.networks) == ("podman", (DEFAULT,))


def test_networks_as_their_files_have_them(tmp_path: Path) -> None:
    changed = SHOP | {"name": "podman", "network_interface": "br0", "internal": True}
    lan = Network("lan", "macvlan", "", True, True, (), ())
    own = replace(OF_SHOP, name="podman", bridge="br0", internal=True)
    assert networks(read(tmp_path, SHOP, LAN, changed)) == (own, lan, OF_SHOP)


def test_what_podman_leaves_out_itself(tmp_path: Path) -> None:
    odd = {"name": "odd", "driver": "bridge", "subnets": [7, {"subnet": 7}]}
    found = networks(read(tmp_path, "{", "[]", '{"name": 7}', odd, SHOP))
    assert found == (DEFAULT, Network("odd", "bridge", "", False, True, (), ()), OF_SHOP)


def test_where_containers_conf_says_otherwise(tmp_path: Path) -> None:
    found = engine(read(tmp_path, SHOP, conf='[network]\ndefault_network = "shop"\ndefault_subnet = "10.9.0.0/16"\n'))
    assert (found.default_network, found.networks) == ("shop", (OF_SHOP,))


def test_the_subnet_that_containers_conf_gives_podmans_own_network(tmp_path: Path) -> None:
    (default,) = known(networks(read(tmp_path, conf="[network]\ndefault_subnet = '10.9.0.0/16'\n")))
    assert default.subnets == ("10.9.0.0/16",)


@pytest.mark.parametrize(
    ("more", "why"), [({"backend": "cni"}, "are CNI's"), ({"conf": "userns"}, "Podman does not start")]
)
def test_what_is_not_known(tmp_path: Path, more: dict[str, str], why: str) -> None:
    with pytest.raises(UnknownReading, match=why):
        known(networks(read(tmp_path, SHOP, **more)))


# ------------------------------------------------------------------------------------------------ as an engine


CONTAINERS = (
    listed("web"),
    listed("vpn", cap_bnd=1 << 12),
    listed("hosts", namespaces=OF_HOST),
    listed("users", user=1000),
    listed("lxc", engine="lxc"),
    replace(listed("gone"), process=Unknown("gone")),
)


def test_each_container_with_a_network_of_its_own_counts_as_on_all_that_have_a_bridge(tmp_path: Path) -> None:
    found = engine(read(tmp_path, SHOP, LAN), *CONTAINERS)
    assert [(each.name, each.networks, each.net_admin) for each in known(found.containers)] == [
        ("web", ("podman", "shop"), False),
        ("vpn", ("podman", "shop"), True),
    ]
    assert [each.containers for each in known(found.networks)] == [("web", "vpn"), (), ("web", "vpn")]
    assert found.by_bridge.keys() == {"podman0", "podman1"}


def test_what_is_not_known_of_it_is_unknown_and_nothing_else_is() -> None:
    blind = neutral(podman(), Unknown("no answer"))
    assert blind.containers == Unknown("no answer")
    assert [each.name for each in known(blind.networks)] == ["podman"]
    assert engine(podman(networks=Unknown("CNI"))).networks == Unknown("CNI")
    unread = engine(Unknown("cut off"))
    assert (unread.installed, unread.networks) == (True, Unknown("cut off"))


def test_of_podman_no_more_is_asked_than_that_its_containers_send_as_themselves() -> None:
    survey = Survey({Docker: docker(), Podman: podman(), Containers: beside_docker()})
    assert [each.name for each in present.engines(survey)] == ["Docker"]
    assert [each.name for each in present.senders(survey)] == ["Docker", "Podman"]
