"""The sysctls that pass bridged frames through iptables, and what that does to bridges that are no engine's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploys.core.boot_units import plan_units, standing_on
from deploys.core.change import Blocked, Change, Command, Context, RemoveFile, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.same_text import same_text
from deploys.engines import foreign_bridges as bridged
from deploys.engines.protocol import NetworkEngine
from deploys.networks.isolation import NetworksRules, none_installed, uncovered
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.units import MODULES as MODULES_LOAD
from facts.core.units import SYSCTL
from facts.engines import present
from facts.engines.shapes import EngineReading
from facts.kernel.kernel import Kernel
from facts.networks.networks import MODULES_FILE, SYSCTL_FILE, Networks, NetworksReading

NF_CALL_KEYS = tuple(f"{bridged.SWITCH}{tool}" for tool in bridged.FAMILIES.values())
HEAD = "# Written by hullproof: bridged frames pass through iptables."
SWITCHES = "\n".join([HEAD, *(f"{key} = 1" for key in NF_CALL_KEYS), ""])
MODULES = f"{HEAD}\nbr_netfilter\n"
CALL = "pass bridged frames through iptables and ip6tables"
# Applies what other files set, once hullproof's is gone, and again when an undo has restored it.
READ_AGAIN = "/usr/lib/systemd/systemd-sysctl --prefix=/net/bridge || :"


@standing_on(MODULES_LOAD, SYSCTL, so="so a boot does not load br_netfilter and set its sysctls")
def check_br_netfilter(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[NetworksRules]
    if not rules.br_netfilter:
        return not_applicable("the policy does not declare networks.br_netfilter")
    reading, sysctls = survey[Networks], survey[Kernel].sysctls
    if why := _needless(rules, present.engines(survey)):
        left = ", ".join(_left(reading))
        return (
            failed(f"{why}; left from an earlier run: {left}", declared=None, disk=True)
            if left
            else not_applicable(why)
        )
    stored = [(key, setting) for key in NF_CALL_KEYS if (setting := known(sysctls.stored(key)))]
    against = [f"{setting.file} sets {key}=0" for key, setting in stored if setting.value == "0"]
    built_in = _built_in(survey)
    blocked = () if built_in else known(reading.modules_blocked)
    loads = built_in or bool(known(reading.modules_load))
    disk = loads and not blocked and not against
    loaded = known(reading.br_netfilter)
    live = loaded and all(known(reading.nf_call.get(name, 0)) == 1 for name in ("iptables", "ip6tables"))
    if live and disk:
        return passed(
            "bridged frames pass through iptables, now and after a reboot", declared=True, disk=disk, live=live
        )
    reasons = [*against, *(f"br_netfilter is blocked by {line}" for line in blocked)]
    reasons += [] if loads else ["no file in modules-load.d loads br_netfilter at boot"]
    if not loaded:
        reasons.append("br_netfilter is not loaded")
    elif not live:
        values = ", ".join(f"bridge-nf-call-{name}={value}" for name, value in reading.nf_call.items())
        reasons.append(f"{values}; the policy wants 1 (networks.br_netfilter)")
    return failed("; ".join(reasons), declared=True, disk=disk, live=live)


def _needless(rules: NetworksRules, engines: Sequence[EngineReading]) -> str:
    """Why nothing depends on bridged frames passing through iptables; "" where something does: an engine is installed,
    and icc is not false, or a network that the policy does not cover was created with enable_icc=false."""
    if why := none_installed(engines):
        return why
    if rules.icc is not False:
        return ""
    if any(network.driver == "bridge" and not network.icc for network in uncovered(rules, engines)):
        return ""
    return "hullproof's own nft table keeps containers apart, and does not need br_netfilter"


def _built_in(survey: Survey) -> bool:
    """Whether the kernel has br_netfilter without a module, which need not be loaded and cannot be blocked."""
    kernel, reading = survey[Kernel], survey[Networks]
    if isinstance(kernel.builtin, tuple) and "br_netfilter" in kernel.builtin:
        return True
    asked = known(reading.br_netfilter) and not known(reading.modules_load)
    return asked and "br_netfilter" not in known(kernel.modules)


def _left(reading: NetworksReading) -> dict[str, str]:
    """hullproof's own files that load br_netfilter and set the sysctls."""
    return {path: text for path in (SYSCTL_FILE, MODULES_FILE) if (text := known(reading.files.get(path))) is not None}


def plan_br_netfilter(context: Context) -> Iterator[Change]:
    reading = context.survey[Networks]
    if _needless(context.policy[NetworksRules], present.engines(context.survey)):
        for path, text in _left(reading).items():
            activate = READ_AGAIN if path == SYSCTL_FILE else ""
            what = f"remove {path}, which the policy no longer needs"
            yield RemoveFile("networks", what, path=path, before=text, activate=activate)
        return
    built_in = _built_in(context.survey)
    yield from plan_units(context, "networks", MODULES_LOAD, SYSCTL, controls=("networks.br-netfilter",))
    if (blocked := known(reading.modules_blocked)) and not built_in:
        why = f"it is blocked by {'; '.join(blocked)}: remove that line, then run again"
        yield Blocked("networks", "load br_netfilter", why=why)
        return
    drops = (4, 6) if context.failing("networks.forwarding") else ()
    cause = "frames within every bridge of the host would pass through iptables"
    if obstacle := bridged.obstacle(context, cause, called=(4, 6), drops=drops):
        yield obstacle.block("networks", CALL)
        return
    yield from _switches(reading, built_in, bridged.cut_off(context, called=(4, 6), drops=drops))


def _switches(reading: NetworksReading, built_in: bool, interrupts: str) -> Iterator[Change]:
    if not known(reading.modules_load) and not built_in:
        before = known(reading.files.get(MODULES_FILE))
        what = f"load br_netfilter at boot ({MODULES_FILE})"
        yield WriteFile("networks", what, path=MODULES_FILE, text=MODULES, before=before)
    if not known(reading.br_netfilter):
        yield Command(
            "networks",
            "load br_netfilter",
            script="modprobe br_netfilter",
            undo="modprobe -r br_netfilter 2>/dev/null || :",
            interrupts=interrupts,
        )
    values = {key: reading.nf_call.get(key.rpartition("-")[2]) for key in NF_CALL_KEYS}
    if wrong := {key: value for key, value in values.items() if value != 1}:
        was = {key: value for key, value in wrong.items() if isinstance(value, int)}
        yield Command(
            "networks",
            CALL,
            script="\n".join(f"sysctl -q -w {key}=1 || exit 1" for key in wrong),
            undo="\n".join(f"sysctl -q -w {key}={value}" for key, value in was.items()),
            interrupts=interrupts,
        )
    before = known(reading.files.get(SYSCTL_FILE))
    if not same_text(before, SWITCHES):
        what = f"{CALL} after each boot ({SYSCTL_FILE})"
        yield WriteFile("networks", what, path=SYSCTL_FILE, text=SWITCHES, before=before)


# ------------------------------------------------------------------------------------------------ guests


def check_bridged_guests(survey: Survey, policy: Policy) -> Verdict:
    """Only where every packet is dropped: a firewall that drops some may be meant to."""
    if policy[NetworksRules].bridged_guests is None:
        return not_applicable("the policy does not declare networks.bridged_guests")
    engines, reading = present.engines(survey), survey[Networks]
    bridges = bridged.carrying(engines, reading)
    if not bridges:
        own = " and ".join(f"{engine.name}'s" for engine in engines)
        return not_applicable(f"no bridge besides {own} has ports that could reach each other")
    names = [bridge.name for bridge in bridges]
    if stopped := bridged.stopped_now(engines, reading):
        dropped = {each.bridge.name for each in stopped}
        reason = (
            f"guests do not reach each other on {' and on '.join(map(str, stopped))} (br_netfilter is loaded, so "
            "bridged frames pass through iptables)"
        )
        live = [name for name in names if name not in dropped]
        return failed(reason, declared=names, disk=None, live=live)
    reason = f"iptables does not drop frames between the ports of {', '.join(names)}"
    return passed(reason, declared=names, disk=None, live=names)


def plan_bridged_guests(engines: Sequence[NetworkEngine], context: Context) -> Iterator[Change]:
    """hullproof owns neither the sysctls nor the firewall's rules, and cannot know who set them."""
    asks = "; ".join(filter(None, (engine.why_called(context) for engine in engines)))
    off = f", or set {' '.join(f'{key}=0' for key in NF_CALL_KEYS)} in /etc/sysctl.d"
    for stopped in bridged.stopped_now(present.engines(context.survey), context.survey[Networks]):
        what = f"let frames pass between the ports of {bridged.ports_of(stopped.bridge)}"
        why = (
            f"hullproof changes neither firewall rules nor sysctls that are not its own: accept the frames, now and at "
            f"boot, with {stopped.remedy}{f' ({asks})' if asks else off}"
        )
        yield Blocked("networks", what, why=why)
