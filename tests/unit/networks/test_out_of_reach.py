"""What passes between containers past hullproof's tables: networks without a bridge, and filters of tc."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked
from deploys.core.control import State
from deploys.networks.isolation import NetworksRules
from facts.core.reading import Block, Section, Unknown
from facts.engines.docker.containers import read_networks
from facts.engines.docker.docker import Network
from facts.networks.networks import RULES_FILE, Bridge, Port
from facts.networks.tc import Redirect, read_redirects
from tests.support.networks import DEFAULT, SHOP, changes, context, docker, reading, reason, state

QDISCS = """qdisc noqueue 0: dev lo root refcnt 2
qdisc fq_codel 0: dev ens3 root refcnt 2 limit 10240p flows 1024 quantum 1514 target 5ms interval 100ms
qdisc noqueue 0: dev veth1 root refcnt 2
qdisc clsact ffff: dev veth1 parent ffff:fff1
"""
# As iproute2 6.1 prints it.
REDIRECT = """filter protocol all pref 49152 u32 chain 0
filter protocol all pref 49152 u32 chain 0 fh 800: ht divisor 1
filter protocol all pref 49152 u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 terminal flowid not_in_hw
  match 00000000/00000000 at 0
\taction order 1: mirred (Egress Redirect to device veth2) stolen
\tindex 1 ref 1 bind 1

"""
# And iproute2 7.2.
MATCHALL = """filter protocol all pref 49152 matchall chain 0
filter protocol all pref 49152 matchall chain 0 handle 0x1
  not_in_hw
\taction order 1: mirred (Egress Redirect to device vethaf83cea) stolen
\tindex 1 ref 1 bind 1

"""
PROGRAM = "filter protocol all pref 49152 bpf chain 0 handle 0x1 x.o:[x] direct-action not_in_hw id 7 tag 1 jited\n"


def read(**blocks: Block) -> Any:
    named = {name.replace("_", " "): block for name, block in blocks.items()}
    return read_redirects(Section({"qdiscs": Block(0, QDISCS), **named}))


def test_reading() -> None:
    assert read() == ()
    assert read(tc_veth1_root=Block(0, ""), tc_veth1_ingress=Block(0, REDIRECT)) == (
        Redirect("veth1", "ingress", "veth2"),
    )
    assert read(tc_veth1_ingress=Block(0, MATCHALL)) == (Redirect("veth1", "ingress", "vethaf83cea"),)
    mirrored = REDIRECT.replace("Redirect", "Mirror").replace("stolen", "pipe")
    assert read(tc_veth1_egress=Block(0, mirrored + mirrored)) == (Redirect("veth1", "egress", "veth2"),)
    assert read(tc_veth1_ingress=Block(0, PROGRAM)) == (Redirect("veth1", "ingress", ""),)
    assert isinstance(read(tc_veth1_ingress=Block(2, "RTNETLINK answers")), Unknown)
    assert isinstance(read(qdiscs=Block(127, "sh: 1: tc: not found")), Unknown)


RULES = NetworksRules(icc=False)
PLUGGED = (
    Bridge("docker0", (Port("veth1", False), Port("veth2", False)), False, False, False, ()),
    Bridge("br-aaa", (Port("veth3", False),), False, False, False, ()),
)
HOST = docker(networks=(DEFAULT, SHOP))
FILE = {RULES_FILE: 'table bridge hullproof {\n\tchain forward {\n\t\tmeta ibrname "docker0" drop\n\t}\n}\n'}


def plugged(*redirects: Redirect, **more: Any) -> Any:
    files = {**reading().files, **FILE}
    return reading(**{"bridges": PLUGGED, "redirects": redirects, "dropped": ("docker0",), "unit_enabled": True,
                      "files": files, **more})  # fmt: skip


@pytest.mark.parametrize(
    ("redirect", "want", "says"),
    [
        (Redirect("veth1", "ingress", "veth2"), State.FAIL, "bridge containers reach each other: tc passes frames from "
         "veth1 (ingress) to veth2, before hullproof's table sees them"),
        (Redirect("veth2", "egress", "veth3"), State.FAIL, "tc passes frames from veth2 (egress) to veth3"),
        (Redirect("docker0", "ingress", "br-aaa"), State.FAIL, "tc passes frames from docker0"),
        (Redirect("veth1", "ingress", "ifb0"), State.PASS, ""),  # a limit on what it sends
        (Redirect("ens3", "ingress", "veth1"), State.PASS, ""),  # no container sends there
        (Redirect("veth3", "ingress", "veth1"), State.PASS, ""),  # of a network that the policy does not cover
        (Redirect("veth1", "ingress", ""), State.UNKNOWN, "tc runs a BPF program on veth1, which may pass frames"),
    ],
)  # fmt: skip
def test_what_tc_passes_on(redirect: Redirect, want: State, says: str) -> None:
    where = context(plugged(redirect), HOST, RULES)
    assert state(where, "icc") is want
    assert says in reason(where, "icc")
    found = [change for change in changes(where) if isinstance(change, Blocked)]
    assert [change.by_hand for change in found] == (
        [f"remove it with `tc filter del dev {redirect.device} {redirect.where}`"] if want is State.FAIL else []
    )


def test_what_tc_does_is_not_guessed_and_hides_nothing() -> None:
    unread = Unknown("tc: not found")
    assert state(context(plugged(redirects=unread), HOST, RULES), "icc") is State.UNKNOWN
    assert state(context(plugged(redirects=unread, dropped=()), HOST, RULES), "icc") is State.FAIL


LAN = Network("lan", "macvlan", "", False, True, ("192.0.2.0/24",), ("cam", "tv"))
IP = replace(LAN, name="ip", driver="ipvlan")


@pytest.mark.parametrize(
    ("network", "rules", "fails"),
    [
        (LAN, {"cover": "all"}, {"icc", "antispoof"}),
        (IP, {"cover": "all"}, {"icc", "antispoof"}),
        (LAN, {"cover": ["bridge", "lan"]}, {"icc", "antispoof"}),
        (LAN, {"cover": "all", "antispoof": None}, {"icc"}),
        (replace(LAN, icc=False), {"cover": "all"}, {"antispoof"}),
        (LAN, {"cover": "all", "except_": ["lan"]}, set()),
        (LAN, {"cover": ["bridge"]}, set()),
        (replace(LAN, driver="host"), {"cover": "all"}, set()),
    ],
)
def test_networks_without_a_bridge_are_named(network: Network, rules: dict[str, Any], fails: set[str]) -> None:
    policy = NetworksRules(icc=False, antispoof=True).model_copy(update=rules)
    where = context(plugged(), docker(networks=(DEFAULT, network)), policy)
    named = {each for each in ("icc", "antispoof") if f"on network {network.name} " in reason(where, each)}
    assert named == fails
    found = [change for change in changes(where) if isinstance(change, Blocked) and network.name in change.what]
    assert [set(change.controls) for change in found] == ([{f"networks.{each}" for each in fails}] if fails else [])
    for change in found:
        assert "passes their frames by no bridge" in change.why
        assert (
            f"move the containers of {network.name} to a bridge network, or name it under networks.except"
            in change.by_hand
        )
        assert ("_mode=private" in change.by_hand) is (policy.antispoof is None)


def test_a_private_macvlan_keeps_its_containers_apart() -> None:
    row = {"Id": "0", "Name": "lan", "Driver": "macvlan", "Internal": False, "IPAM": {}, "Containers": {}}
    for options, icc in (({"parent": "ens3"}, True), ({"macvlan_mode": "private"}, False),
                         ({"ipvlan_flag": "private"}, False), ({"macvlan_mode": "bridge"}, True)):  # fmt: skip
        (network,) = read_networks([{**row, "Options": options}])  # type: ignore[misc]
        assert network.icc is icc
