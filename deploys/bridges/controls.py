"""Bridges: declared networks and VLANs, which the kernel and hullproof's own nft tables keep apart."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.conflicts import conflicts
from deploys.bridges.devices import differences
from deploys.bridges.drift import check_hand_made, check_meeting, check_reverted
from deploys.bridges.firewalls.forwarding import check_forwarding
from deploys.bridges.metadata import ACCEPT as METADATA
from deploys.bridges.openvswitch.switches import check_switch, switch_differences
from deploys.bridges.plan import (
    ACCEPT,
    DECLARED,
    FILTER,
    FORWARDING,
    RETRY,
    REVERTED,
    SWITCH,
    changed_rules,
    flows_of,
    made_before,
    plan,
    unit_text,
)
from deploys.bridges.rules import BridgesRules
from deploys.bridges.view import BridgesView, bridges_view
from deploys.core.boot_units import standing_on
from deploys.core.change import Subject
from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.same_text import same_text
from deploys.networks.isolation import SERVICES
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines import present
from facts.kernel.kernel import Kernel
from facts.networks.bridges import NETWORKD, NETWORKD_FILES, REVERTED_FILE, RULES_FILE, UNIT, UNIT_FILE, Bridges
from facts.networks.networks import Networks

NOTHING = not_applicable("the policy declares no bridge networks")


def _check_declared(survey: Survey, policy: Policy) -> Verdict:
    view = bridges_view(survey, policy)
    if not view.rules.networks and not view.stale_files:
        return NOTHING
    declared = {segment.name: list(segment.subnets) for segment in view.segments}
    clash = [f"the declared networks conflict with this host: {why}" for why in conflicts(view)]
    if clash and not made_before(view):
        return failed("; ".join(clash), declared=declared)
    lacks = [each.found for each in (*differences(view), *switch_differences(view))]
    disk = [path for path, text in view.files.items() if not same_text(view.file(path), text)]
    reasons = [*clash, *lacks, *map(view.file_fault, disk)]
    reasons += [f"{path} is left from an earlier policy" for path in sorted(view.stale_files)]
    reasons += _not_in_charge(view)
    if view.manager is None and view.wanted:
        reasons.append("no network manager runs here that could make the bridges again at boot")
    if reasons:
        right = not disk and not view.stale_files
        reason = f"{'; '.join(reasons)}; the policy declares the networks otherwise (bridges.networks)"
        return failed(reason, declared=declared, disk=right, live=lacks or True)
    keepers = [view.manager] if view.manager and view.wanted else []
    keepers += ["Open vSwitch"] if any(segment.switched for segment in view.segments) else []
    reason = f"{', '.join(declared)} are as declared, and {' and '.join(keepers)} makes them again at boot"
    return passed(reason, declared=declared, disk=True, live=True)


def _not_in_charge(view: BridgesView) -> Iterator[str]:
    """Files that are right, but that the manager does not use."""
    for bridge in view.wanted if view.manager == NETWORKD else ():
        device = view.reading.device(bridge.name)
        path = f"{NETWORKD_FILES}{bridge.name}.network"
        if device and path in view.reading.files and device.file != path:
            instead = f"{device.file} and not {path}" if device.file else f"no file, not even {path}"
            yield f"systemd-networkd configures {bridge.name} from {instead}"


@standing_on(UNIT, so="so after a reboot nothing filters traffic between the networks")
def _check_filter(survey: Survey, policy: Policy) -> Verdict:
    view = bridges_view(survey, policy)
    declared, before = flows_of(view.rules), view.file(RULES_FILE)
    if not view.wants_filter:
        if before is None:
            return NOTHING
        left = bool(known(view.reading.listed))
        return failed(f"{RULES_FILE} is left from an earlier policy", declared=None, disk=False, live=left)
    boots = view.reading.unit_enabled and same_text(view.file(UNIT_FILE), unit_text())
    disk = boots and same_text(before, view.filter_text)
    live = changed_rules(view)
    if wrong := [*_on_disk(view), *live]:
        return failed("; ".join(wrong), declared=declared, disk=disk, live=not live)
    reason = "hullproof's tables enforce the policy, and are loaded again at boot"
    return passed(reason, declared=declared, disk=True, live=True)


def _on_disk(view: BridgesView) -> Iterator[str]:
    text, rest = view.file(RULES_FILE), view.without_metadata
    without = same_text(text, rest.filter_text) if rest.wants_filter else text is None
    if view.rules.metadata and without:
        yield "bridges reach the cloud's metadata addresses, which the policy closes (bridges.metadata)"
        view = rest
    if text is None:
        if view.wants_filter:
            yield f"{RULES_FILE} does not exist: nothing filters traffic between the networks"
        return
    if not same_text(text, view.filter_text):
        yield f"{RULES_FILE} differs from the policy"
    if not same_text(view.file(UNIT_FILE), unit_text()):
        yield f"{UNIT_FILE} differs from hullproof's"
    if not view.reading.unit_enabled:
        yield f"{UNIT} is not enabled: after a reboot nothing filters traffic between the networks"


CONTROLS = (
    Control(
        id=DECLARED,
        title="Bridges, VLANs and ports are as declared",
        severity=Severity.HIGH,
        why="A port without its isolation or VLAN reaches every other port of the bridge, and no file shows that.",
        check=_check_declared,
        references=("NIST-800-190-4.4.2", "NIST-800-190-4.3.3"),
        lockout=True,
        by_hand="restore what the finding names, or declare under bridges.networks what the host has",
    ),
    Control(
        id=FILTER,
        title="hullproof's bridge filter is loaded and unchanged, now and at boot",
        severity=Severity.HIGH,
        why="Separate subnets alone stop neither forged ARP nor raw frames nor packets to the router's MAC address.",
        check=_check_filter,
        references=("NIST-800-190-4.4.2",),
        lockout=True,
        by_hand=f"enable {UNIT} and restart it: it loads {RULES_FILE}",
    ),
    Control(
        id=SWITCH,
        title="Open vSwitch has exactly hullproof's flows, now and at boot",
        severity=Severity.HIGH,
        why="The host's firewall does not see frames that Open vSwitch switches: only its flows restrict them.",
        check=check_switch,
        references=("NIST-800-190-4.4.2",),
        lockout=True,
        by_hand="start Open vSwitch, then restart hullproof-openvswitch.service, which loads the flows",
    ),
    Control(
        id=FORWARDING,
        title="The host forwards the flows that the policy allows",
        severity=Severity.LOW,
        why="When an allowed flow does not pass, operators open more than they need to.",
        check=check_forwarding,
        lockout=True,
        by_hand="make the firewall that the finding names accept the flows of bridges.allow",
    ),
    Control(
        id="bridges.meeting",
        title="No container is in two networks that the policy keeps apart",
        severity=Severity.HIGH,
        why="A container in two networks can route between them past every filter, also what bridges.allow does not "
        "allow there.",
        check=check_meeting,
        references=("NIST-800-190-4.4.2",),
        by_hand="the container's owner disconnects it from one of the networks, or bridges.allow allows all traffic "
        "between them",
    ),
    Control(
        id="bridges.undeclared",
        title="No bridge was created by hand",
        severity=Severity.MEDIUM,
        why="A bridge that no file defines is gone after a reboot, and until then connects what no policy names.",
        check=check_hand_made,
        by_hand="declare the bridge under bridges.networks, define it in a file of the network manager, or delete it "
        "with ip link del",
    ),
    Control(
        id=REVERTED,
        title="The host has not reverted a network change of hullproof's",
        severity=Severity.HIGH,
        why="The host reverted a change that cut the connection: the policy is not enforced, and would cut it again.",
        check=check_reverted,
        by_hand=f"find out why the host could not be reached, then delete {REVERTED_FILE}: harden tries it again",
    ),
)


SUBJECT = Subject(
    name="bridges",
    rules=BridgesRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Bridges, Networks, *present.ENGINE_FACTS, Kernel, System),
    accepts=(ACCEPT, SERVICES, RETRY, METADATA),
    unproved="to attempt it takes another host or guest on the network, and a proof has one host",
)
