"""Bridges on a host: what collides there, and which network manager makes them last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.bridges.managers.networkmanager import connection_of
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.rules import BridgesRules
from deploys.core.change import Blocked, Command, WriteFile
from facts.core.reading import Unknown
from facts.engines.docker.docker import DockerReading, Network
from facts.networks.bridges import RULES_FILE, UDEV_FILE
from facts.networks.networks import Route
from tests.support.bridges import (
    ADDRESSES,
    BARE,
    DEVICES,
    ETH0,
    ETH1,
    NETWORKD,
    NO_DOCKER,
    ROUTES,
    context,
    device,
    hardened,
    made,
    nets,
    on,
    plan,
    reading,
    reason,
)
from tests.support.hosts import docker as engine

SSH_VLAN = (replace(ETH1), ETH0, device("eth1.5", "vlan", parent="eth1"))
SHOP = Network("shop", "bridge", "br-aaa", False, True, ("10.80.0.0/16",), ())
POOLS = {"default-address-pools": [{"base": "10.81.0.0/16", "size": 24}]}
BY_BRIDGE = nets(connection="br-tenants", addresses=ADDRESSES | {"br-tenants": ("10.80.0.1/24",)})


NETPLAN = "/run/systemd/network/10-netplan-"


def test_a_guarded_engine_lets_in_whoever_hardens_by_it() -> None:
    """Somebody comes from a guest."""
    for services, open_ in (((), False), (("tcp/2222",), True)):
        rules = BridgesRules(guarded_engines={"libvirt": services})
        where = context(reading(ssh_port=2222), nets(doors=("eth0", "virbr0")), rules)
        blocked = [change for change in plan(where) if isinstance(change, Blocked)]
        assert ["guarded_engines does not name tcp/2222 for libvirt" in change.why for change in blocked] == [True] * (
            not open_
        )


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (None, True),
        (("tcp/9100", "tcp/22"), True),
        (("tcp/9100",), False),
        ((), False),
    ],
)
def test_what_guests_reach_no_more_is_told(before: tuple[str, ...] | None, told: bool) -> None:
    rules = BridgesRules(guarded_engines={"lxc": ("tcp/9100",)}, isolated_engines=("podman",))
    guests = (device("lxcbr0", "bridge"), device("veth1", master="lxcbr0", peer="netns one"))
    old = None if before is None else filter_text(BridgesRules(guarded_engines={"lxc": before}))
    files = {**reading().files, RULES_FILE: old}
    where = context(reading(devices=guests, files=files), on(), rules, accept="host-services")
    (rule,) = [change for change in plan(where) if isinstance(change, WriteFile) and change.path == RULES_FILE]
    says = "of the host's services lxcbr0 (netns one) then reach only tcp/9100, DNS and DHCP"
    assert rule.interrupts == (says if told else "")


@pytest.mark.parametrize(
    ("bridges", "networks", "docker", "why"),
    [
        (reading(), nets(routes=(*ROUTES, Route("10.80.0.0/20", "wg0", None))), NO_DOCKER,
         "tenants: 10.80.0.0/24 overlaps 10.80.0.0/20, the route through wg0"),
        (reading(), nets(addresses=ADDRESSES | {"eth7": ("fd00:80::5/64",)}), NO_DOCKER,
         "fd00:80::/64 overlaps fd00:80::/64, the address fd00:80::5/64 of eth7"),
        (reading(), nets(), engine({}, networks=(SHOP,)), "overlaps 10.80.0.0/16, the Docker network shop"),
        (reading(), nets(), engine(POOLS, networks=()), "a pool of Docker's default-address-pools"),
        (reading(subnets=(("10.80.0.0/16", "/etc/containers/networks/x.json"),)), nets(), NO_DOCKER,
         "overlaps 10.80.0.0/16, a network of /etc/containers/networks/x.json"),
        (reading(client="10.80.0.77"), nets(), NO_DOCKER, "contains 10.80.0.77, the address that your SSH"),
        (reading(), nets(connection="eth1"), NO_DOCKER, "web: eth1 carries your SSH connection"),
        (reading(devices=SSH_VLAN), nets(connection="eth1.5"), NO_DOCKER, "web: eth1 carries your SSH connection"),
        (reading(devices=DEVICES), BY_BRIDGE, NO_DOCKER, "your SSH connection comes in through br-tenants, and"),
        (reading(devices=(ETH0,)), nets(), NO_DOCKER, "web: the uplink eth1 does not exist on this host"),
        (reading(), nets(addresses=ADDRESSES | {"eth1": ("192.0.2.4/24",)}), NO_DOCKER, "eth1 has the address"),
        (reading(devices=(ETH0, device("eth1", "", "bond0"))), nets(), NO_DOCKER, "eth1 is already a port of bond0"),
        (reading(devices=(*BARE, device("br-web", "bond"))), nets(), NO_DOCKER, "br-web is a bond device, not"),
        (reading(), nets(), engine({}, networks=(replace(SHOP, bridge="br-web", subnets=()),)), "the Docker net"),
        (reading(interfaces=("br-web",)), nets(), NO_DOCKER, "br-web is already defined in /etc/network/interfaces"),
        (reading(devices=(*BARE, made("br-web"))), nets(), NO_DOCKER, ""),
        (hardened(), on(devices_blocked=("/etc/modprobe.d/cis.conf: install 8021q /bin/false",)), NO_DOCKER,
         "the kernel module 8021q is blocked by /etc/modprobe.d/cis.conf: install 8021q /bin/false"),
        (reading(), nets(devices_blocked=("/etc/modprobe.d/x.conf: blacklist openvswitch",)), NO_DOCKER, ""),
        (reading(devices=(*BARE, replace(made("br-web"), file="/etc/systemd/network/br.network"))), nets(), NO_DOCKER,
         "br-web is already defined in /etc/systemd/network/br.network: remove it there"),
        (reading(devices=(*BARE, device("br-web", "bridge", managed="NetworkManager", file="0b901e7e-ee0f"))), nets(),
         NO_DOCKER, "br-web is already defined in NetworkManager's connection 0b901e7e-ee0f: remove it there"),
        (reading(devices=(*BARE, device("br-web", "bridge", managed="NetworkManager", file=connection_of("br-web")))),
         nets(), NO_DOCKER, ""),
        (reading(devices=(*BARE, replace(made("br-web"), file=f"{NETPLAN}br-web.network"))), nets(), NO_DOCKER,
         "br-web is already defined in /etc/netplan: remove it there or from bridges.networks"),
    ],
)  # fmt: skip
def test_collisions_touch_nothing(bridges: Any, networks: Any, docker: DockerReading, why: str) -> None:
    where = context(bridges, networks, docker=docker)
    changes = plan(where)
    if not why:
        assert not any(isinstance(change, Blocked) for change in changes)
        return
    assert why in reason(where, "declared")
    (blocked,) = changes
    assert isinstance(blocked, Blocked)
    assert why in blocked.why


def test_without_ssh_there_is_none_to_cut() -> None:
    local = context(reading(client=None), nets(connection=Unknown("the survey did not come by SSH")))
    assert not any(isinstance(change, Blocked) for change in plan(local))


# ------------------------------------------------------------------------------------------------ network managers


def test_on_ifupdown_the_files_are_its_own() -> None:
    devices = (replace(ETH0, managed="ifupdown", file=None), ETH1)
    changes = plan(context(reading(devices=devices), nets(managers=("ifupdown",))))
    files = {change.path: change.text for change in changes if isinstance(change, WriteFile)}
    web = files["/etc/network/interfaces.d/hullproof-br-web"]
    assert "allow-hotplug web-a" in web
    assert "\tup bridge vlan add dev web-a vid 10 pvid untagged\n" in web
    assert isinstance(changes[-1], Command)
    assert "ifup br-web" in changes[-1].script
    (live,) = [change for change in changes if isinstance(change, Command) and "create bridge" in change.what]
    forgets = 'for i in br-tenants t-a t-b br-web web-a db eth1; do ifquery "$i" >/dev/null 2>&1 || ifdown "$i"'
    assert live.undo.startswith(forgets), "it takes for up what its files named once"


@pytest.mark.parametrize(
    ("renderer", "path"),
    [
        (NETWORKD, "/etc/systemd/network/05-hullproof-br-web.netdev"),
        ("NetworkManager", "/etc/NetworkManager/system-connections/hullproof-br-web.nmconnection"),
    ],
)
def test_under_netplan_the_files_are_those_of_its_renderer(renderer: str, path: str) -> None:
    file = f"{NETPLAN}eth0.network" if renderer == NETWORKD else None
    devices = (replace(ETH0, managed=renderer, file=file), ETH1)
    changes = plan(context(reading(devices=devices), nets(managers=(renderer, "netplan"))))
    assert path in {change.path for change in changes if isinstance(change, WriteFile)}


def test_nobody_manages_the_network() -> None:
    devices = (replace(ETH0, managed=None, file=None), ETH1)
    where = context(reading(devices=devices), nets(managers=("netplan",)))
    (blocked,) = plan(where)
    assert isinstance(blocked, Blocked)
    assert "(running: netplan)" in blocked.why


def test_on_networkmanager_udev_says_what_it_cannot() -> None:
    devices = (replace(ETH0, managed="NetworkManager", file=None), ETH1)
    changes = plan(context(reading(devices=devices), nets(managers=("NetworkManager",))))
    files = {change.path: change for change in changes if isinstance(change, WriteFile)}
    folder = "/etc/NetworkManager/system-connections"
    web = files[f"{folder}/hullproof-br-web.nmconnection"]
    assert "vlan-filtering=true\nvlan-default-pvid=0\nvlans=10, 20\n" in web.text
    assert web.mode == "0600", "NetworkManager reads no keyfile that others may read"
    assert "address1=10.81.10.1/24\nmethod=manual" in files[f"{folder}/hullproof-br-web.10.nmconnection"].text
    assert "master=br-web\nslave-type=bridge" in files[f"{folder}/hullproof-eth1.nmconnection"].text
    assert f"{folder}/hullproof-web-a.nmconnection" not in files
    assert 'KERNEL=="t-a", RUN+="/bin/sh /etc/hullproof/bridges.ports t-a"' in files[UDEV_FILE].text
    assert "bridge link set dev t-a isolated on" in files["/etc/hullproof/bridges.ports"].text
