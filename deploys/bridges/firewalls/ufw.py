"""What ufw has to be told of the declared networks: it refuses what reaches the host and its own rules do not name.

What is routed needs nothing of it: its FORWARD chain ends in a policy, before which our own chain is asked.
See ufw(8).
"""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.firewalls.iptables import refusals
from deploys.bridges.rules import HOST, Allow, BridgesRules, segments
from deploys.core.change import Change, Command
from facts.core.reading import known
from facts.networks.bridges import BridgesReading
from facts.networks.networks import NetworksReading

MARK = " comment 'hullproof'"


def ufw_rule(rules: BridgesRules, flow: Allow) -> str:
    """A flow to the host in ufw's words, as `ufw show added` prints it too. Pings it lets through by itself, and has
    no words for."""
    device = next(segment.device for segment in segments(rules) if segment.name == flow.from_)
    port = f" to any port {flow.port}" if flow.port else ""
    proto = "" if flow.proto in ("any", "icmp") else f" proto {flow.proto}"
    return f"allow in on {device}{port}{proto}"


def left_in_ufw(rules: BridgesRules, reading: BridgesReading) -> list[str]:
    """Rules of ours that the policy asks for no more."""
    wanted = {ufw_rule(rules, flow) for flow in rules.allow if flow.to == HOST}
    told = [rule.removesuffix(MARK) for rule in known(reading.ufw) or () if rule.endswith(MARK)]
    return [rule for rule in told if rule not in wanted]


def plan_ufw(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[Change]:
    """First among ufw's rules, or one that denies could come before. An administrator's own rule of the same words is
    moved so, and comes back with an undo."""
    if reading.ufw is None:
        return
    for rule in left_in_ufw(rules, reading):
        yield Command("bridges", f"no longer have ufw {rule}", script=f"ufw delete {rule}", undo=_put(rule))
    refused = {refusal.flow for refusal in refusals(rules, networks) if refusal.by_ufw}
    for rule in dict.fromkeys(ufw_rule(rules, flow) for flow in rules.allow if flow in refused):
        theirs = [text for text in known(reading.ufw) if text.partition(" comment ")[0] == rule and MARK not in text]
        undo = " && ".join([f"ufw delete {rule}", *(f"ufw {text}" for text in theirs)])
        yield Command("bridges", f"have ufw {rule}", script=_put(rule), undo=undo)


def _put(rule: str) -> str:
    """It would leave a rule where it is that it has already."""
    return f"ufw delete {rule} >/dev/null && ufw prepend {rule}{MARK}"
