"""As whom a container's port may send, as the host's own shell reads it: a made-up /sys, ip and nft."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploys.core import templates
from deploys.core.change import Command
from deploys.networks.isolation import NetworksRules
from deploys.networks.ports import plan_reading
from deploys.networks.tables import rules_text
from facts.networks.networks import PORTS_FILE, Bridge, Port
from tests.support.networks import DEFAULT, reading

# As Debian 13's ip prints it in the namespace of a container on two networks.
UP = "<BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000"
ETHER = r"\    link/ether {} brd ff:ff:ff:ff:ff:ff link-netnsid 0"
LINKS = rf"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 \    link/loopback 00:00:00:00:00:00
12: eth0@if13: {UP}{ETHER.format("02:42:ac:11:00:02")}
14: eth1@if15: {UP}{ETHER.format("02:42:ac:12:00:02")}
"""
ADDRESSES = r"""1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
12: eth0    inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0\       valid_lft forever preferred_lft forever
14: eth1    inet 172.18.0.2/16 brd 172.18.255.255 scope global eth1\       valid_lft forever preferred_lft forever
"""
SIX = """00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 0c 40 00 80     eth0
fe80000000000000004200fffeac1102 0c 40 20 80     eth0
"""


class Host:
    """Port veth1 on docker0, whose other end is in the older of two namespaces."""

    def __init__(self, root: Path) -> None:
        self.root, self.loaded = root, root / "loaded"
        for folder in ("bin", "spaces", "ports/veth1", "ports/docker0"):
            (root / folder).mkdir(parents=True)
        for name in ("older", "newer"):
            (root / "spaces" / name).write_text("")
        os.utime(root / "spaces/older", (1, 1))
        self.index("13", "12")
        (root / "ports/veth1/master").symlink_to("../docker0")
        self.put("rules", rules_text(NetworksRules(antispoof=True), {"docker0": True}, {"docker0": True}))
        self.put("links", LINKS)
        self.put("rest", ADDRESSES + SIX)
        self.tool("nft", f'if [ "$1" = list ]; then cat {root}/set-$5 2>/dev/null; else cat >>{self.loaded}; fi')
        inside = f"grep -v LOOPBACK {root}/links | grep ,UP,; cat {root}/rest"
        self.tool("nsenter", f"case $1 in *older) {inside} ;; esac")
        self.put("rest", ADDRESSES + SIX)
        self.tool("nft", f'if [ "$1" = list ]; then cat {root}/set-$5 2>/dev/null; else cat >>{self.loaded}; fi')
        self.tool("sleep", f"rm -rf {root}/ports/veth1")  # it is gone again

    def index(self, here: str, there: str) -> None:
        self.put("ports/veth1/ifindex", f"{here}\n")
        self.put("ports/veth1/iflink", f"{there}\n")

    def put(self, path: str, text: str) -> None:
        (self.root / path).write_text(text)

    def tool(self, name: str, script: str) -> None:
        self.put(f"bin/{name}", f"#!/bin/sh\n{script}\n")
        (self.root / "bin" / name).chmod(0o755)

    def run(self, *words: str) -> list[str]:
        script = templates.text("networks/ports.sh").replace("PATH=/usr/sbin:", f"PATH={self.root}/bin:/usr/sbin:")
        env = os.environ | {name: str(self.root / name.lower()) for name in ("PORTS", "RULES")}
        env["SPACES"] = f"{self.root}/of-none {self.root}/spaces"  # of two engines, one of which is not there
        subprocess.run(["sh", "-s", "--", *words], input=script, text=True, env=env, check=True, timeout=60)
        return self.loaded.read_text().splitlines() if self.loaded.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


KNOWN = [
    'add element bridge hullproof macs { "veth1" . 02:42:ac:11:00:02 }',
    'add element bridge hullproof four { "veth1" . 172.17.0.2 }',
    'add element bridge hullproof six { "veth1" . fd00:0000:0000:0000:0000:0000:0000:0002 }',
    'add element bridge hullproof targets { "veth1" . 0xfd000000000000000000000000000002 }',
    'add element bridge hullproof six { "veth1" . fe80:0000:0000:0000:0042:00ff:feac:1102 }',
    'add element bridge hullproof targets { "veth1" . 0xfe80000000000000004200fffeac1102 }',
    'add element bridge hullproof known { "veth1" }',
]


@pytest.mark.parametrize("words", [(), ("veth1",)])
def test_a_port_sends_as_what_its_other_end_was_given(host: Host, words: tuple[str, ...]) -> None:
    assert host.run(*words) == KNOWN


@pytest.mark.parametrize(("bridge", "read"), [("podman3", True), ("br-0123456789ab", True), ("podman", False)])
def test_a_port_of_a_bridge_that_the_rules_do_not_name(host: Host, bridge: str, read: bool) -> None:
    """An engine's own later ones, which a pattern or udev covers."""
    (host.root / "ports/veth1/master").unlink()
    (host.root / "ports/veth1/master").symlink_to(f"../{bridge}")
    assert host.run("veth1") == (KNOWN if read else [])


def test_the_other_end_is_the_one_that_names_the_port(host: Host) -> None:
    host.index("15", "14")
    assert host.run("veth1")[:2] == [
        'add element bridge hullproof macs { "veth1" . 02:42:ac:12:00:02 }',
        'add element bridge hullproof four { "veth1" . 172.18.0.2 }',
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("links", LINKS.replace(",UP,LOWER_UP", "")),  # not yet
        ("links", LINKS.replace("@if13", "@if99")),
        ("links", LINKS.replace("link/ether", "link/sit")),
        ("rules", "meta ibrname docker1"),
    ],
)
def test_what_is_not_known_is_not_held_against_anybody(host: Host, path: str, text: str) -> None:
    host.put(path, text)
    assert host.run("veth1") == []


def test_a_port_that_is_no_containers_is_told(tmp_path: Path) -> None:
    """Of two on the bridge one could be read, whose name begins with the other's."""
    ports = tuple(Port(name, False) for name in ("veth1", "veth12"))
    nets = reading(bridges=(Bridge("docker0", ports, False, False, False, ()),))
    (change,) = plan_reading([DEFAULT], nets)
    assert isinstance(change, Command)
    (tmp_path / "nft").write_text("#!/bin/sh\necho '\t\telements = { \"veth12\" }'\n")
    (tmp_path / "nft").chmod(0o755)
    script = change.script.replace("/sys/class/net/", f"{tmp_path}/").replace(PORTS_FILE, "/dev/null")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def run() -> str:
        return subprocess.run(["sh", "-c", script], env=env, text=True, capture_output=True, timeout=60).stdout

    assert run() == "", "both have gone meanwhile"
    for port in ports:
        (tmp_path / port.name).touch()
    assert run() == "no container of an engine's is behind veth1, which can therefore send from any address\n"


def test_what_has_gone_is_forgotten(host: Host) -> None:
    host.put("set-known", '\t\telements = { "veth1", "veth12" }\n')
    host.put("set-macs", '\t\telements = { "veth0" . 02:42:ac:11:00:09,\n\t\t\t     "veth1" . 02:42:ac:11:00:02 }\n')
    assert [" ".join(line.split()) for line in host.run("veth1", "gone")] == [
        'delete element bridge hullproof known { "veth1" }',
        'delete element bridge hullproof macs { "veth1" . 02:42:ac:11:00:02 }',
    ]
