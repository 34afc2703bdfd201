"""What firewalld has to be told of the declared networks: nftables asks every table, so an accept in ours ends nothing
in firewalld's, which refuses what its own zones do not know.

The declared devices are a zone that lets everything pass: what is not allowed, our own tables have dropped before, as
their hooks come first. See firewalld.zone(5), firewalld.policy(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.firewalls.firewalld_direct import EMPTY, empties_iptables, lost, merged, moved, pairs, rows
from deploys.bridges.rules import WORLD, BridgesRules, segments
from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, RemoveFile, WriteFile
from facts.core.reading import known
from facts.networks.bridges import FIREWALLD_DIRECT, FIREWALLD_POLICY, FIREWALLD_ZONE, ZONE, BridgesReading
from facts.networks.networks import NetworksReading

RELOAD = f"ZONE={ZONE}\n{templates.text('bridges/firewalld.sh')}"
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<!-- Written by hullproof from the policy\'s `bridges`. -->\n'


def runs(networks: NetworksReading) -> bool:
    return "firewalld" in known(networks.firewalls)


def devices(rules: BridgesRules) -> list[str]:
    """By which what is routed comes and goes, and, with br_netfilter, what is bridged."""
    return sorted({net.bridge for net in rules.networks.values()} | {segment.device for segment in segments(rules)})


def firewalld_files(rules: BridgesRules) -> dict[str, str]:
    """The zone, and what lets others in: from a zone that accepts, firewalld passes on what goes to any other. The
    policy names the zone, so it comes after it."""
    names = devices(rules)
    if not names:
        return {}
    rows = "".join(f'  <interface name="{name}"/>\n' for name in names)
    files = {FIREWALLD_ZONE: f'{HEAD}<zone target="ACCEPT">\n  <short>{ZONE}</short>\n{rows}</zone>\n'}
    if any(flow.from_ == WORLD for flow in rules.allow):
        ways = f'  <ingress-zone name="ANY"/>\n  <egress-zone name="{ZONE}"/>\n'
        files[FIREWALLD_POLICY] = f'{HEAD}<policy target="ACCEPT">\n{ways}</policy>\n'
    return files


def refused(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> str:
    """Of which devices firewalld, as it runs now, lets nothing pass; "" for none. What its iptables backend refuses,
    iptables shows."""
    passed = known(reading.firewalld)
    if passed is None or not runs(networks):
        return ""
    names = [name for name in devices(rules) if name not in passed]
    return f"firewalld refuses what comes from {', '.join(names)}, whatever the policy allows" if names else ""


def not_on_disk(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> dict[str, str | None]:
    """The files that are not as they have to be, with the text that they are to get; None where that cannot be told."""
    if not runs(networks):
        return {}
    found: dict[str, str | None] = {
        path: text for path, text in firewalld_files(rules).items() if known(reading.files.get(path)) != text
    }
    wanted = list(rows(pairs(rules, networks.outward_devices))) if rules.networks else []
    if wanted and empties_iptables(reading, networks) and moved(reading, wanted):
        found[FIREWALLD_DIRECT] = merged(known(reading.files.get(FIREWALLD_DIRECT)), wanted)
    return found


def plan_firewalld(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[Change]:
    files = not_on_disk(rules, reading, networks)
    if not files and not refused(rules, reading, networks):
        return
    emptied = empties_iptables(reading, networks)
    anew = "firewalld loads its rules anew" + (
        ", and empties iptables; Docker puts its own rules back" if emptied else ""
    )
    if emptied and (gone := lost(networks)):
        why = f"a reload of this firewalld empties iptables, and who made `{gone[0]}` would not put it back"
        yield Blocked("bridges", "have firewalld load its rules anew", why=f"{why}: give it to firewalld (--direct)")
        return
    for path, text in files.items():
        what = f"have firewalld pass what our own table lets through ({path})"
        if text is None:
            yield Blocked("bridges", what, why="the file does not end as firewalld.direct(5) says")
        else:
            yield WriteFile("bridges", what, path=path, text=text, before=known(reading.files.get(path)),
                            activate=RELOAD, interrupts=anew,
                            shared="lines" if path == FIREWALLD_DIRECT else "")  # fmt: skip
    if not files:
        yield Command("bridges", "have firewalld load its rules anew", script=RELOAD, undo="", interrupts=anew)


def without_ours(text: str) -> Change:
    """What is left of the direct rules when the policy asks for no networks any more."""
    rest, what = merged(text, ()), f"no longer needed: our rules in {FIREWALLD_DIRECT}"
    if rest == EMPTY:
        return RemoveFile("bridges", what, path=FIREWALLD_DIRECT, before=text, activate=RELOAD)
    if rest is None:
        return Blocked("bridges", what, why="the file does not end as firewalld.direct(5) says")
    return WriteFile("bridges", what, path=FIREWALLD_DIRECT, text=rest, before=text, activate=RELOAD, shared="lines")
