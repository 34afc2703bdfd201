"""Allowed flows are routed: forwarding is on, and a FORWARD policy of DROP, as Docker sets it, does not stop them.

Our own table has dropped what is not allowed before iptables sees it, so here whole devices are let pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.bridges_rules import HOST, WORLD, BridgesRules, segments
from deploys.engine.change import Change, Command, RemoveFile, WriteFile
from deploys.engine.control import Verdict, failed, not_applicable, passed
from deploys.engine.policy import Policy
from facts.bridges import FORWARD_FILE, SYSCTL_FILE, Bridges, BridgesReading
from facts.networks import Networks, NetworksReading
from facts.reading import known
from facts.survey import Survey

CHAIN = "HULLPROOF-BRIDGES"
FORWARD = "sysctl -q -w net.ipv4.ip_forward"
JUMP = f"-A FORWARD -j {CHAIN}"
SWITCH = "# Written by hullproof: flows that the policy allows between networks are routed.\nnet.ipv4.ip_forward = 1\n"


def routes(rules: BridgesRules) -> bool:
    """Whether some allowed flow has to be routed."""
    return any(flow.to != HOST for flow in rules.allow)


def forward_text(rules: BridgesRules, outwards: Iterable[str]) -> str:
    """sh that has iptables pass what goes between these devices; `outwards` lead to the world."""
    rows = "\n".join(f"  pass {one} {other}" for one, other in sorted(_pairs(rules, tuple(outwards))))
    return f"""# Written by hullproof: what our own table lets pass, a FORWARD policy of DROP does not stop.
pass() {{
  $t -w -A {CHAIN} -i "$1" -o "$2" -j ACCEPT
  $t -w -A {CHAIN} -i "$2" -o "$1" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
}}
for t in iptables ip6tables; do
  command -v $t >/dev/null || continue
  $t -w -N {CHAIN} 2>/dev/null || $t -w -F {CHAIN}
{rows}
  $t -w -C FORWARD -j {CHAIN} 2>/dev/null || $t -w -A FORWARD -j {CHAIN}
done
"""


def _pairs(rules: BridgesRules, outwards: tuple[str, ...]) -> set[tuple[str, str]]:
    ends = {segment.name: (segment.device,) for segment in segments(rules)} | {WORLD: outwards}
    flows = [flow for flow in rules.allow if flow.to != HOST]
    return {(one, other) for flow in flows for one in ends[flow.from_] for other in ends[flow.to]}


def _stopped(networks: NetworksReading) -> bool:
    """Whether iptables' FORWARD ends in a drop before our chain is asked."""
    table = known(networks.filter4)
    return table is not None and table.policy != "ACCEPT" and JUMP not in table.rules


def check_forwarding(survey: Survey, policy: Policy) -> Verdict:
    rules, networks, reading = policy[BridgesRules], survey[Networks], survey[Bridges]
    before = known(reading.files.get(FORWARD_FILE))
    if not routes(rules):
        if left := [path for path in (FORWARD_FILE, SYSCTL_FILE) if known(reading.files.get(path)) is not None]:
            return failed(f"{' and '.join(left)} left from an earlier policy", None, False, None)
        return not_applicable("the policy allows no flow that would have to be routed")
    disk = before == forward_text(rules, networks.default_devices)
    reasons = [] if known(networks.forwarding4) == 1 else ["net.ipv4.ip_forward is 0: nothing is routed"]
    if _stopped(networks):
        reasons.append("the policy of iptables' FORWARD chain is DROP, and nothing there lets our flows pass")
    live = not reasons
    if not disk:
        reasons.append(f"{FORWARD_FILE} is not as the policy says")
    if reasons:
        return failed("; ".join(reasons), True, disk, live)
    return passed("the host routes what the policy lets pass", True, disk, live)


def plan_forwarding(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[Change]:
    before, switch = known(reading.files.get(FORWARD_FILE)), known(reading.files.get(SYSCTL_FILE))
    if not routes(rules):
        if before is not None:
            yield RemoveFile("bridges", "route nothing between networks any more", path=FORWARD_FILE, before=before,
                             activate=APPLY)  # fmt: skip
        if switch is not None:  # live it stays: who else forwards is not known
            yield RemoveFile("bridges", "ask for no forwarding any more", path=SYSCTL_FILE, before=switch)
        return
    text = forward_text(rules, networks.default_devices)
    if switch != SWITCH:
        yield WriteFile("bridges", f"forward IPv4 after a reboot too ({SYSCTL_FILE})", path=SYSCTL_FILE, text=SWITCH,
                        before=switch)  # fmt: skip
    if known(networks.forwarding4) != 1:
        yield Command("bridges", "forward IPv4, as allowed flows between networks need it",
                      script=f"{FORWARD}=1", undo=f"{FORWARD}=0")  # fmt: skip
    if text != before:
        yield WriteFile("bridges", f"have a FORWARD policy of DROP pass the allowed flows ({FORWARD_FILE})",
                        path=FORWARD_FILE, text=text, before=before, activate=APPLY)  # fmt: skip
    elif _stopped(networks):
        yield Command("bridges", f"have iptables ask {CHAIN} again", script=APPLY, undo="")


# It runs again after an undo, when the file is what it was before: gone, or an older one of ours.
APPLY = f"""if [ -e {FORWARD_FILE} ]; then sh {FORWARD_FILE}; exit; fi
for t in iptables ip6tables; do
  command -v $t >/dev/null || continue
  $t -w -D FORWARD -j {CHAIN} 2>/dev/null; $t -w -F {CHAIN} 2>/dev/null && $t -w -X {CHAIN}
done; :"""
