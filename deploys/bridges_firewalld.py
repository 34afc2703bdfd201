"""What firewalld has to be told of the declared networks: nftables asks every table, so an accept in ours ends nothing
in firewalld's, which refuses what its own zones do not know.

The declared devices are a zone that lets everything pass: what is not allowed, our own tables have dropped before, as
their hooks come first. See firewalld.zone(5), firewalld.policy(5).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploys.bridges_rules import WORLD, BridgesRules, segments
from deploys.engine.change import Change, Command, WriteFile
from facts.bridges import FIREWALLD_POLICY, FIREWALLD_ZONE, ZONE, BridgesReading
from facts.networks import NetworksReading
from facts.reading import known

TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "bridges"
RELOAD = f"ZONE={ZONE}\n{(TEMPLATES / 'firewalld.sh').read_text()}"
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


def not_on_disk(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> dict[str, str]:
    wanted = firewalld_files(rules) if runs(networks) else {}
    return {path: text for path, text in wanted.items() if known(reading.files.get(path)) != text}


def plan_firewalld(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[Change]:
    files = not_on_disk(rules, reading, networks)
    for path, text in files.items():
        what = f"have firewalld pass what our own table lets through ({path})"
        yield WriteFile("bridges", what, path=path, text=text, before=known(reading.files.get(path)), activate=RELOAD,
                        interrupts="firewalld loads its rules anew")  # fmt: skip
    if not files and refused(rules, reading, networks):
        yield Command("bridges", "have firewalld load its rules anew", script=RELOAD, undo="",
                      interrupts="firewalld loads its rules anew")  # fmt: skip
