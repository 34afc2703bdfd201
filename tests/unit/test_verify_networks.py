"""Which proofs of networks a policy asks for."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.bridges_rules import BridgeNetwork, Port, Vlan
from deploys.isolation import NetworksRules
from tests.verify import scenarios
from tests.verify import test_networks as proofs


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
