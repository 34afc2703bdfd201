"""What the host forwards: whether anything stands before it, and how that is put right."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Activate, Blocked, Change, Context, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines import foreign_bridges as bridged
from deploys.engines.docker.daemon import docker_service, loads_br_netfilter, restart_obstacle
from deploys.kernel.sysctl_files import FORWARD
from deploys.networks.isolation import NetworksRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.networks.networks import FORWARD_FILE, Networks, NetworksReading

ACCEPT = "forward-drop"  # accepting it: what this host forwards for others than containers is dropped
BECOMES_DROP = "iptables' FORWARD policy becomes DROP"
ENGINE_CHAINS = frozenset({"DOCKER-USER", "DOCKER-FORWARD", "DOCKER-ISOLATION-STAGE-1"})
# After Docker has written its own rules: containers are never without a way out.
DROP_IN = """\
# Written by hullproof: what no rule lets through is not forwarded. Docker does this itself only where it turns
# forwarding on, and here it is on before Docker starts.
[Service]
ExecStartPost=-/usr/sbin/iptables -w -P FORWARD DROP
"""
# It runs again after an undo, when the file is gone.
SET_POLICY = f"""systemctl daemon-reload || exit 1
if [ -e {FORWARD_FILE} ]; then iptables -w -P FORWARD DROP; else iptables -w -P FORWARD {{was}}; fi"""


def check_forwarding(survey: Survey, policy: Policy) -> Verdict:
    if policy[NetworksRules].guarded_forwarding is None:
        return not_applicable("the policy does not ask for it")
    docker = survey[Docker]
    if not (docker.installed and known(docker.running)):
        return not_applicable("no engine runs that forwards")
    reading = survey[Networks]
    if known(reading.forwarding4) != 1:
        return not_applicable("forwarding is off: nothing passes that would have to be guarded")
    stored = known(survey[Kernel].sysctls.stored(FORWARD))
    lasts = _own_table(reading) or stored is None or known(reading.files.get(FORWARD_FILE)) is not None
    if (how := _guard(reading)) and lasts:
        return passed(f"what is forwarded meets {how}, now and after a boot", True, True, True)
    if how and stored:
        reason = f"FORWARD drops now, but not after the next boot: {stored.file} sets ip_forward, and Docker sets DROP"
        return failed(f"{reason} only where it turns forwarding on itself", True, False, True)
    if _engine_rules(reading):
        reason = "FORWARD accepts what the engine's rules leave over: neighbours reach ports that nobody published"
        return failed(f"{reason} (Docker sets DROP only where it turns forwarding on itself)", True, lasts, False)
    reason = "forwarding is on, but FORWARD accepts everything and the engine's chains are not in it"
    return failed(f"{reason}: was the firewall flushed or reloaded?", True, lasts, False)


def _guard(reading: NetworksReading) -> str:
    """What stands before forwarded packets; "" where nothing does."""
    if _own_table(reading):
        return "Docker's own nftables table"
    rules = known(reading.filter4)
    return "a FORWARD policy of DROP" if rules and rules.policy == "DROP" else ""


def _own_table(reading: NetworksReading) -> bool:
    return isinstance(reading.tables, tuple) and "ip docker-bridges" in reading.tables


def _engine_rules(reading: NetworksReading) -> bool:
    rules = known(reading.filter4)
    return rules is not None and bool(ENGINE_CHAINS & rules.chains())


def guard_forwarding(context: Context) -> Iterator[Change]:
    """Docker's rules back where they are gone, then DROP for what none of them lets through. In this order: the policy
    alone would cut every container off."""
    reading = context.survey[Networks]
    if not _engine_rules(reading):
        again = _rules_again(context)
        yield again
        if isinstance(again, Blocked) or known(reading.filter4) is None:
            return
    what = "drop what no rule lets through FORWARD, as Docker does where it turns forwarding on"
    policy = rules.policy if (rules := known(reading.filter4)) else "ACCEPT"
    # Where it is DROP already and only to last, nobody loses anything.
    others = _others(context, reading) if policy != "DROP" else []
    called = _after_boot(context, reading) if policy != "DROP" else None
    if len(others) > 1 and not context.accepts(ACCEPT):
        why = f"what this host forwards between {', '.join(others)} would stop; allow that with accept={ACCEPT}"
        yield Blocked("networks", what, why=why)
        return
    if called is not None and (why := bridged.obstacle(context, BECOMES_DROP, called=called, drops=True)):
        yield Blocked("networks", what, why=why)
        return
    told = [f"forwarding between {', '.join(others)} ends" if len(others) > 1 else "",
            "" if called is None else bridged.told(context, called=called, drops=True)]  # fmt: skip
    yield WriteFile("networks", f"{what} ({FORWARD_FILE})", path=FORWARD_FILE, text=DROP_IN,
                    interrupts="; ".join(filter(None, told)), before=known(reading.files.get(FORWARD_FILE)),
                    activate=SET_POLICY.format(was=policy))  # fmt: skip


def _after_boot(context: Context, reading: NetworksReading) -> tuple[int, ...]:
    """4 where frames that bridges pass on meet iptables at the latest after the next boot: br_netfilter is loaded then,
    and no file says 0."""
    loaded = known(reading.br_netfilter) or known(reading.modules_load) or loads_br_netfilter(context.survey[Docker])
    stored = known(context.survey[Kernel].sysctls.stored(f"{bridged.SWITCH}iptables"))
    return (4,) if loaded and not (stored and stored.value == "0") else ()


def _rules_again(context: Context) -> Change:
    what = "have Docker write its firewall rules again"
    if why := restart_obstacle(context, {}):
        return Blocked("networks", what, why=why)
    service = docker_service(context)
    return Activate("networks", what, interrupts=service.interrupts, service=service)


def _others(context: Context, reading: NetworksReading) -> list[str]:
    """Devices with an address that are not the engine's: with two of them, the host may be somebody's router."""
    engines = {network.bridge for network in known(context.survey[Docker].networks)} | {"lo", "docker_gwbridge"}
    return sorted(set(known(reading.addresses)) - engines)
