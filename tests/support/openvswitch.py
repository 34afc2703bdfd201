"""Networks that are declared on Open vSwitch."""

from __future__ import annotations

from typing import Any

from deploys.bridges.rules import BridgesRules, Port
from tests.support.bridges import DNS, FLOW, TENANTS, WEB

A, B = "02:00:00:00:80:0a", "02:00:00:00:80:0b"
PORTS = {
    "t-a": Port(mac=A, addresses=("10.80.0.10", "fd00:80::a")),
    "t-b": Port(mac=B, addresses=("10.80.0.11",)),
    "t-c": Port(),
}
ON_SWITCH: dict[str, Any] = {"switch": "openvswitch"}
TENANTS_S = TENANTS.model_copy(update=ON_SWITCH | {"ports": PORTS})
WEB_S = WEB.model_copy(update=ON_SWITCH | {"ports": {**WEB.ports, "web-b": Port(vlan=10)}})
RULES = BridgesRules(networks={"tenants": TENANTS_S, "web": WEB_S}, allow=(FLOW, DNS))
