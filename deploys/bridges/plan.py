"""Bridges: what is changed on a host, and by what it is told that something must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from deploys.bridges.conflicts import conflicts
from deploys.bridges.devices import Move, WantedBridge, moves, wanted
from deploys.bridges.firewalls.forwarding import plan_forwarding
from deploys.bridges.managers.files import files_for, forget_for, reload_for
from deploys.bridges.metadata import for_now, losing, plan_metadata, without
from deploys.bridges.nft_filter import SERVED, filter_text
from deploys.bridges.openvswitch.switches import install_switch, lacks_switch, plan_switches, switch_moves
from deploys.bridges.rules import BridgesRules, engine_prefixes, guards
from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, Install, RemoveFile, WriteFile, mending
from deploys.networks import nft
from deploys.networks.isolation import SERVICES, to_host
from facts.core.reading import known
from facts.core.reverted import UNDO
from facts.core.system import System
from facts.engines.docker.docker import Docker
from facts.networks.bridges import (
    IFUPDOWN,
    LOADED_FILE,
    MANAGED,
    NETWORKD,
    NETWORKMANAGER,
    NM_FILES,
    REVERTED_FILE,
    RULES_FILE,
    TABLE,
    UNIT,
    UNIT_FILE,
    Bridges,
    BridgesReading,
    Device,
)
from facts.networks.networks import Networks, NetworksReading, chains
from facts.networks.openvswitch import SWITCH_FILE

DECLARED, FILTER, SWITCH, FORWARDING = "bridges.declared", "bridges.filter", "bridges.switch", "bridges.forwarding"
REVERTED = "bridges.reverted"
ACCEPT = "network-isolation"
RETRY = "reverted-network"


def manager_of(reading: BridgesReading, networks: NetworksReading) -> str | None:
    """Who makes the network here: the manager of the device that leads out, or else one that runs."""
    managed = [device.managed for name in networks.default_devices if (device := reading.device(name))]
    found = [*managed, *known(networks.managers)]
    return next((name for name in found if name in (NETWORKD, IFUPDOWN, NETWORKMANAGER)), None)


def files_of(rules: BridgesRules, manager: str | None) -> dict[str, str]:
    return files_for(manager, wanted(rules)) if manager else {}


def stale_files(rules: BridgesRules, reading: BridgesReading, manager: str | None) -> dict[str, str]:
    """Our own files, of whichever manager, that the policy asks for no more."""
    want = files_of(rules, manager)
    return {
        path: known(text) or "" for path, text in reading.files.items() if path.startswith(MANAGED) and path not in want
    }


def wants_filter(rules: BridgesRules) -> bool:
    return bool(rules.networks or rules.metadata or rules.isolated_engines or rules.guarded_engines)


def made_before(rules: BridgesRules, reading: BridgesReading) -> bool:
    """Whether the networks were made here from these very rules, whatever has moved since."""
    return known(reading.files.get(RULES_FILE)) in (filter_text(rules), filter_text(without(rules)))


def flows_of(rules: BridgesRules) -> list[str]:
    return [f"{flow.from_} -> {flow.to}: {flow}" for flow in rules.allow]


def moved_rules(reading: BridgesReading) -> Iterator[str]:
    """What moved in our tables since our unit loaded them."""
    if known(reading.files.get(RULES_FILE)) is None:
        return
    listed, loaded = known(reading.listed), known(reading.loaded)
    if not listed:
        yield "our tables are gone from the kernel: was the rule set flushed?"
    elif loaded is None:
        yield f"our tables were not loaded by {UNIT}"
    else:
        yield from _moved(loaded, listed)


def _moved(loaded: tuple[str, ...], listed: tuple[str, ...]) -> Iterator[str]:
    was, now = _by_chain(loaded), _by_chain(listed)
    for place in dict.fromkeys([*was, *now]):
        before, after = was.get(place, []), now.get(place, [])
        put, gone = Counter(after) - Counter(before), Counter(before) - Counter(after)
        yield from (f"somebody put a rule into our {place[1]}: {text}" for text in put.elements())
        yield from (f"a rule is gone from our {place[1]}: {text}" for text in gone.elements())
        if not put and not gone and before != after:
            yield f"the rules of our {place[1]} are in another order"


def _by_chain(lines: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """The lines within each chain (or set) of each table; a chain's own head is within its table."""
    found: dict[tuple[str, str], list[str]] = {}
    table, place = "", "tables"
    for text in map(str.strip, lines):
        found.setdefault((table, place), []).append(text)
        if text.startswith("table "):
            table = place = text.rstrip(" {")
        elif text.startswith(("chain ", "set ", "map ")):
            place = text.rstrip(" {")
        elif text == "}":
            table, place = ("", "tables") if place == table else (table, table)
    return found


# ------------------------------------------------------------------------------------------------ remediation


def plan(context: Context) -> Iterable[Change]:
    """All of it is commit-confirmed: the host reverts a network that cuts us off. Installations take too long."""
    again = context.accepts(RETRY)
    changes = list(_planned(context)) if context.failing(DECLARED, FILTER, SWITCH, FORWARDING) else []
    for change in changes:
        # Once it is confirmed, the mark of what the host took back is gone.
        controls = (*change.controls, *context.which(REVERTED)) if again else change.controls
        yield replace(change, commit_confirmed=not isinstance(change, (Blocked, Install)), controls=controls)
    if again and not changes and (reverted := known(context.survey[Bridges].reverted)):
        # Nothing is left to be tried again, so no confirmation takes the mark away.
        what = f"forget what the host did by itself with run {reverted.run}"
        yield Command("bridges", what, script=f"rm -f {REVERTED_FILE}", undo="", controls=(REVERTED,))
    if context.failing(REVERTED) and not again and not any(REVERTED in change.controls for change in changes):
        why = f"find out why the host could not be reached any more, then allow it with accept={RETRY}"
        yield Blocked("bridges", "forget what the host took back by itself", why=why, controls=(REVERTED,))


def _planned(context: Context) -> Iterable[Change]:
    rules, reading = for_now(context), context.survey[Bridges]
    yield from mending(context.which(FILTER), plan_metadata(context))
    if why := "; ".join(_obstacles(context)):
        every = [DECLARED, FILTER, SWITCH, FORWARDING] + [REVERTED] * bool(_tried_in_vain(context))
        yield Blocked("bridges", "make the declared networks", why=why, controls=context.which(*every))
        yield from _mended(context, rules, reading)
        return
    yield from mending(context.which(DECLARED, SWITCH), install_switch(rules, reading))
    yield from mending(context.which(FILTER), _filter(context, rules, reading))
    if context.failing(FORWARDING):
        yield from mending([FORWARDING], plan_forwarding(rules, reading, context.survey[Networks]))
    if context.failing(DECLARED):
        yield from mending([DECLARED], _devices(context, rules, reading))
    if context.failing(SWITCH):
        yield from mending([SWITCH], plan_switches(rules, reading))


def _mended(context: Context, rules: BridgesRules, reading: BridgesReading) -> Iterator[Change]:
    """What is put right whatever stands in the way: where this very policy was made before, its filter, and the ports
    that the kernel keeps apart. Nothing is made or attached for it."""
    if not made_before(rules, reading):
        return
    yield from mending(context.which(FILTER), _filter(context, rules, reading))
    if steps := [move for move in moves(rules, reading, context.survey[Networks]) if move.mends]:
        what, controls = _words(steps, []), context.which(DECLARED)
        yield Command("bridges", what, script=_script(steps), undo=_undo(steps, ":"), controls=controls)


def _obstacles(context: Context) -> Iterator[str]:
    rules, reading, networks = context.policy[BridgesRules], context.survey[Bridges], context.survey[Networks]
    yield from conflicts(rules, reading, networks, context.survey[Docker])
    if wants_filter(rules) and (why := nft.lacking(filter_text(rules), context.survey)):
        yield why
    if wanted(rules) and manager_of(reading, networks) is None:
        found = _list(known(networks.managers)) or "none"
        yield f"neither systemd-networkd nor ifupdown nor NetworkManager runs here to make them last (found: {found})"
    if (family := context.survey[System].family) != "debian" and lacks_switch(rules, reading):
        yield f"Open vSwitch comes with none of {family}'s own repositories: install and start it, then run again"
    if why := _tried_in_vain(context):
        yield why
    if (parted := list(_parted(rules, reading))) and not context.accepts(ACCEPT):
        yield (
            f"these are on the bridges now and could no longer reach each other: {'; '.join(parted)}; allow it with "
            f"`--data accept={ACCEPT}` or `accept: [{ACCEPT}]` in the policy"
        )
    if (served := list(_served(rules, reading))) and not context.accepts(SERVICES):
        yield (
            f"these may use services of the host that guarded_engines does not name: {'; '.join(served)}; allow it "
            f"with `--data accept={SERVICES}` or `accept: [{SERVICES}]` in the policy"
        )


def _tried_in_vain(context: Context) -> str:
    reverted = known(context.survey[Bridges].reverted)
    if not reverted or reverted.why == UNDO or context.accepts(RETRY):
        return ""
    return (
        f"run {reverted.run} tried, and the host undid it at {reverted.time} since nobody could reach it any more; "
        f"find out why, then try again with `--data accept={RETRY}`"
    )


def _parted(rules: BridgesRules, reading: BridgesReading) -> Iterator[str]:
    """Those that talk on a bridge of which our filter has never heard."""
    guarded = "".join(known(reading.files.get(path)) or "" for path in (RULES_FILE, SWITCH_FILE))
    bridges = {net.bridge: net.uplink for net in rules.networks.values() if net.isolate != "none"}
    marks = ('ibrname "{}"', "flows {} <<")
    news = {name: uplink for name, uplink in bridges.items() if not any(m.format(name) in guarded for m in marks)}
    prefixes = tuple(p for p in engine_prefixes(rules) if f'ibrname "{p}*"' not in guarded)
    theirs = [device.name for device in known(reading.devices) if device.kind == "bridge"]
    news |= {name: None for name in theirs if name.startswith(prefixes) and name not in bridges}
    for name, uplink in news.items():
        ports = [device for device in reading.ports(name) if device.name != uplink]
        if len(ports) > 1:
            yield _who(name, ports)


def _served(rules: BridgesRules, reading: BridgesReading) -> Iterator[str]:
    """Guests of engines from which our filter has closed nothing yet."""
    text = known(reading.files.get(RULES_FILE)) or ""
    for prefix, engine in guards(rules).items():
        if f'"{prefix}*" goto served-{engine}' not in text:
            yield from _guests(prefix, reading)


def _losing(rules: BridgesRules, reading: BridgesReading) -> Iterator[str]:
    """Guests that reach less of the host's own services than our filter let them until now, or than all."""
    before = chains(known(reading.files.get(RULES_FILE)) or "")
    for prefix, engine in guards(rules).items():
        had, left = before.get(f"served-{engine}"), rules.guarded_engines[engine]
        fewer = had is None or not set(had) <= set(to_host([*SERVED, *left]))
        if fewer and (guests := _list(_guests(prefix, reading))):
            yield f"{guests} reach of the host's own services only {_list([*left, 'names and addresses'])} now"


def _guests(prefix: str, reading: BridgesReading) -> Iterator[str]:
    """Who is on an engine's bridges, by bridge."""
    for device in known(reading.devices):
        if device.kind == "bridge" and device.name.startswith(prefix) and (ports := reading.ports(device.name)):
            yield _who(device.name, ports)


def _who(bridge: str, ports: Iterable[Device]) -> str:
    return f"{bridge}: " + _list(sorted(device.peer or device.name for device in ports))


def _filter(context: Context, rules: BridgesRules, reading: BridgesReading) -> Iterator[Change]:
    """Our own tables first, so that nothing that is made afterwards is open for a moment."""
    before, unit_before = known(reading.files.get(RULES_FILE)), known(reading.files.get(UNIT_FILE))
    if not wants_filter(rules):
        if before is not None:
            yield RemoveFile(
                "bridges", "keep no networks apart any more", path=RULES_FILE, before=before, activate=LOAD
            )
        return
    if not reading.nft:
        yield Install("bridges", "install nft, which keeps networks apart", packages=("nftables",))
    if unit_text() != unit_before:
        yield WriteFile("bridges", f"load the filter at boot ({UNIT})", path=UNIT_FILE, text=unit_text(),
                        before=unit_before, activate=ENABLE)  # fmt: skip
    elif not reading.unit_enabled:
        yield Command("bridges", f"enable {UNIT}", script=ENABLE, undo=f"systemctl -q disable {UNIT}")
    text = filter_text(rules)
    if text != before:
        lost = "; ".join([*_losing(rules, reading), *(losing(context) if rules.metadata else ())])
        yield WriteFile("bridges", _says(rules), path=RULES_FILE, text=text, before=before,
                        validate="nft -c -f {}", activate=LOAD, interrupts=lost)  # fmt: skip
    elif list(moved_rules(reading)):
        yield Command("bridges", f"load {RULES_FILE} again: {'; '.join(moved_rules(reading))}", script=LOAD, undo="")


def _says(rules: BridgesRules) -> str:
    apart = [name for name, net in rules.networks.items() if net.isolate != "none"]
    what = [f"keep apart who is on {_list(apart)}"] if apart else []
    what += [f"let pass between networks only {'; '.join(flows_of(rules)) or 'nothing'}"] if rules.networks else []
    what += [f"keep apart who is on bridges of {_list(rules.isolated_engines)}"] if rules.isolated_engines else []
    what += (
        [f"close the host's own services to guests of {_list(rules.guarded_engines)}"] if rules.guarded_engines else []
    )
    what += ["close the metadata address to all bridges"] if rules.metadata else []
    return f"{', '.join(what)} ({RULES_FILE})"


def _devices(context: Context, rules: BridgesRules, reading: BridgesReading) -> Iterator[Change]:
    networks = context.survey[Networks]
    manager, bridges = manager_of(reading, networks), wanted(rules)
    assert manager is not None or not bridges
    steps = [*moves(rules, reading, networks), *switch_moves(rules, reading, networks)]
    # Undone last of all: when the files are what they were, the manager is to forget ours, and then the devices go.
    yield Command(
        "bridges", _words(steps, bridges), script=_script(steps), undo=_undo(steps, forget_for(manager or "", bridges))
    )
    files = files_of(rules, manager)
    for path, text in files.items():
        if known(reading.files.get(path)) != text:
            yield WriteFile("bridges", f"make it last ({path})", path=path, text=text,
                            before=known(reading.files.get(path)),
                            mode="0600" if path.startswith(NM_FILES) else "0644")  # fmt: skip
    stale = stale_files(rules, reading, manager)
    for path, text in stale.items():
        yield RemoveFile("bridges", f"no longer make what the policy does not name ({path})", path=path, before=text)
    if manager and (bridges or stale):
        yield Command("bridges", f"have {manager} take that up", script=reload_for(manager, bridges), undo="")


def _words(steps: list[Move], bridges: list[WantedBridge]) -> str:
    return (
        f"put right: {'; '.join(step.says for step in steps)}"
        if steps
        else (f"check {_list(bridge.name for bridge in bridges) or 'the bridges'}")
    )


def _script(steps: list[Move]) -> str:
    return "\n".join(f"{{ {step.do}; }} || exit 1" for step in steps) or ":"


def _undo(steps: list[Move], forget: str) -> str:
    """Each step back as far as it goes: what stands on a removed bridge has gone with it."""
    return "\n".join([forget, *(f"{{ {step.undo}; }} 2>/dev/null || :" for step in reversed(steps))])


def unit_text() -> str:
    return templates.text(f"bridges/{UNIT}")


# They run again after an undo, when the file is what it was before: gone, or an older one of ours.
LOAD = f"""if [ -e {RULES_FILE} ]; then systemctl restart {UNIT}; else
  for family in bridge inet; do nft delete table $family {TABLE} 2>/dev/null || :; done; rm -f {LOADED_FILE}
fi"""
# `enable` has systemd read its units anew.
ENABLE = f"""if [ -e {UNIT_FILE} ]; then systemctl -q enable {UNIT}; else
  rm -f /etc/systemd/system/*.wants/{UNIT}; systemctl stop {UNIT} 2>/dev/null; systemctl daemon-reload
fi"""


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
