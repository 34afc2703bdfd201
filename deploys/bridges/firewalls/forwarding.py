"""Allowed flows pass: the host forwards, and no firewall on it, such as Docker's FORWARD policy of DROP, stops them.

hullproof's own tables have dropped what is not allowed before iptables evaluates it, so whole devices are accepted
here; also from a bridge to itself, because with br_netfilter bridged frames pass through FORWARD.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.bridges.firewalls.firewalld import (
    RELOAD,
    firewalld_files,
    not_on_disk,
    plan_firewalld,
    refused_devices,
    remove_direct,
)
from deploys.bridges.firewalls.firewalld_direct import CHAIN, own_rows, pairs
from deploys.bridges.firewalls.iptables import Cause, refusals
from deploys.bridges.firewalls.ufw import left_in_ufw, plan_ufw
from deploys.bridges.rules import HOST, WORLD, BridgesRules
from deploys.bridges.view import BridgesView, bridges_view
from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, RemoveFile, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.same_text import same_text
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.networks.bridges import (
    FIREWALLD_DIRECT,
    FIREWALLD_POLICY,
    FIREWALLD_ZONE,
    FORWARD_FILE,
    SYSCTL_FILE,
)

FORWARD = "sysctl -q -w net.ipv4.ip_forward"
# hullproof does not set it: a router ignores router advertisements, by which the host may have its own address.
SIX = "net.ipv6.conf.all.forwarding is 0 and bridges.allow has flows between IPv6 networks: set it to 1 in \
/etc/sysctl.d, once the host's own addresses do not come from router advertisements or accept_ra=2 is set"
SWITCH = "# Written by hullproof: the policy allows flows between networks, which the host routes.\n\
net.ipv4.ip_forward = 1\n"


def routes(rules: BridgesRules) -> bool:
    """Whether some allowed flow has to be routed."""
    return any(flow.to != HOST for flow in rules.allow)


def lacks_ipv6(view: BridgesView) -> bool:
    """Whether an allowed flow has IPv6 addresses at both ends, and the host does not forward IPv6."""
    six = {segment.name for segment in view.segments if any(":" in subnet for subnet in segment.subnets)}
    defaults = (route for route in known(view.networks.routes) if route.destination == "default")
    if six and any(":" in (route.gateway or "") for route in defaults):
        six.add(WORLD)
    flows = any(flow.from_ in six and flow.to in six for flow in view.rules.allow)
    return flows and known(view.networks.forwarding6) == 0


def forward_text(rules: BridgesRules, outwards: Iterable[str]) -> str:
    """sh that makes iptables accept packets between the declared devices; `outwards` lead to the world."""
    return templates.render("bridges/forward.sh.j2", chain=CHAIN, pairs=sorted(pairs(rules, outwards)))


def check_forwarding(survey: Survey, policy: Policy) -> Verdict:
    view = bridges_view(survey, policy)
    if left := [*_left(view), *(f"ufw's rule `{rule}`" for rule in left_in_ufw(view))]:
        return failed(f"left from an earlier policy: {', '.join(left)}", declared=None, disk=False, live=None)
    if not view.rules.networks:
        return not_applicable("the policy declares no bridge networks")
    lacks = list(_lacks_live(view))
    disk = same_text(view.file(FORWARD_FILE), _forward_text(view))
    reasons = [*lacks, *map(view.file_fault, not_on_disk(view))]
    if not disk:
        reasons.append(view.file_fault(FORWARD_FILE))
    if routes(view.rules) and not same_text(view.file(SYSCTL_FILE), SWITCH):
        reasons.append(f"{SYSCTL_FILE} does not set net.ipv4.ip_forward=1 for the next boot")
    if reasons:
        return failed("; ".join(reasons), declared=True, disk=disk, live=not lacks)
    if unread := _unread(view):
        raise UnknownReading(f"nft drops what no rule accepts in {unread}, whose rules hullproof does not read")
    return passed("the host forwards every flow that the policy allows", declared=True, disk=disk, live=True)


def _forward_text(view: BridgesView) -> str:
    return forward_text(view.rules, view.networks.outward_devices)


def _lacks_live(view: BridgesView) -> Iterator[str]:
    if routes(view.rules) and known(view.networks.forwarding4) != 1:
        yield "net.ipv4.ip_forward is 0, but bridges.allow has flows that the host must route"
    if lacks_ipv6(view):
        yield SIX
    yield from map(str, refusals(view))
    if names := refused_devices(view):
        yield f"firewalld rejects packets from {', '.join(names)}, whatever bridges.allow says"


def _unread(view: BridgesView) -> str:
    """Other people's chains that may drop what is allowed. firewalld's and iptables' own are read by other means, but
    not chains that stand beside those in a table of the same name, nor where iptables is missing."""
    hooks = {"input" if flow.to == HOST else "forward" for flow in view.rules.allow}
    tables = {"ip filter": view.networks.filter4, "ip6 filter": view.networks.filter6}
    read = {(table, name) for table, found in tables.items() if known(found) for name in ("INPUT", "FORWARD")}
    guards = [guard for guard in known(view.networks.guards) or () if guard.table != "inet firewalld"]
    strange = [guard for guard in guards if guard.hook in hooks and (guard.table, guard.chain) not in read]
    return " and ".join(f"the chain {guard.chain} of table {guard.table}" for guard in strange)


def _left(view: BridgesView) -> dict[str, str]:
    """hullproof's own files that the policy no longer wants."""
    networks = bool(view.rules.networks)
    wanted = {FORWARD_FILE: networks, SYSCTL_FILE: routes(view.rules)}
    wanted |= {path: path in firewalld_files(view.rules) for path in (FIREWALLD_POLICY, FIREWALLD_ZONE)}
    left = {path: text for path, want in wanted.items() if not want and (text := view.file(path))}
    direct = view.file(FIREWALLD_DIRECT)
    return left | ({FIREWALLD_DIRECT: direct} if direct and own_rows(direct) and not networks else {})


# ------------------------------------------------------------------------------------------------ remediation


def plan_forwarding(view: BridgesView) -> Iterator[Change]:
    yield from _remove_left(view)
    if routes(view.rules):
        yield from _switch_on(view)
    if lacks_ipv6(view):
        yield Blocked("bridges", "forward IPv6, which allowed flows between networks need", why=SIX)
    yield from plan_firewalld(view)
    yield from plan_ufw(view)
    text, before = _forward_text(view), view.file(FORWARD_FILE)
    if view.rules.networks and not same_text(before, text):
        yield WriteFile(
            "bridges",
            f"let iptables' FORWARD chain accept the allowed flows ({FORWARD_FILE})",
            path=FORWARD_FILE,
            text=text,
            before=before,
            activate=APPLY,
        )
        return
    yield from _plan_iptables(view)


def _remove_left(view: BridgesView) -> Iterator[Change]:
    left = _left(view)
    if text := left.pop(FIREWALLD_DIRECT, None):
        yield remove_direct(text)
    for path, text in left.items():  # ip_forward itself stays 1: something else may need it
        what = f"remove {path}, which the policy no longer needs"
        yield RemoveFile("bridges", what, path=path, before=text, activate=ACTIVATE.get(path, ""))


def _switch_on(view: BridgesView) -> Iterator[Change]:
    before = view.file(SYSCTL_FILE)
    if not same_text(before, SWITCH):
        what = f"forward IPv4 after each boot ({SYSCTL_FILE})"
        yield WriteFile("bridges", what, path=SYSCTL_FILE, text=SWITCH, before=before)
    if known(view.networks.forwarding4) != 1:
        what = "forward IPv4 from now on, which allowed flows between networks need"
        yield Command("bridges", what, script=f"{FORWARD}=1", undo=f"{FORWARD}=0")


def _plan_iptables(view: BridgesView) -> Iterator[Change]:
    stopped = refusals(view)
    if any(refusal.cause is Cause.FORWARD_POLICY for refusal in stopped):
        yield Command("bridges", f"restore the chain {CHAIN} of iptables", script=APPLY, undo="")
    if not_on_disk(view):  # firewalld's new files may already accept these flows
        return
    planned = {Cause.FORWARD_POLICY} | ({Cause.UFW} if view.reading.ufw is not None else set())
    for refusal in stopped:
        if refusal.cause not in planned:
            why = (
                f"a rule that is not hullproof's drops it: {refusal.rule}; remove that rule, or accept "
                f"{refusal.what} before it"
            )
            yield Blocked("bridges", f"let {refusal.what} pass", why=why)


# It runs again after an undo, when the file is what it was before: missing, or an older one of hullproof's.
APPLY = f"FILE={FORWARD_FILE}\nCHAIN={CHAIN}\n{templates.text('bridges/apply-forward.sh')}"
ACTIVATE = {FORWARD_FILE: APPLY, FIREWALLD_ZONE: RELOAD, FIREWALLD_POLICY: RELOAD}
