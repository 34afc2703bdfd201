"""Forwarding: the host forwards only what a firewall rule accepts, and how that is restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploys.core.change import Blocked, Change, Context, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines import foreign_bridges as bridged
from deploys.engines.protocol import NetworkEngine
from deploys.kernel.sysctl_files import FORWARD
from deploys.networks.isolation import NetworksRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.shapes import known_networks
from facts.kernel.kernel import Kernel
from facts.networks.networks import FORWARD_FILE, Networks, NetworksReading

ACCEPT = "forward-drop"  # accepting it: what this host forwards for others than containers is dropped
BECOMES_DROP = "iptables' FORWARD policy becomes DROP"
ENGINE_CHAINS = frozenset({"DOCKER-USER", "DOCKER-FORWARD", "DOCKER-ISOLATION-STAGE-1"})
WANTED = "the policy wants it to be DROP (networks.guarded_forwarding)"
ONLY_IF_OFF = "Docker sets it only if ip_forward was 0 when Docker started"
# After Docker has written its own rules, so that containers can always reach the network.
DROP_IN = """\
# Written by hullproof: what no rule accepts is not forwarded. Docker sets this policy only if ip_forward was 0 when
# Docker started, and on this host it is 1 before.
[Service]
ExecStartPost=-/usr/sbin/iptables -w -P FORWARD DROP
"""
# It runs again after an undo, when the file is gone.
SET_POLICY = f"""systemctl daemon-reload || exit 1
if [ -e {FORWARD_FILE} ]; then iptables -w -P FORWARD DROP; else iptables -w -P FORWARD {{was}}; fi"""


def check_forwarding(survey: Survey, policy: Policy) -> Verdict:
    if policy[NetworksRules].guarded_forwarding is None:
        return not_applicable("the policy does not declare networks.guarded_forwarding")
    engines = present.engines(survey)
    if not any(engine.installed and known(engine.running) for engine in engines):
        down = "; ".join(f"{engine.name} is not running" for engine in engines)
        return not_applicable(f"{down}, and of no other engine is this asked")
    reading = survey[Networks]
    if known(reading.forwarding4) != 1:
        return not_applicable("forwarding is off (net.ipv4.ip_forward)")
    stored = known(survey[Kernel].sysctls.stored(FORWARD))
    lasts = _own_table(reading) or stored is None or known(reading.files.get(FORWARD_FILE)) is not None
    guard = _guard(reading)
    if guard and lasts:
        reason = f"forwarded packets have to pass {guard}, now and after a boot"
        return passed(reason, declared=True, disk=True, live=True)
    if guard and stored:
        reason = (
            f"FORWARD policy is DROP now, but {stored.file} sets ip_forward for the next boot, and then nothing sets "
        )
        return failed(f"{reason}DROP ({ONLY_IF_OFF}); {WANTED}", declared=True, disk=False, live=True)
    if _engine_rules(reading):
        reason = "FORWARD policy is ACCEPT: machines on the same network can reach unpublished container ports"
        return failed(f"{reason}; {WANTED}, but {ONLY_IF_OFF}", declared=True, disk=lasts, live=False)
    reason = "FORWARD policy is ACCEPT and the container engine's chains are missing from it: everything is forwarded"
    return failed(f"{reason} (was the firewall flushed or reloaded?); {WANTED}", declared=True, disk=lasts, live=False)


def _guard(reading: NetworksReading) -> str:
    """What restricts forwarded packets; "" for nothing."""
    if _own_table(reading):
        return "Docker's own nftables table"
    rules = known(reading.filter4)
    return "a FORWARD policy of DROP" if rules and rules.policy == "DROP" else ""


def _own_table(reading: NetworksReading) -> bool:
    return isinstance(reading.tables, tuple) and "ip docker-bridges" in reading.tables


def _engine_rules(reading: NetworksReading) -> bool:
    rules = known(reading.filter4)
    return rules is not None and bool(ENGINE_CHAINS & rules.chains())


# ------------------------------------------------------------------------------------------------ remediation


def guard_forwarding(engines: Sequence[NetworkEngine], context: Context) -> Iterator[Change]:
    """The engines' rules first, where they are missing, then the policy: DROP alone would cut off every container."""
    reading = context.survey[Networks]
    if not _engine_rules(reading):
        running = [engine for engine in engines if engine.reading(context.survey).running is True]
        restored = [engine.write_rules_again(context, "networks") for engine in running]
        yield from restored
        written = restored and not any(isinstance(change, Blocked) for change in restored)
        if not written or known(reading.filter4) is None:
            return
    yield _set_policy(context, reading)


def _set_policy(context: Context, reading: NetworksReading) -> Change:
    what = "set iptables' FORWARD policy to DROP, now and whenever Docker starts"
    policy = rules.policy if (rules := known(reading.filter4)) else "ACCEPT"
    # Where it is DROP already and only has to be restored at boot, nothing is cut off.
    others = _others(context, reading) if policy != "DROP" else []
    called = _after_boot(context, reading) if policy != "DROP" else None
    if len(others) > 1 and not context.accepts(ACCEPT):
        why = f"this host would no longer forward between {', '.join(others)}"
        return Blocked("networks", what, why=why, accepts=(ACCEPT,))
    if called is not None and (obstacle := bridged.obstacle(context, BECOMES_DROP, called=called, drops=True)):
        return obstacle.block("networks", what)
    interrupts = [f"stops forwarding between {', '.join(others)}" if len(others) > 1 else ""]
    interrupts += [bridged.cut_off(context, called=called, drops=True)] if called is not None else []
    return WriteFile(
        "networks",
        f"{what} ({FORWARD_FILE})",
        path=FORWARD_FILE,
        text=DROP_IN,
        interrupts="; ".join(filter(None, interrupts)),
        before=known(reading.files.get(FORWARD_FILE)),
        activate=SET_POLICY.format(was=policy),
    )


def _after_boot(context: Context, reading: NetworksReading) -> tuple[int, ...]:
    """4 where bridged frames pass through iptables at the latest after the next boot: br_netfilter is loaded then, and
    no file sets the sysctl to 0."""
    by_engine = any(engine.installed and engine.loads_br_netfilter for engine in present.engines(context.survey))
    loaded = known(reading.br_netfilter) or known(reading.modules_load) or by_engine
    stored = known(context.survey[Kernel].sysctls.stored(f"{bridged.SWITCH}iptables"))
    return (4,) if loaded and not (stored and stored.value == "0") else ()


def _others(context: Context, reading: NetworksReading) -> list[str]:
    """Devices with an address that are not an engine's: with two of them, the host may be a router."""
    networks = known_networks(present.engines(context.survey))
    engines = {network.bridge for network in networks} | {"lo", "docker_gwbridge"}
    return sorted(set(known(reading.addresses)) - engines)
