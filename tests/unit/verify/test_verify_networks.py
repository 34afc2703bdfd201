"""Which proofs of networks a policy asks for."""

from __future__ import annotations

import ipaddress
import subprocess
from typing import Any

import pytest

from deploys.bridges.rules import BridgeNetwork, Port, Vlan
from deploys.networks.isolation import NetworksRules
from tests.verify import scenarios
from tests.verify import test_networks as proofs
from tests.verify.probe import HERE

# frames.pl with its eyes shut: it needs no right to a socket, and says what it would have sent.
SHUT = r"""BEGIN {
    *CORE::GLOBAL::socket = sub (*$$$) { 1 }; *CORE::GLOBAL::bind = sub (*$) { 1 };
    *CORE::GLOBAL::send = sub (*$$;$) { print unpack('H*', $_[1]), "\n" };
    *CORE::GLOBAL::select = sub { exit };
}
"""


@pytest.mark.parametrize(
    ("rules", "default", "own"),
    [
        ({"icc": False}, True, False),
        ({"icc": False, "cover": "all"}, True, True),
        ({"icc": False, "cover": "all", "except": ["bridge"]}, False, True),
        ({"icc": False, "cover": ["shop"]}, False, False),
        ({"icc": True, "cover": "all"}, False, False),
        ({"cover": "all"}, False, False),
    ],
)
def test_only_what_the_policy_keeps_apart_is_tried(rules: dict[str, Any], default: bool, own: bool) -> None:
    asked = [proofs.asked(NetworksRules(**rules), network) for network in (proofs.DEFAULT, proofs.OWN)]
    assert asked == [default, own]


def test_who_only_joins_sends_from_addresses_that_are_nobodys() -> None:
    """What forges an address, or carries no IP, antispoof drops before the isolation is asked."""
    port = Port(addresses=("10.80.0.254", "fd00:80::fffe"))
    tenants = BridgeNetwork(bridge="br0", subnets=("10.80.0.0/24", "fd00:80::/112"), ports={"a": port})
    assert scenarios.senders(tenants) == ["10.80.0.253", "fd00:80::fffd"]
    assert scenarios.senders(BridgeNetwork(bridge="br0", subnets=("fd00:80::/112",))) == ["fd00:80::fffe", "192.0.2.1"]
    assert scenarios.senders(BridgeNetwork(bridge="br0", isolate="vlans", vlans=(Vlan(id=10),))) == []


def sent(*addresses: str) -> list[bytes]:
    command = ["perl", "-e", SHUT + (HERE / "frames.pl").read_text(), "send", "lo", "hp br0 1", *addresses]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [bytes.fromhex(line) for line in done.stdout.splitlines()]


def total(data: bytes) -> int:
    """The sum of RFC 1071: 0xffff where the checksum among the data is right."""
    number = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    return number % 0xFFFF or 0xFFFF


def test_frames_are_such_as_antispoof_and_the_firewall_let_pass() -> None:
    raw, arp, four, six = sent("10.80.0.253", "fd00:80::fffd")
    assert sent() == [raw], "other bridges get no more than that"
    assert [frame[12:14].hex() for frame in (raw, arp, four, six)] == ["88b5", "0806", "0800", "86dd"]
    assert all(b"hp br0 1" in frame and len(frame) >= 60 for frame in (raw, arp, four, six))
    address = ipaddress.ip_address("10.80.0.253").packed
    assert arp[14:22].hex() == "0001080006040001"
    assert (arp[28:32], arp[38:42]) == (bytes(4), address), "a question from nobody changes no table of neighbours"
    assert (four[26:30], total(four[14:34])) == (address, 0xFFFF)
    assert int.from_bytes(four[16:18]) == len(four) - 14
    assert six[22:38] == ipaddress.ip_address("fd00:80::fffd").packed
    assert int.from_bytes(six[18:20]) == len(six) - 54
    assert total(six[22:54] + six[18:20] + bytes([0, 17]) + six[54:]) == 0xFFFF
