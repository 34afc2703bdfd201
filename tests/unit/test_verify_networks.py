"""Which proofs of networks a policy asks for."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.isolation import NetworksRules
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
