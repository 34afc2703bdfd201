"""Bridges: networks and VLANs declared as intent, kept apart by the kernel and by nft tables of our own."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.conflicts import conflicts
from deploys.bridges.devices import moves, wanted
from deploys.bridges.drift import check_hand_made, check_meeting, check_reverted
from deploys.bridges.firewalls.forwarding import check_forwarding
from deploys.bridges.metadata import ACCEPT as METADATA
from deploys.bridges.metadata import without
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.openvswitch.switches import check_switch, switch_moves
from deploys.bridges.plan import (
    ACCEPT,
    DECLARED,
    FILTER,
    FORWARDING,
    RETRY,
    REVERTED,
    SWITCH,
    files_of,
    flows_of,
    made_before,
    manager_of,
    moved_rules,
    plan,
    stale_files,
    unit_text,
    wants_filter,
)
from deploys.bridges.rules import BridgesRules, segments
from deploys.core.change import Subject
from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.networks.isolation import SERVICES
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.networks.bridges import NETWORKD, NETWORKD_FILES, RULES_FILE, UNIT, UNIT_FILE, Bridges, BridgesReading
from facts.networks.networks import Networks

NOTHING = not_applicable("the policy declares no bridge networks")


def _check_declared(survey: Survey, policy: Policy) -> Verdict:
    rules, reading, networks = policy[BridgesRules], survey[Bridges], survey[Networks]
    manager = manager_of(reading, networks)
    stale = sorted(stale_files(rules, reading, manager))
    if not rules.networks and not stale:
        return NOTHING
    declared = {segment.name: list(segment.subnets) for segment in segments(rules)}
    clash = [f"cannot be made, or kept, here: {why}" for why in conflicts(rules, reading, networks, survey[Docker])]
    if clash and not made_before(rules, reading):
        return failed("; ".join(clash), declared)
    lacks = [move.says for move in (*moves(rules, reading, networks), *switch_moves(rules, reading, networks))]
    disk = [path for path, text in files_of(rules, manager).items() if known(reading.files.get(path)) != text]
    reasons = [*clash, *lacks, *(f"{path} is not as the policy says" for path in disk)]
    reasons += [f"{path} is left from an earlier policy" for path in stale]
    reasons += list(_not_in_charge(rules, reading, manager))
    if manager is None and wanted(rules):
        reasons.append("no network manager runs here that could make the bridges at boot")
    if reasons:
        return failed("; ".join(reasons), declared, not disk and not stale, lacks or True)
    keepers = [manager] if manager and wanted(rules) else []
    keepers += ["Open vSwitch"] if any(segment.switched for segment in segments(rules)) else []
    by = " and ".join(keepers)
    return passed(f"{', '.join(declared)} are as declared, now and at boot by {by}", declared, True, True)


def _not_in_charge(rules: BridgesRules, reading: BridgesReading, manager: str | None) -> Iterator[str]:
    """Files that are right and that the manager does not use."""
    for bridge in wanted(rules):
        device = reading.device(bridge.name)
        path = f"{NETWORKD_FILES}{bridge.name}.network"
        if manager == NETWORKD and device and path in reading.files and device.file != path:
            yield f"systemd-networkd does not run {bridge.name} by {path}" + (
                f" but by {device.file}" if device.file else ""
            )


def _check_filter(survey: Survey, policy: Policy) -> Verdict:
    rules, reading = policy[BridgesRules], survey[Bridges]
    declared = flows_of(rules)
    before = known(reading.files.get(RULES_FILE))
    if not wants_filter(rules):
        if before is None:
            return NOTHING
        return failed(f"{RULES_FILE} is left from an earlier policy", None, False, bool(known(reading.listed)))
    disk = before == filter_text(rules) and known(reading.files.get(UNIT_FILE)) == unit_text() and reading.unit_enabled
    wrong = [*_on_disk(rules, reading), *moved_rules(reading)]
    if wrong:
        return failed("; ".join(wrong), declared, disk, not list(moved_rules(reading)))
    return passed("our tables stand as the policy says, now and at boot", declared, True, True)


def _on_disk(rules: BridgesRules, reading: BridgesReading) -> Iterator[str]:
    text = known(reading.files.get(RULES_FILE))
    open_ = without(rules)
    if rules.metadata and text == (filter_text(open_) if wants_filter(open_) else None):
        yield "the metadata address is not closed to bridges"
        rules = open_
    if text is None:
        if wants_filter(rules):
            yield "nothing keeps the networks apart yet: there is no filter"
        return
    if text != filter_text(rules):
        yield f"{RULES_FILE} is not what the policy makes"
    if known(reading.files.get(UNIT_FILE)) != unit_text():
        yield f"{UNIT_FILE} is not ours"
    if not reading.unit_enabled:
        yield f"{UNIT} is not enabled: the filter is gone after a reboot"


CONTROLS = (
    Control(
        id=DECLARED,
        title="Bridges, VLANs and ports are as declared",
        severity=Severity.HIGH,
        why="A port that lost its isolation or its VLAN meets whoever is on the bridge, and no file shows it.",
        check=_check_declared,
        references=("NIST-800-190-4.4.2", "NIST-800-190-4.3.3"),
        lockout=True,
        by_hand="give the host back what the finding names, or change the policy's bridges to what is there",
    ),
    Control(
        id=FILTER,
        title="Our bridge filter stands unaltered, now and at boot",
        severity=Severity.HIGH,
        why="Isolation by addresses alone stops no forged ARP, no raw frame and no packet handed to the router's MAC.",
        check=_check_filter,
        references=("NIST-800-190-4.4.2",),
        lockout=True,
        by_hand=f"enable {UNIT} and restart it: it loads {RULES_FILE}",
    ),
    Control(
        id=SWITCH,
        title="Open vSwitch holds our flows alone, now and at boot",
        severity=Severity.HIGH,
        why="No firewall of the host sees what a switch passes on: its flows alone say who may send what.",
        check=check_switch,
        references=("NIST-800-190-4.4.2",),
        lockout=True,
        by_hand="start Open vSwitch, and restart hullproof-openvswitch.service, which loads the flows",
    ),
    Control(
        id=FORWARDING,
        title="The host lets the flows pass that the policy allows",
        severity=Severity.LOW,
        why="An allowed flow that does not pass makes people open more than they need.",
        check=check_forwarding,
        lockout=True,
        by_hand="have the firewall that the finding names let pass what the policy's bridges.allow names",
    ),
    Control(
        id="bridges.meeting",
        title="Nobody stands in two networks that must not meet",
        severity=Severity.HIGH,
        why="A container with a leg in each of two networks is a router between them that no filter sees. "
        "What is allowed there for one protocol or port is no excuse: it would pass on the rest too.",
        check=check_meeting,
        references=("NIST-800-190-4.4.2",),
        by_hand="whoever looks after the container takes it off one of the networks, or the policy lets all of it pass "
        "between them (bridges.allow)",
    ),
    Control(
        id="bridges.undeclared",
        title="No bridge was made by hand",
        severity=Severity.MEDIUM,
        why="A bridge that no file makes is gone after a reboot, and until then joins what nobody declared.",
        check=check_hand_made,
        by_hand="declare the bridge under bridges.networks, have a file make it, or remove it with ip link del",
    ),
    Control(
        id=REVERTED,
        title="No network change of ours was taken back by the host",
        severity=Severity.HIGH,
        why="A change that cut us off was undone by the host itself: the policy does not hold, and would cut again.",
        check=check_reverted,
        by_hand=f"find out why the host could not be reached, then accept {RETRY}",
    ),
)


SUBJECT = Subject(
    name="bridges",
    rules=BridgesRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Bridges, Networks, Docker, Kernel, System),
    accepts=(ACCEPT, SERVICES, RETRY, METADATA),
)
