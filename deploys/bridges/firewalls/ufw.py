"""Rules of ufw for the declared networks: ufw drops what reaches the host and matches none of its own rules.

Routed packets need no rule: ufw's FORWARD chain ends in a policy, and hullproof's own chain precedes it. See
ufw(8).
"""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.firewalls.iptables import Cause, refusals
from deploys.bridges.rules import HOST, Allow, BridgesRules, segments
from deploys.bridges.view import BridgesView
from deploys.core.change import Change, Command
from facts.core.reading import known

MARK = " comment 'hullproof'"


def ufw_rule(rules: BridgesRules, flow: Allow) -> str:
    """A flow to the host in ufw's syntax, as `ufw show added` prints it. ICMP has no syntax there: ufw accepts pings by
    itself."""
    device = next(segment.device for segment in segments(rules) if segment.name == flow.from_)
    port = f" to any port {flow.port}" if flow.port else ""
    proto = "" if flow.proto in ("any", "icmp") else f" proto {flow.proto}"
    return f"allow in on {device}{port}{proto}"


def left_in_ufw(view: BridgesView) -> list[str]:
    """hullproof's rules that the policy no longer wants."""
    wanted = {ufw_rule(view.rules, flow) for flow in view.rules.allow if flow.to == HOST}
    marked = [rule.removesuffix(MARK) for rule in known(view.reading.ufw) or () if rule.endswith(MARK)]
    return [rule for rule in marked if rule not in wanted]


def plan_ufw(view: BridgesView) -> Iterator[Change]:
    """First among ufw's rules, where no rule that denies can precede them. An administrator's own rule with the same
    text is moved there, and moved back by an undo."""
    if view.reading.ufw is None:
        return
    for rule in left_in_ufw(view):
        yield Command("bridges", f"delete ufw's rule `{rule}`", script=f"ufw delete {rule}", undo=_put(rule))
    refused = {refusal.flow for refusal in refusals(view) if refusal.cause is Cause.UFW}
    for rule in dict.fromkeys(ufw_rule(view.rules, flow) for flow in view.rules.allow if flow in refused):
        rows = known(view.reading.ufw)
        theirs = [text for text in rows if text.partition(" comment ")[0] == rule and MARK not in text]
        undo = " && ".join([f"ufw delete {rule}", *(f"ufw {text}" for text in theirs)])
        yield Command("bridges", f"add the rule `{rule}` to ufw", script=_put(rule), undo=undo)


def _put(rule: str) -> str:
    """Deleted first, because ufw does not move a rule that it already has."""
    return f"ufw delete {rule} >/dev/null && ufw prepend {rule}{MARK}"
