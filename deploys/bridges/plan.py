"""Bridges: the changes that make a host's bridges as declared, and why they are blocked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from deploys.bridges.conflicts import conflicts
from deploys.bridges.devices import Difference, differences
from deploys.bridges.firewalls.forwarding import plan_forwarding
from deploys.bridges.managers.files import forget_for, reload_for
from deploys.bridges.metadata import WHAT as CLOSE_METADATA
from deploys.bridges.metadata import for_now, losing, plan_metadata
from deploys.bridges.nft_filter import SERVED
from deploys.bridges.openvswitch.switches import install_switch, lacks_switch, plan_switches, switch_differences
from deploys.bridges.rules import BridgesRules, engine_prefixes, guards
from deploys.bridges.view import BridgesView, bridges_view
from deploys.core import templates
from deploys.core.boot_units import plan_units
from deploys.core.change import (
    Blocked,
    Change,
    Command,
    Context,
    Install,
    Obstacle,
    RemoveFile,
    WriteFile,
    mending,
    unit_script,
)
from deploys.core.same_text import same_text
from deploys.networks import nft
from deploys.networks.isolation import SERVICES, to_host
from facts.core.reading import known
from facts.core.reverted import UNDO
from facts.core.system import System
from facts.networks.bridges import (
    LOADED_FILE,
    NM_FILES,
    REVERTED_FILE,
    RULES_FILE,
    TABLE,
    UNIT,
    UNIT_FILE,
    Bridges,
    Device,
)
from facts.networks.nft import dormant
from facts.networks.openvswitch import SWITCH_UNIT

DECLARED, FILTER, SWITCH, FORWARDING = "bridges.declared", "bridges.filter", "bridges.switch", "bridges.forwarding"
REVERTED = "bridges.reverted"
ACCEPT = "network-isolation"
RETRY = "reverted-network"


def made_before(view: BridgesView) -> bool:
    """Whether these very rules were enforced here before, whatever has changed since."""
    there = view.file(RULES_FILE)
    return same_text(there, view.filter_text) or same_text(there, view.without_metadata.filter_text)


def flows_of(rules: BridgesRules) -> list[str]:
    return [f"{flow.from_} -> {flow.to}: {flow}" for flow in rules.allow]


def changed_rules(view: BridgesView) -> list[str]:
    """What has changed in hullproof's tables since its unit loaded them."""
    if view.file(RULES_FILE) is None:
        return []
    listed, loaded = known(view.reading.listed), known(view.reading.loaded)
    if not listed:
        return ["hullproof's tables are missing from the kernel (was the rule set flushed?)"]
    if loaded is None:
        return [f"{UNIT} has not loaded the tables that are in the kernel"]
    asleep = dormant("\n".join(listed))
    found = [f"hullproof's table {family} {TABLE} is dormant, so none of its rules applies" for family in asleep]
    return found or list(_changed(loaded, listed))


def _changed(loaded: tuple[str, ...], listed: tuple[str, ...]) -> Iterator[str]:
    was, now = _by_chain(loaded), _by_chain(listed)
    for place in dict.fromkeys([*was, *now]):
        before, after = was.get(place, []), now.get(place, [])
        added, gone = Counter(after) - Counter(before), Counter(before) - Counter(after)
        yield from (f"a rule was added to hullproof's {place[1]}: {text}" for text in added.elements())
        yield from (f"a rule is missing from hullproof's {place[1]}: {text}" for text in gone.elements())
        if not added and not gone and before != after:
            yield f"the rules of hullproof's {place[1]} are in a different order"


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
    """All of it is commit-confirmed: the host reverts a network change that cuts the connection. Installations are not:
    they take too long."""
    yield from plan_units(context, "bridges", UNIT, controls=(FILTER,))
    yield from plan_units(context, "bridges", SWITCH_UNIT, controls=(SWITCH,))
    again = context.accepts(RETRY)
    changes = list(_planned(context)) if context.failing(DECLARED, FILTER, SWITCH, FORWARDING) else []
    for change in changes:
        # The confirmation of such a change deletes the record of the earlier one that the host reverted.
        controls = (*change.controls, *context.which(REVERTED)) if again else change.controls
        yield replace(change, commit_confirmed=not isinstance(change, (Blocked, Install)), controls=controls)
    if again and not changes and (reverted := known(context.survey[Bridges].reverted)):
        # Nothing is left to be retried, so no confirmation deletes the record.
        what = f"delete the record of the change of run {reverted.run} that the host reverted"
        yield Command("bridges", what, script=f"rm -f {REVERTED_FILE}", undo="", controls=(REVERTED,))
    if context.failing(REVERTED) and not again and not any(REVERTED in change.controls for change in changes):
        reverted = known(context.survey[Bridges].reverted)
        yield Blocked(
            "bridges",
            "delete the record of the change that the host reverted",
            why="the host could not be reached after that change: find out why first",
            by_hand="roll back again" if reverted and reverted.why == UNDO else "",
            accepts=(RETRY,),
            controls=(REVERTED,),
        )


def _planned(context: Context) -> Iterable[Change]:
    view = for_now(context)
    yield from mending(context.which(FILTER), plan_metadata(context))
    if obstacles := list(_obstacles(context)):
        every = [DECLARED, FILTER, SWITCH, FORWARDING] + [REVERTED] * bool(_tried_in_vain(context))
        yield Blocked(
            "bridges",
            "make the declared networks",
            why="; ".join(each.why for each in obstacles),
            accepts=tuple(name for each in obstacles for name in each.accepts),
            controls=context.which(*every),
        )
        yield from _restored(context, view)
        return
    yield from mending(context.which(DECLARED, SWITCH), install_switch(view))
    yield from mending(context.which(FILTER), _filter(view))
    if context.failing(FORWARDING):
        yield from mending([FORWARDING], plan_forwarding(view))
    if context.failing(DECLARED):
        yield from mending([DECLARED], _devices(view))
    if context.failing(SWITCH):
        yield from mending([SWITCH], plan_switches(view))


def _restored(context: Context, view: BridgesView) -> Iterator[Change]:
    """What no obstacle prevents where this very policy was enforced before: its filter is loaded, and the kernel's
    isolation set again. Nothing is created or attached."""
    if not made_before(view):
        return
    yield from mending(context.which(FILTER), _filter(view))
    if steps := [each for each in differences(view) if each.restores]:
        yield Command(
            "bridges",
            _actions(steps),
            script=_script(steps),
            undo=_undo(steps, ":"),
            controls=context.which(DECLARED),
        )


# ------------------------------------------------------------------------------------------------ obstacles


def _obstacles(context: Context) -> Iterator[Obstacle]:
    view = bridges_view(context.survey, context.policy)
    yield from (Obstacle(why=why) for why in (*conflicts(view), *_lacking(context, view)))
    if obstacle := _tried_in_vain(context):
        yield obstacle
    if (parted := list(_parted(view))) and not context.accepts(ACCEPT):
        why = f"ports on these bridges would no longer reach each other: {'; '.join(parted)}"
        yield Obstacle(why=why, accepts=(ACCEPT,))
    if (served := list(_served(view))) and not context.accepts(SERVICES):
        why = "these guests may use services of the host that bridges.guarded_engines does not name"
        yield Obstacle(why=f"{why}: {'; '.join(served)}", accepts=(SERVICES,))


def _lacking(context: Context, view: BridgesView) -> Iterator[str]:
    """What the host lacks to make the networks."""
    if view.wants_filter and (why := nft.lacking(view.filter_text, context.survey)):
        yield why
    if view.wanted and view.manager is None:
        found = _list(known(view.networks.managers)) or "none"
        yield (
            "systemd-networkd, ifupdown or NetworkManager has to run on the host, to make the bridges again at boot "
            f"(running: {found})"
        )
    if (family := context.survey[System].family) != "debian" and lacks_switch(view):
        yield f"the package repositories of {family} do not have Open vSwitch: install and start it, then run again"


def _tried_in_vain(context: Context) -> Obstacle | None:
    reverted = known(context.survey[Bridges].reverted)
    if not reverted or reverted.why == UNDO or context.accepts(RETRY):
        return None
    why = (
        f"run {reverted.run} already tried, and the host reverted it at {reverted.time} because it could not be "
        "reached any more: find out why first"
    )
    return Obstacle(why=why, accepts=(RETRY,))


def _parted(view: BridgesView) -> Iterator[str]:
    """Who talks on a bridge that hullproof's filter does not cover yet."""
    filtered = view.reading.filter_on_disk().bridges
    bridges = {net.bridge: net.uplink for net in view.rules.networks.values() if net.isolate != "none"}
    new = {name: uplink for name, uplink in bridges.items() if name not in filtered}
    prefixes = tuple(prefix for prefix in engine_prefixes(view.rules) if f"{prefix}*" not in filtered)
    found = [device.name for device in known(view.reading.devices) if device.kind == "bridge"]
    new |= {name: None for name in found if name.startswith(prefixes) and name not in bridges}
    for name, uplink in new.items():
        ports = [device for device in view.reading.ports(name) if device.name != uplink]
        if len(ports) > 1:
            yield _who(name, ports)


def _served(view: BridgesView) -> Iterator[str]:
    """Guests of engines to which hullproof's filter has not closed the host's services yet."""
    filtered = view.reading.filter_on_disk().guests
    for prefix, engine in guards(view.rules).items():
        if (f"{prefix}*", engine) not in filtered:
            yield from _guests(prefix, view)


def _losing(view: BridgesView) -> Iterator[str]:
    """Guests that reach fewer of the host's services than before."""
    before = view.reading.filter_on_disk().served
    for prefix, engine in guards(view.rules).items():
        had, left = before.get(engine), view.rules.guarded_engines[engine]
        fewer = had is None or not set(had) <= set(to_host([*SERVED, *left]))
        if fewer and (guests := _list(_guests(prefix, view))):
            yield f"of the host's services {guests} then reach only {_list([*left, 'DNS and DHCP'])}"


def _guests(prefix: str, view: BridgesView) -> Iterator[str]:
    """Who is on an engine's bridges, by bridge."""
    for device in known(view.reading.devices):
        if device.kind == "bridge" and device.name.startswith(prefix) and (ports := view.reading.ports(device.name)):
            yield _who(device.name, ports)


def _who(bridge: str, ports: Iterable[Device]) -> str:
    return f"{bridge} ({_list(sorted(device.peer or device.name for device in ports))})"


# ------------------------------------------------------------------------------------------------ the filter


def _filter(view: BridgesView) -> Iterator[Change]:
    """hullproof's tables come first, so that a new bridge is never unfiltered."""
    before = view.file(RULES_FILE)
    if not view.wants_filter:
        if before is not None:
            what = f"stop filtering traffic on bridges ({RULES_FILE})"
            yield RemoveFile("bridges", what, path=RULES_FILE, before=before, activate=LOAD)
        return
    if not view.reading.nft:
        yield Install("bridges", "install nft, which loads the filter of the bridges", packages=("nftables",))
    yield from _unit(view)
    if not same_text(before, view.filter_text):
        yield WriteFile(
            "bridges",
            _says(view.rules),
            path=RULES_FILE,
            text=view.filter_text,
            before=before,
            validate="nft -c -f {}",
            activate=LOAD,
            interrupts="; ".join([*_losing(view), *losing(view)]),
        )
    elif changed := changed_rules(view):
        yield Command("bridges", f"load {RULES_FILE} again, because {'; '.join(changed)}", script=LOAD, undo="")


def _unit(view: BridgesView) -> Iterator[Change]:
    before = view.file(UNIT_FILE)
    if not same_text(before, unit_text()):
        what = f"load the filter at boot ({UNIT})"
        yield WriteFile("bridges", what, path=UNIT_FILE, text=unit_text(), before=before, activate=ENABLE)
    elif not view.reading.unit_enabled:
        yield Command("bridges", f"enable {UNIT}", script=ENABLE, undo=f"systemctl -q disable {UNIT}")


def _says(rules: BridgesRules) -> str:
    apart = [name for name, net in rules.networks.items() if net.isolate != "none"]
    what = [f"isolate the ports of {_list(apart)}"] if apart else []
    what += [f"allow between networks only {'; '.join(flows_of(rules)) or 'nothing'}"] if rules.networks else []
    what += [f"isolate guests on the bridges of {_list(rules.isolated_engines)}"] if rules.isolated_engines else []
    guarded = rules.guarded_engines
    what += [f"close the host's own services to guests of {_list(guarded)}"] if guarded else []
    what += [CLOSE_METADATA] if rules.metadata else []
    return f"{', '.join(what)} ({RULES_FILE})"


# ------------------------------------------------------------------------------------------------ the devices


def _devices(view: BridgesView) -> Iterator[Change]:
    manager = view.manager
    assert manager is not None or not view.wanted
    steps = [*differences(view), *switch_differences(view)]
    # Undone last of all: the manager reads its old files first, and then the devices are removed.
    yield Command(
        "bridges",
        _actions(steps) or f"check {_list(bridge.name for bridge in view.wanted) or 'the bridges'}",
        script=_script(steps),
        undo=_undo(steps, forget_for(manager or "", view.wanted)),
    )
    for path, text in view.files.items():
        before = view.file(path)
        if not same_text(before, text):
            mode = "0600" if path.startswith(NM_FILES) else "0644"
            what = f"make the declared networks at boot with {manager} ({path})"
            yield WriteFile("bridges", what, path=path, text=text, before=before, mode=mode)
    for path, text in view.stale_files.items():
        what = f"remove {path}, which the policy no longer needs"
        yield RemoveFile("bridges", what, path=path, before=text)
    if manager and (view.wanted or view.stale_files):
        what = f"make {manager} read its files"
        yield Command("bridges", what, script=reload_for(manager, view.wanted), undo="")


def _actions(steps: list[Difference]) -> str:
    return "; ".join(step.action for step in steps)


def _script(steps: list[Difference]) -> str:
    return "\n".join(f"{{ {step.script}; }} || exit 1" for step in steps) or ":"


def _undo(steps: list[Difference], forget: str) -> str:
    """Each step as far as it can be undone: whatever was on a removed bridge is gone with it."""
    return "\n".join([forget, *(f"{{ {step.undo}; }} 2>/dev/null || :" for step in reversed(steps))])


def unit_text() -> str:
    return templates.text(f"bridges/{UNIT}")


# Both run again after an undo, when the file is what it was before: missing, or an older one of hullproof's.
LOAD = f"""if [ -e {RULES_FILE} ]; then systemctl restart {UNIT}; else
  for family in bridge inet; do nft delete table $family {TABLE} 2>/dev/null || :; done; rm -f {LOADED_FILE}
fi"""
ENABLE = unit_script(UNIT_FILE, gone=f"systemctl stop {UNIT} 2>/dev/null; systemctl daemon-reload")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
