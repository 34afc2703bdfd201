"""Declared networks on Open vSwitch: its database keeps bridges and ports, our unit loads the flows between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.bridges.devices import Move, address_moves
from deploys.bridges.openvswitch.flows import numbers, switch_text, switches
from deploys.bridges.rules import BridgeNetwork, BridgesRules, segments
from deploys.core import templates
from deploys.core.change import Change, Command, Install, RemoveFile, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from facts.core.reading import known
from facts.core.survey import Survey
from facts.networks.bridges import Bridges, BridgesReading
from facts.networks.networks import NetworksReading
from facts.networks.openvswitch import LOADED, SWITCH_FILE, SWITCH_UNIT, SWITCH_UNIT_FILE, Switch, SwitchPort

VSCTL = "ovs-vsctl --timeout=30"
DAEMON = "openvswitch-switch.service"


def switch_moves(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[Move]:
    """What the database and the host's side of a switch lack. There a port is declared before its device comes."""
    for name, net in switches(rules).items():
        there = reading.switch(net.bridge)
        yield from _bridge(net.bridge, there)
        for port, number in numbers(net).items():
            yield from _port(port, net, number, there.port(port) if there else None)
        addresses = {segment.device: segment.gateways for segment in segments(rules) if segment.network == name}
        for segment in addresses:
            device = reading.device(segment)
            if device is None or not device.up:
                yield Move(f"{segment} is down", f"ip link set {segment} up", ":")
        yield from address_moves(net.bridge, addresses, networks)


def _bridge(name: str, there: Switch | None) -> Iterator[Move]:
    closed = f"set-fail-mode {name} secure"
    if there is None:
        yield Move(f"there is no Open vSwitch bridge {name}", f"{VSCTL} add-br {name} -- {closed}",
                   f"{VSCTL} del-br {name}")  # fmt: skip
    elif not there.secure:
        again = f"{VSCTL} del-fail-mode {name}; ovs-ofctl --timeout=30 add-flow {name} priority=0,actions=NORMAL"
        yield Move(f"{name} passes everything whenever it has no flows (its fail mode is not secure)",
                   f"{VSCTL} {closed}", again)  # fmt: skip


def _port(name: str, net: BridgeNetwork, number: int, there: SwitchPort | None) -> Iterator[Move]:
    asks = f"set interface {name} ofport_request={number}"
    if there is None:
        # The host keeps the MAC address that neighbours know, whichever device answers by it.
        mac = f'mac="\\"$(cat /sys/class/net/{net.bridge}/address)\\""'
        kind = f" type=internal {mac}" if name not in net.ports and name != net.uplink else ""
        yield Move(f"{name} is no port of {net.bridge}",
                   f"{VSCTL} --may-exist add-port {net.bridge} {name} -- {asks}{kind}",
                   f"{VSCTL} del-port {net.bridge} {name}")  # fmt: skip
    elif there.asked != number or (there.number or number) != number:
        back = f"set interface {name} ofport_request={there.asked}" if there.asked else (
            f"clear interface {name} ofport_request"
        )  # fmt: skip
        yield Move(f"{name} is not the port that the flows of {net.bridge} mean", f"{VSCTL} {asks}", f"{VSCTL} {back}")


# ------------------------------------------------------------------------------------------------ the flows


def check_switch(survey: Survey, policy: Policy) -> Verdict:
    rules, reading = policy[BridgesRules], survey[Bridges]
    before = known(reading.files.get(SWITCH_FILE))
    if not switches(rules):
        if before is None:
            return not_applicable("the policy declares no network on Open vSwitch")
        return failed(f"{SWITCH_FILE} is left from an earlier policy", None, False, None)
    declared = [net.bridge for net in switches(rules).values()]
    disk = list(_on_disk(rules, reading))
    live = list(moved_flows(rules, reading))
    if disk or live:
        return failed("; ".join([*disk, *live]), declared, not disk, not live)
    return passed("the switches hold our flows alone, now and at boot", declared, True, True)


def _on_disk(rules: BridgesRules, reading: BridgesReading) -> Iterator[str]:
    text = known(reading.files.get(SWITCH_FILE))
    if text is None:
        yield "nothing says yet who may send what on the switch: there are no flows of ours"
        return
    if text != switch_text(rules):
        yield f"{SWITCH_FILE} is not what the policy makes"
    if known(reading.files.get(SWITCH_UNIT_FILE)) != unit_text():
        yield f"{SWITCH_UNIT_FILE} is not ours"
    if not reading.switch_enabled:
        yield f"{SWITCH_UNIT} is not enabled: without flows the switch passes nothing after a reboot"


def moved_flows(rules: BridgesRules, reading: BridgesReading) -> Iterator[str]:
    """What moved among the flows since our unit loaded them."""
    if known(reading.files.get(SWITCH_FILE)) is None:
        return
    for net in switches(rules).values():
        there = reading.switch(net.bridge)
        loaded, flows = (known(there.loaded), known(there.flows)) if there else (None, None)
        if loaded is None or flows is None:
            yield f"the flows of {net.bridge} were not loaded by {SWITCH_UNIT}"
            continue
        ours, now = set(loaded), set(flows)
        yield from (f"somebody put a flow into {net.bridge}: {flow}" for flow in flows if flow not in ours)
        gone = [flow for flow in loaded if flow not in now]
        if len(gone) > 3:
            yield f"{len(gone)} of our {len(loaded)} flows are gone from {net.bridge}"
        else:
            yield from (f"a flow is gone from {net.bridge}: {flow}" for flow in gone)


def unit_text() -> str:
    return templates.text(f"bridges/{SWITCH_UNIT}")


# ------------------------------------------------------------------------------------------------ remediation


def lacks_switch(rules: BridgesRules, reading: BridgesReading) -> bool:
    return bool(switches(rules)) and reading.switches is None


def install_switch(rules: BridgesRules, reading: BridgesReading) -> Iterator[Change]:
    if lacks_switch(rules, reading):
        what = "install Open vSwitch, which the declared networks stand on"
        yield Install("bridges", what, packages=("openvswitch-switch",))
        # a policy-rc.d may have kept it from being started
        yield Command("bridges", "start Open vSwitch", script=f"systemctl -q enable --now {DAEMON}", undo="")


def plan_switches(rules: BridgesRules, reading: BridgesReading) -> Iterator[Change]:
    """The flows and the unit that loads them. The bridges are closed until then."""
    text, before = switch_text(rules), known(reading.files.get(SWITCH_FILE))
    unit, unit_before = unit_text(), known(reading.files.get(SWITCH_UNIT_FILE))
    if not switches(rules):
        for path, left, activate in ((SWITCH_FILE, before, LOAD), (SWITCH_UNIT_FILE, unit_before, ENABLE)):
            if left is not None:
                yield RemoveFile("bridges", f"no longer needed: {path}", path=path, before=left, activate=activate)
        return
    if unit != unit_before:
        yield WriteFile("bridges", f"load flows and addresses of Open vSwitch at boot ({SWITCH_UNIT})",
                        path=SWITCH_UNIT_FILE, text=unit, before=unit_before, activate=ENABLE)  # fmt: skip
    elif not reading.switch_enabled:
        yield Command("bridges", f"enable {SWITCH_UNIT}", script=ENABLE, undo=f"systemctl -q disable {SWITCH_UNIT}")
    if text != before:
        names = _list(net.bridge for net in switches(rules).values())
        yield WriteFile("bridges", f"let pass on {names} only what its ports may send ({SWITCH_FILE})",
                        path=SWITCH_FILE, text=text, before=before, validate="sh -n {}", activate=LOAD)  # fmt: skip
    elif moved := list(moved_flows(rules, reading)):
        yield Command("bridges", f"load {SWITCH_FILE} again: {'; '.join(moved)}", script=LOAD, undo="")


# They run again after an undo, when the file is what it was before: gone, or an older one of ours. What is then left
# of a bridge of ours is closed; what was somebody's is opened again by the undo of its fail mode.
LOAD = f"""if [ -e {SWITCH_FILE} ]; then systemctl restart {SWITCH_UNIT}; else
  for f in {LOADED}*; do
    [ -e "$f" ] && ovs-ofctl --timeout=30 del-flows "${{f#{LOADED}}}" 2>/dev/null; rm -f "$f"
  done
fi"""
ENABLE = f"""systemctl daemon-reload || exit 1
if [ -e {SWITCH_UNIT_FILE} ]; then systemctl -q enable {SWITCH_UNIT}; else
  rm -f /etc/systemd/system/*.wants/{SWITCH_UNIT}; systemctl stop {SWITCH_UNIT} 2>/dev/null; systemctl daemon-reload
fi"""


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
