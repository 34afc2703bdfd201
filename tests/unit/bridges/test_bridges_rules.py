"""Bridges' part of the policy: what is refused, with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.bridges import controls as bridges
from deploys.bridges.rules import BridgesRules, segments
from deploys.core.policy_file import PolicyError, load_policy

GOOD = """\
bridges:
  networks:
    tenants:
      bridge: br-tenants
      subnets: [10.80.0.0/24, "fd00:80::/64"]
      ports:
        t-a: {}
        t-b: {mac: "02:00:00:00:80:0b", addresses: [10.80.0.11, "fe80::1:b"]}
    web:
      bridge: br-web
      isolate: vlans
      vlans:
        - {id: 10, subnets: [10.81.10.0/24]}
        - {id: 20}
      uplink: eth1
      tagged: [10]
      ports:
        web-a: {vlan: 10}
        db: {vlan: 20}
  allow:
    - {from: web.10, to: web.20, proto: tcp, port: 5432}
    - {from: tenants, to: host, proto: udp, port: 53}
    - {from: web.10, to: world}
"""


def load(folder: Path, text: str) -> BridgesRules:
    (folder / "p.yml").write_text(text)
    return load_policy(str(folder / "p.yml"), [bridges.SUBJECT])[BridgesRules]


def test_a_whole_policy(tmp_path: Path) -> None:
    rules = load(tmp_path, GOOD)
    assert [(s.name, s.device, s.gateways, s.ports) for s in segments(rules)] == [
        ("tenants", "br-tenants", ("10.80.0.1/24", "fd00:80::1/64"), ("t-a", "t-b")),
        ("web.10", "br-web.10", ("10.81.10.1/24",), ("web-a",)),
        ("web.20", "br-web.20", (), ("db",)),
    ]
    assert rules.networks["tenants"].isolate == "ports"
    assert str(rules.allow[0]) == "tcp/5432"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("br-tenants", "br/tenants", '4: bridges.networks.tenants.bridge: "br/tenants" cannot name a network device'),
        ("br-tenants", "br-tenants-of-ours", "cannot name a network device"),
        ("bridge: br-tenants", "bridge: all", '"all" cannot name a network device'),
        ("bridge: br-tenants", "bridge: br-web", '10: bridges.networks.web.bridge: "br-web" is already used by'),
        ("uplink: eth1", "uplink: web-a", '18: bridges.networks.web.ports.web-a: "web-a" is the bridge or its up'),
        ("        t-a:", "        eth1:", '15: bridges.networks.web.uplink: "eth1" is already used by networks'),
        ("id: 20", "id: 4095", "14: bridges.networks.web.vlans[1].id: must be less than or equal to 4094, not 4095"),
        ("id: 20", "id: 0", "14: bridges.networks.web.vlans[1].id: must be greater than or equal to 1, not 0"),
        ("id: 20", "id: 10", "14: bridges.networks.web.vlans[1].id: VLAN 10 is declared twice"),
        ("br-web\n", "br-web-of-us-a\n", '"br-web-of-us-a.10", its device for VLAN 10, is longer than 15 characters'),
        ("vlan: 20", "vlan: 30", "19: bridges.networks.web.ports.db.vlan: VLAN 30 is not declared under vlans"),
        ("{vlan: 20}", "{}", "19: bridges.networks.web.ports.db: each port of a network with vlans is in one of them"),
        ("[10]", "[10, 30]", "16: bridges.networks.web.tagged[1]: VLAN 30 is not declared under vlans"),
        ("uplink: eth1", "", "bridges.networks.web.tagged: tagged needs an uplink"),
        ("isolate: vlans", "isolate: none", 'bridges.networks.web.isolate: "none" contradicts vlans'),
        ("bridge: br-tenants", "bridge: br-tenants\n      isolate: vlans", 'isolate: "vlans" needs VLANs under vlans'),
        ("10.81.10.0/24", "10.80.0.128/25", "13: bridges.networks.web.vlans[0].subnets[0]: 10.80.0.128/25 overlaps "
         "10.80.0.0/24 of networks.tenants"),
        ("10.80.0.0/24", "10.80.0.1/24", '5: bridges.networks.tenants.subnets[0]: "10.80.0.1/24" is not a subnet'),
        ("10.80.0.0/24", "10.80.0.0/31", "has no addresses for the host and containers"),
        ("10.80.0.11", "10.99.0.11", "8: bridges.networks.tenants.ports.t-b.addresses[0]: 10.99.0.11 is not in a "
            "subnet"),
        ("10.80.0.11", "10.80.0.1", "8: bridges.networks.tenants.ports.t-b.addresses[0]: 10.80.0.1 is the host's own"),
        ("t-a: {}", "t-a: {addresses: [10.80.0.11]}", "t-b: 10.80.0.11 is already the address of t-a"),
        ("02:00:00:00:80:0b", "03:00:00:00:80:0b", "8: bridges.networks.tenants.ports.t-b.mac: must match pattern"),
        ("to: web.20", "to: web.30", '21: bridges.allow[0].to: "web.30" does not exist; choose one of tenants, web.10'),
        ("from: tenants", "from: host", '22: bridges.allow[1].from: "host" does not exist'),
        ("to: web.20", "to: web.10", "21: bridges.allow[0].to: the flow starts and ends in web.10"),
        ("proto: tcp", "proto: icmp", "21: bridges.allow[0]: a port needs proto: tcp or udp"),
        ("port: 5432", "port: 65536", "21: bridges.allow[0].port: must be less than or equal to 65535"),
        ("isolate: vlans", "isolated: vlans", '11: bridges.networks.web.isolated: no such key; did you mean "isolate"'),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert f"p.yml:{complaint}" in str(caught.value) or complaint in str(caught.value), str(caught.value)
    if complaint[0].isdigit() and ":" in complaint[:4]:
        assert f"p.yml:{complaint}" in str(caught.value), str(caught.value)
