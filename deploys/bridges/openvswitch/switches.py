"""Declared networks on Open vSwitch: its database stores bridges and ports, hullproof's unit loads the flows."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.bridges.devices import Difference, address_differences
from deploys.bridges.openvswitch.flows import numbers, switch_text, switches
from deploys.bridges.rules import BridgeNetwork
from deploys.bridges.view import BridgesView, bridges_view
from deploys.core import templates
from deploys.core.boot_units import standing_on
from deploys.core.change import Change, Command, Install, RemoveFile, WriteFile, unit_script
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.same_text import same_text
from facts.core.reading import known
from facts.core.survey import Survey
from facts.networks.openvswitch import LOADED, SWITCH_FILE, SWITCH_UNIT, SWITCH_UNIT_FILE, Switch, SwitchPort

VSCTL = "ovs-vsctl --timeout=30"
DAEMON = "openvswitch-switch.service"


def switch_differences(view: BridgesView) -> Iterator[Difference]:
    """What the database and the host's side of a switch lack. A port is declared before its device exists."""
    for name, net in switches(view.rules).items():
        there = view.reading.switch(net.bridge)
        yield from _bridge(net.bridge, there)
        for port, number in numbers(net).items():
            yield from _port(port, net, number, there.port(port) if there else None)
        addresses = {each.device: each.gateways for each in view.segments if each.network == name}
        for device in addresses:
            found = view.reading.device(device)
            if found is None or not found.up:
                yield Difference(
                    found=f"{device} is down", action=f"set {device} up", script=f"ip link set {device} up", undo=":"
                )
        yield from address_differences(net.bridge, addresses, view)


def _bridge(name: str, there: Switch | None) -> Iterator[Difference]:
    closed = f"set-fail-mode {name} secure"
    if there is None:
        yield Difference(
            found=f"Open vSwitch bridge {name} does not exist",
            action=f"create Open vSwitch bridge {name}",
            script=f"{VSCTL} add-br {name} -- {closed}",
            undo=f"{VSCTL} del-br {name}",
        )
    elif not there.secure:
        normal = f"ovs-ofctl --timeout=30 add-flow {name} priority=0,actions=NORMAL"
        yield Difference(
            found=f"the fail mode of {name} is not secure: without flows it forwards everything",
            action=f"set the fail mode of {name} to secure",
            script=f"{VSCTL} {closed}",
            undo=f"{VSCTL} del-fail-mode {name}; {normal}",
        )


def _port(name: str, net: BridgeNetwork, number: int, there: SwitchPort | None) -> Iterator[Difference]:
    asks = f"set interface {name} ofport_request={number}"
    if there is None:
        # The VLAN devices share the bridge's MAC address, which neighbours already know as the host's.
        mac = f'mac="\\"$(cat /sys/class/net/{net.bridge}/address)\\""'
        kind = f" type=internal {mac}" if name not in net.ports and name != net.uplink else ""
        yield Difference(
            found=f"{name} is not a port of {net.bridge}",
            action=f"add port {name} to {net.bridge}",
            script=f"{VSCTL} --may-exist add-port {net.bridge} {name} -- {asks}{kind}",
            undo=f"{VSCTL} del-port {net.bridge} {name}",
        )
    elif there.asked != number or (there.number or number) != number:
        before = f"set interface {name} ofport_request={there.asked}" if there.asked else ""
        yield Difference(
            found=f"port {name} does not have OpenFlow port number {number}, which the flows of {net.bridge} use",
            action=f"give port {name} OpenFlow port number {number}",
            script=f"{VSCTL} {asks}",
            undo=f"{VSCTL} {before or f'clear interface {name} ofport_request'}",
        )


# ------------------------------------------------------------------------------------------------ the flows


@standing_on(SWITCH_UNIT, so="so after a reboot the switch has no flows and forwards nothing")
def check_switch(survey: Survey, policy: Policy) -> Verdict:
    view = bridges_view(survey, policy)
    if not switches(view.rules):
        if view.file(SWITCH_FILE) is None:
            return not_applicable("the policy declares no network on Open vSwitch")
        return failed(f"{SWITCH_FILE} is left from an earlier policy", declared=None, disk=False, live=None)
    declared = [net.bridge for net in switches(view.rules).values()]
    disk = list(_on_disk(view))
    live = list(changed_flows(view))
    if disk or live:
        return failed("; ".join([*disk, *live]), declared=declared, disk=not disk, live=not live)
    return passed(
        "the switches have exactly the flows that hullproof loaded, and load them again at boot",
        declared=declared,
        disk=True,
        live=True,
    )


def _on_disk(view: BridgesView) -> Iterator[str]:
    text = view.file(SWITCH_FILE)
    if text is None:
        yield f"{SWITCH_FILE}, which loads the flows, does not exist: the switch does not enforce the policy"
        return
    if not same_text(text, switch_text(view.rules)):
        yield f"{SWITCH_FILE} differs from the policy"
    if not same_text(view.file(SWITCH_UNIT_FILE), unit_text()):
        yield f"{SWITCH_UNIT_FILE} differs from hullproof's"
    if not view.reading.switch_enabled:
        yield f"{SWITCH_UNIT} is not enabled: after a reboot the switch has no flows and forwards nothing"


def changed_flows(view: BridgesView) -> Iterator[str]:
    """What has changed among the flows since hullproof's unit loaded them."""
    if view.file(SWITCH_FILE) is None:
        return
    for net in switches(view.rules).values():
        there = view.reading.switch(net.bridge)
        loaded, flows = (known(there.loaded), known(there.flows)) if there else (None, None)
        if loaded is None or flows is None:
            yield f"{SWITCH_UNIT} has not loaded the flows of {net.bridge}"
            continue
        before, now = set(loaded), set(flows)
        yield from (f"a flow was added to {net.bridge}: {flow}" for flow in flows if flow not in before)
        gone = [flow for flow in loaded if flow not in now]
        if len(gone) > 3:
            yield f"{len(gone)} of the {len(loaded)} flows that hullproof loaded are missing from {net.bridge}"
        else:
            yield from (f"a flow is missing from {net.bridge}: {flow}" for flow in gone)


def unit_text() -> str:
    return templates.text(f"bridges/{SWITCH_UNIT}")


# ------------------------------------------------------------------------------------------------ remediation


def lacks_switch(view: BridgesView) -> bool:
    return bool(switches(view.rules)) and view.reading.switches is None


def install_switch(view: BridgesView) -> Iterator[Change]:
    if lacks_switch(view):
        what = "install Open vSwitch, which the declared networks need"
        yield Install("bridges", what, packages=("openvswitch-switch",))
        # A policy-rc.d may have kept the package from starting it.
        yield Command("bridges", "start Open vSwitch", script=f"systemctl -q enable --now {DAEMON}", undo="")


def plan_switches(view: BridgesView) -> Iterator[Change]:
    """The flows and the unit that loads them. Until they are loaded, the bridges forward nothing."""
    before, unit_before = view.file(SWITCH_FILE), view.file(SWITCH_UNIT_FILE)
    if not switches(view.rules):
        for path, left, activate in ((SWITCH_FILE, before, LOAD), (SWITCH_UNIT_FILE, unit_before, ENABLE)):
            if left is not None:
                yield RemoveFile(
                    "bridges",
                    f"remove {path}, which the policy no longer needs",
                    path=path,
                    before=left,
                    activate=activate,
                )
        return
    yield from _plan_unit(view, unit_before)
    text = switch_text(view.rules)
    if not same_text(before, text):
        names = ", ".join(net.bridge for net in switches(view.rules).values())
        yield WriteFile(
            "bridges",
            f"restrict {names} to the frames that each port may send ({SWITCH_FILE})",
            path=SWITCH_FILE,
            text=text,
            before=before,
            validate="sh -n {}",
            activate=LOAD,
        )
    elif changed := list(changed_flows(view)):
        yield Command("bridges", f"load {SWITCH_FILE} again, because {'; '.join(changed)}", script=LOAD, undo="")


def _plan_unit(view: BridgesView, before: str | None) -> Iterator[Change]:
    if not same_text(before, unit_text()):
        yield WriteFile(
            "bridges",
            f"load the flows and addresses of Open vSwitch at boot ({SWITCH_UNIT})",
            path=SWITCH_UNIT_FILE,
            text=unit_text(),
            before=before,
            activate=ENABLE,
        )
    elif not view.reading.switch_enabled:
        yield Command("bridges", f"enable {SWITCH_UNIT}", script=ENABLE, undo=f"systemctl -q disable {SWITCH_UNIT}")


# Both run again after an undo, when the file is what it was before: missing, or an older one of hullproof's. A bridge
# that hullproof made then stays closed; one that existed before is opened again by the undo of its fail mode.
LOAD = f"FILE={SWITCH_FILE}\nUNIT={SWITCH_UNIT}\nLOADED={LOADED}\n{templates.text('bridges/load-flows.sh')}"
ENABLE = unit_script(SWITCH_UNIT_FILE, gone=f"systemctl stop {SWITCH_UNIT} 2>/dev/null; systemctl daemon-reload")
