"""firewalld's zone for the declared networks: nftables evaluates every table, so an accept in hullproof's does not
override firewalld's, which rejects what its zones do not accept.

The declared devices form a zone that accepts everything: what is not allowed, hullproof's own tables have already
dropped, as their hooks have an earlier priority. See firewalld.zone(5), firewalld.policy(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.firewalls.firewalld_direct import (
    EMPTY,
    differs,
    empties_iptables,
    lost,
    merged,
    pairs,
    rows,
    runs,
)
from deploys.bridges.rules import WORLD, BridgesRules, segments
from deploys.bridges.view import BridgesView
from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, RemoveFile, WriteFile
from deploys.core.same_text import same_text
from facts.core.reading import known
from facts.networks.bridges import FIREWALLD_DIRECT, FIREWALLD_POLICY, FIREWALLD_ZONE, ZONE

RELOAD = f"ZONE={ZONE}\n{templates.text('bridges/firewalld.sh')}"
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<!-- Written by hullproof from the policy\'s `bridges`. -->\n'
MALFORMED = f"{FIREWALLD_DIRECT} does not end with </direct> (firewalld.direct(5)): correct it, then run again"


def devices(rules: BridgesRules) -> list[str]:
    """The devices of routed packets and, with br_netfilter, of bridged ones."""
    return sorted({net.bridge for net in rules.networks.values()} | {segment.device for segment in segments(rules)})


def firewalld_files(rules: BridgesRules) -> dict[str, str]:
    """The zone; and the policy that lets the world reach it where a flow allows that: from a zone that accepts
    everything, firewalld forwards to any other. The policy names the zone, so it is written after it."""
    names = devices(rules)
    if not names:
        return {}
    rows = "".join(f'  <interface name="{name}"/>\n' for name in names)
    files = {FIREWALLD_ZONE: f'{HEAD}<zone target="ACCEPT">\n  <short>{ZONE}</short>\n{rows}</zone>\n'}
    if any(flow.from_ == WORLD for flow in rules.allow):
        ends = f'  <ingress-zone name="ANY"/>\n  <egress-zone name="{ZONE}"/>\n'
        files[FIREWALLD_POLICY] = f'{HEAD}<policy target="ACCEPT">\n{ends}</policy>\n'
    return files


def refused_devices(view: BridgesView) -> list[str]:
    """Declared devices that the running firewalld rejects. What its iptables backend rejects, iptables' chains show."""
    accepted = known(view.reading.firewalld)
    if accepted is None or not runs(view.networks):
        return []
    return [name for name in devices(view.rules) if name not in accepted]


def not_on_disk(view: BridgesView) -> dict[str, str | None]:
    """The files that differ from what is wanted, with the wanted text; None for a file that is malformed."""
    if not runs(view.networks):
        return {}
    found: dict[str, str | None] = {
        path: text for path, text in firewalld_files(view.rules).items() if not same_text(view.file(path), text)
    }
    wanted = list(rows(pairs(view.rules, view.networks.outward_devices))) if view.rules.networks else []
    if wanted and empties_iptables(view) and differs(view, wanted):
        found[FIREWALLD_DIRECT] = merged(view.file(FIREWALLD_DIRECT), wanted)
    return found


def plan_firewalld(view: BridgesView) -> Iterator[Change]:
    files = not_on_disk(view)
    if not files and not refused_devices(view):
        return
    emptied = empties_iptables(view)
    if emptied and (gone := lost(view.networks)):
        why = f"a reload of this firewalld empties iptables, and would delete `{gone[0]}` for good"
        yield Blocked("bridges", "reload firewalld", why=f"{why}: add that rule to firewalld (--direct)")
        return
    interrupts = "reloads firewalld"
    if emptied:
        own = [f"; {engine.name} then restores its own rules" for engine in view.engines if engine.installed]
        interrupts += "".join([", which empties iptables", *own])
    for path, text in files.items():
        what = f"let firewalld accept the devices of the declared networks ({path})"
        if text is None:
            yield Blocked("bridges", what, why=MALFORMED)
        else:
            yield WriteFile(
                "bridges",
                what,
                path=path,
                text=text,
                before=view.file(path),
                activate=RELOAD,
                interrupts=interrupts,
                shared="lines" if path == FIREWALLD_DIRECT else "",
            )
    if not files:
        yield Command("bridges", "reload firewalld", script=RELOAD, undo="", interrupts=interrupts)


def remove_direct(text: str) -> Change:
    """Takes hullproof's rules out of the direct rules when the policy declares no networks any more."""
    rest, what = merged(text, ()), f"remove hullproof's rules from {FIREWALLD_DIRECT}, which no longer needs them"
    if rest is None:
        return Blocked("bridges", what, why=MALFORMED)
    if rest == EMPTY:
        return RemoveFile("bridges", what, path=FIREWALLD_DIRECT, before=text, activate=RELOAD)
    return WriteFile("bridges", what, path=FIREWALLD_DIRECT, text=rest, before=text, activate=RELOAD, shared="lines")
