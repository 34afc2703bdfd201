"""What is allowed passes: forwarding is on, and a FORWARD policy of DROP, as Docker sets it, stops nothing of it.

Our own tables have dropped what is not allowed before iptables sees it, so here whole devices are let pass; from a
bridge to itself too, for with br_netfilter the frames that it forwards go this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.bridges.firewalls.firewalld import (
    RELOAD,
    firewalld_files,
    not_on_disk,
    plan_firewalld,
    refused,
    without_ours,
)
from deploys.bridges.firewalls.firewalld_direct import CHAIN, ours, pairs
from deploys.bridges.firewalls.iptables import refusals
from deploys.bridges.firewalls.ufw import left_in_ufw, plan_ufw
from deploys.bridges.rules import HOST, WORLD, BridgesRules, segments
from deploys.core.change import Blocked, Change, Command, RemoveFile, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.networks.bridges import (
    FIREWALLD_DIRECT,
    FIREWALLD_POLICY,
    FIREWALLD_ZONE,
    FORWARD_FILE,
    SYSCTL_FILE,
    Bridges,
    BridgesReading,
)
from facts.networks.networks import Networks, NetworksReading

FORWARD = "sysctl -q -w net.ipv4.ip_forward"
# It makes the host a router, and deaf to the advertisements that it may have its own address from.
SIX = "net.ipv6.conf.all.forwarding is 0, so no IPv6 is routed: turn it on in /etc/sysctl.d once the host's own \
addresses do not come from router advertisements, or those are accepted all the same (accept_ra=2)"
SWITCH = "# Written by hullproof: flows that the policy allows between networks are routed.\nnet.ipv4.ip_forward = 1\n"


def routes(rules: BridgesRules) -> bool:
    """Whether some allowed flow has to be routed."""
    return any(flow.to != HOST for flow in rules.allow)


def waits6(rules: BridgesRules, networks: NetworksReading) -> bool:
    """Whether one of them would be of IPv6, both ends having such addresses, and the host routes none."""
    six = {segment.name for segment in segments(rules) if any(":" in subnet for subnet in segment.subnets)}
    if six and any(route.destination == "default" and ":" in (route.gateway or "") for route in known(networks.routes)):
        six.add(WORLD)
    flows = any(flow.from_ in six and flow.to in six for flow in rules.allow)
    return flows and known(networks.forwarding6) == 0


def passes(rules: BridgesRules) -> bool:
    """Whether there is anything that iptables could stop."""
    return bool(rules.networks)


def forward_text(rules: BridgesRules, outwards: Iterable[str]) -> str:
    """sh that has iptables pass what goes between these devices; `outwards` lead to the world."""
    rows = "\n".join(f"  pass {one} {other}" for one, other in sorted(pairs(rules, outwards)))
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


def check_forwarding(survey: Survey, policy: Policy) -> Verdict:
    rules, networks, reading = policy[BridgesRules], survey[Networks], survey[Bridges]
    if left := [*_left(rules, reading), *(f"ufw's rule `{rule}`" for rule in left_in_ufw(rules, reading))]:
        return failed(f"{' and '.join(left)} left from an earlier policy", None, False, None)
    if not passes(rules):
        return not_applicable("the policy declares no bridge networks")
    disk = known(reading.files.get(FORWARD_FILE)) == forward_text(rules, networks.outward_devices)
    reasons = []
    if routes(rules) and known(networks.forwarding4) != 1:
        reasons.append("net.ipv4.ip_forward is 0: nothing is routed")
    if waits6(rules, networks):
        reasons.append(SIX)
    reasons += map(str, refusals(rules, networks))
    if refusal := refused(rules, reading, networks):
        reasons.append(refusal)
    live = not reasons
    reasons += [f"{path} is not as the policy says" for path in not_on_disk(rules, reading, networks)]
    if not disk:
        reasons.append(f"{FORWARD_FILE} is not as the policy says")
    if routes(rules) and known(reading.files.get(SYSCTL_FILE)) != SWITCH:
        reasons.append(f"{SYSCTL_FILE} does not keep forwarding on")
    if reasons:
        return failed("; ".join(reasons), True, disk, live)
    if unread := _unread(rules, networks):
        raise UnknownReading(f"nft drops what no rule accepts in {unread}, whose rules are not read")
    return passed("the host passes on what the policy allows", True, disk, live)


def _unread(rules: BridgesRules, networks: NetworksReading) -> str:
    """Chains of other people that may refuse what is allowed. firewalld's and iptables' own are known, not what stands
    beside these in a table of the same name, or where there is no iptables to read it with."""
    hooks = {"input" if flow.to == HOST else "forward" for flow in rules.allow}
    tables = {"ip filter": networks.filter4, "ip6 filter": networks.filter6}
    read = {(table, name) for table, found in tables.items() if known(found) for name in ("INPUT", "FORWARD")}
    strange = [guard for guard in known(networks.guards) or () if guard.hook in hooks
               and guard.table != "inet firewalld" and (guard.table, guard.chain) not in read]  # fmt: skip
    return " and ".join(f"the chain {guard.chain} of {guard.table}" for guard in strange)


def _left(rules: BridgesRules, reading: BridgesReading) -> dict[str, str]:
    """Our files that the policy asks for no more."""
    wanted = {FORWARD_FILE: passes(rules), SYSCTL_FILE: routes(rules)}
    wanted |= {path: path in firewalld_files(rules) for path in (FIREWALLD_POLICY, FIREWALLD_ZONE)}
    left = {path: text for path, want in wanted.items() if not want and (text := known(reading.files.get(path)))}
    direct = known(reading.files.get(FIREWALLD_DIRECT))
    return left | ({FIREWALLD_DIRECT: direct} if direct and ours(direct) and not passes(rules) else {})


def _drop_left(rules: BridgesRules, reading: BridgesReading) -> Iterator[Change]:
    left = _left(rules, reading)
    if text := left.pop(FIREWALLD_DIRECT, None):
        yield without_ours(text)
    for path, text in left.items():  # live, forwarding stays: who else needs it is not known
        yield RemoveFile("bridges", f"no longer needed: {path}", path=path, before=text,
                         activate=TAKE_UP.get(path, ""))  # fmt: skip


def plan_forwarding(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[Change]:
    yield from _drop_left(rules, reading)
    switch = known(reading.files.get(SYSCTL_FILE))
    if routes(rules) and switch != SWITCH:
        yield WriteFile("bridges", f"forward IPv4 after a reboot too ({SYSCTL_FILE})", path=SYSCTL_FILE, text=SWITCH,
                        before=switch)  # fmt: skip
    if routes(rules) and known(networks.forwarding4) != 1:
        yield Command("bridges", "forward IPv4, as allowed flows between networks need it",
                      script=f"{FORWARD}=1", undo=f"{FORWARD}=0")  # fmt: skip
    if waits6(rules, networks):
        yield Blocked("bridges", "forward IPv6, as allowed flows between networks need it", why=SIX)
    yield from plan_firewalld(rules, reading, networks)
    yield from plan_ufw(rules, reading, networks)
    text, before = forward_text(rules, networks.outward_devices), known(reading.files.get(FORWARD_FILE))
    if passes(rules) and text != before:
        yield WriteFile("bridges", f"have a FORWARD policy of DROP pass what is allowed ({FORWARD_FILE})",
                        path=FORWARD_FILE, text=text, before=before, activate=APPLY)  # fmt: skip
        return
    stopped = refusals(rules, networks)
    if any(refusal.unasked for refusal in stopped):
        yield Command("bridges", f"have iptables ask {CHAIN} again", script=APPLY, undo="")
    if not_on_disk(rules, reading, networks):  # firewalld is told, and may be who refuses
        return
    for refusal in stopped:
        if not refusal.unasked and not (refusal.by_ufw and reading.ufw is not None):
            why = f"a rule of somebody else's refuses it: {refusal.by}; take it out, or let this pass before it"
            yield Blocked("bridges", f"let {refusal.what} pass", why=why)


# It runs again after an undo, when the file is what it was before: gone, or an older one of ours.
APPLY = f"""if [ -e {FORWARD_FILE} ]; then sh {FORWARD_FILE}; exit; fi
for t in iptables ip6tables; do
  command -v $t >/dev/null || continue
  $t -w -D FORWARD -j {CHAIN} 2>/dev/null; $t -w -F {CHAIN} 2>/dev/null && $t -w -X {CHAIN}
done; :"""
TAKE_UP = {FORWARD_FILE: APPLY, FIREWALLD_ZONE: RELOAD, FIREWALLD_POLICY: RELOAD}
