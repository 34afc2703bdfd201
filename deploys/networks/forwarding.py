"""Forwarding: the host forwards only what a firewall rule accepts, and how that is restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

from deploys.core.change import Blocked, Change, Context, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines import foreign_bridges as bridged
from deploys.engines.protocol import NetworkEngine
from deploys.kernel.sysctl_files import FORWARD
from deploys.networks.isolation import NetworksRules
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.shapes import known_networks
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import Setting
from facts.networks.forward import Filter
from facts.networks.networks import FORWARD_FILE, Networks, NetworksReading

ACCEPT = "forward-drop"  # accepting it: what this host forwards for others than containers is dropped
ENGINE_CHAINS = frozenset({"DOCKER-USER", "DOCKER-FORWARD", "DOCKER-ISOLATION-STAGE-1"})
WANTED = "the policy wants it to be DROP (networks.guarded_forwarding)"
ONLY_IF_OFF = "Docker sets it only if {key} was 0 when Docker started"
HEAD = """\
# Written by hullproof: what no rule accepts is not forwarded. Docker sets this policy only if ip_forward was 0 when
# Docker started, and on this host it is 1 before.
[Service]
"""


@dataclass(frozen=True)
class Family:
    """IPv4 or IPv6, as far as a host forwards it."""

    number: int  # 4 or 6
    tool: str
    key: str  # the sysctl that turns forwarding on
    own_table: str  # Docker's, where it writes nftables rules instead of iptables'

    @property
    def ip(self) -> str:
        return f"IPv{self.number}"

    @property
    def policy(self) -> str:
        return "FORWARD policy" if self.number == 4 else f"{self.tool}' FORWARD policy"

    def on(self, reading: NetworksReading) -> bool:
        return known(reading.forwarding4 if self.number == 4 else reading.forwarding6) == 1

    def filter(self, reading: NetworksReading) -> Filter | Unknown | None:
        return reading.filter4 if self.number == 4 else reading.filter6

    def own(self, reading: NetworksReading) -> bool:
        return isinstance(reading.tables, tuple) and self.own_table in reading.tables

    def policy_now(self, reading: NetworksReading) -> str:
        return rules.policy if (rules := known(self.filter(reading))) else "ACCEPT"

    def guard(self, reading: NetworksReading) -> str:
        """What restricts forwarded packets; "" for nothing."""
        if self.own(reading):
            return "Docker's own nftables table"
        return "a FORWARD policy of DROP" if self.policy_now(reading) == "DROP" else ""

    def engine_rules(self, reading: NetworksReading) -> bool:
        rules = known(self.filter(reading))
        return rules is not None and bool(ENGINE_CHAINS & rules.chains())

    def routes(self, address: str) -> bool:
        """Whether it is an address of the family, and not only of its link."""
        found = ip_interface(address)
        return found.version == self.number and not found.is_link_local

    @property
    def command(self) -> str:
        return f"{self.tool} -w -P FORWARD"


IPV4 = Family(4, "iptables", FORWARD, "ip docker-bridges")
IPV6 = Family(6, "ip6tables", "net.ipv6.conf.all.forwarding", "ip6 docker-bridges")
FAMILIES = (IPV4, IPV6)


def forwarded(reading: NetworksReading) -> list[Family]:
    return [family for family in FAMILIES if family.on(reading)]


def check_forwarding(survey: Survey, policy: Policy) -> Verdict:
    if policy[NetworksRules].guarded_forwarding is None:
        return not_applicable("the policy does not declare networks.guarded_forwarding")
    engines = present.engines(survey)
    if not any(engine.installed and known(engine.running) for engine in engines):
        down = "; ".join(f"{engine.name} is not running" for engine in engines)
        return not_applicable(f"{down}, and of no other engine is this asked")
    reading = survey[Networks]
    families = forwarded(reading)
    if not families:
        return not_applicable(f"forwarding is off ({', '.join(family.key for family in FAMILIES)})")
    guards = {family.ip: family.guard(reading) for family in families}
    disk = all(_lasts(family, survey) for family in families)
    if faults := [why for family in families if (why := _fault(family, survey))]:
        reason = "; ".join([*faults, WANTED])
        return failed(reason, declared=True, disk=disk, live=all(guards.values()))
    passing = " and ".join(f"{ip} packets have to pass {guard}" for ip, guard in guards.items())
    return passed(f"forwarded {passing}, now and after a boot", declared=True, disk=True, live=True)


def _lasts(family: Family, survey: Survey) -> bool:
    """Whether DROP is restored at boot, if it is in force now."""
    reading = survey[Networks]
    kept = family.command in (known(reading.files.get(FORWARD_FILE)) or "")
    return family.own(reading) or kept or _stored(family, survey) is None


def _stored(family: Family, survey: Survey) -> Setting | None:
    """What turns forwarding on before Docker starts; None where Docker does."""
    stored = known(survey[Kernel].sysctls.stored(family.key))
    return None if family is IPV6 and stored and stored.value == "0" else stored


def _fault(family: Family, survey: Survey) -> str:
    """How the host forwards more packets of the family than its rules accept, now or after a boot; "" where not."""
    reading = survey[Networks]
    only_if_off = ONLY_IF_OFF.format(key=family.key)
    if family.guard(reading):
        stored = _stored(family, survey)
        if _lasts(family, survey) or not stored:
            return ""
        return (
            f"{family.policy} is DROP now, but {stored.file} sets {family.key} for the next boot, and then nothing "
            f"sets DROP ({only_if_off})"
        )
    opened = f"{family.policy} is ACCEPT"
    if family.engine_rules(reading):
        reached = "machines on the same network can reach unpublished container ports"
        return f"{opened}: {reached} ({only_if_off})"
    if family is IPV6:
        return f"{opened}: the host forwards IPv6 packets of every machine that can reach it"
    reason = f"{opened} and the container engine's chains are missing from it: everything is forwarded"
    return f"{reason} (was the firewall flushed or reloaded?)"


# ------------------------------------------------------------------------------------------------ remediation


def guard_forwarding(engines: Sequence[NetworkEngine], context: Context) -> Iterator[Change]:
    """The engines' rules first, where they are missing, then the policy: DROP alone would cut off every container."""
    reading = context.survey[Networks]
    if IPV4.on(reading) and not IPV4.own(reading) and not IPV4.engine_rules(reading):
        running = [engine for engine in engines if engine.reading(context.survey).running is True]
        restored = [engine.write_rules_again(context, "networks") for engine in running]
        yield from restored
        written = restored and not any(isinstance(change, Blocked) for change in restored)
        if not written or known(reading.filter4) is None:
            return
    families = [family for family in forwarded(reading) if not family.own(reading)]
    if lacking := [family.tool for family in families if known(family.filter(reading)) is None]:
        why = f"{' and '.join(lacking)} is not installed"
        yield Blocked("networks", "set the FORWARD policy to DROP", why=why)
        return
    yield _set_policy(context, reading, families)


def _set_policy(context: Context, reading: NetworksReading, families: Sequence[Family]) -> Change:
    tools = " and ".join(f"{family.tool}'" for family in families)
    what = f"set {tools} FORWARD policy to DROP, now and whenever Docker starts"
    # Where it is DROP already and only has to be restored at boot, nothing is cut off.
    closed = [family for family in families if family.policy_now(reading) != "DROP"]
    stops = [why for family in closed if (why := _stops(family, context))]
    if stops and not context.accepts(ACCEPT):
        return Blocked("networks", what, why=f"this host would no longer forward {'; '.join(stops)}", accepts=(ACCEPT,))
    drops = tuple(family.number for family in closed)
    called = tuple(family.number for family in closed if _called(family, context))
    cause = f"{' and '.join(family.tool for family in closed)}' FORWARD policy becomes DROP"
    if closed and (obstacle := bridged.obstacle(context, cause, called=called, drops=drops)):
        return obstacle.block("networks", what)
    interrupts = [f"stops forwarding {'; '.join(stops)}" if stops else ""]
    interrupts += [bridged.cut_off(context, called=called, drops=drops)] if closed else []
    return WriteFile(
        "networks",
        f"{what} ({FORWARD_FILE})",
        path=FORWARD_FILE,
        text=drop_in(families),
        interrupts="; ".join(filter(None, interrupts)),
        before=known(reading.files.get(FORWARD_FILE)),
        activate=_activate(reading, families),
    )


def drop_in(families: Sequence[Family]) -> str:
    """After Docker has written its own rules, so that containers can always reach the network."""
    return HEAD + "".join(f"ExecStartPost=-/usr/sbin/{family.command} DROP\n" for family in families)


def _activate(reading: NetworksReading, families: Sequence[Family]) -> str:
    """It runs again after an undo, when the file is gone or what it was before."""
    rows = (
        f"if grep -qs '{family.command}' {FORWARD_FILE}; then {family.command} DROP; "
        f"else {family.command} {family.policy_now(reading)}; fi"
        for family in families
    )
    return "\n".join(["systemctl daemon-reload || exit 1", *(f"{{ {row}; }} || exit 1" for row in rows)])


def _called(family: Family, context: Context) -> bool:
    """Whether bridged frames pass through iptables at the latest after the next boot: br_netfilter is loaded then, and
    no file sets the sysctl to 0."""
    reading = context.survey[Networks]
    by_engine = any(engine.installed and engine.loads_br_netfilter for engine in present.engines(context.survey))
    loaded = known(reading.br_netfilter) or known(reading.modules_load) or by_engine
    stored = known(context.survey[Kernel].sysctls.stored(f"{bridged.SWITCH}{family.tool}"))
    return bool(loaded) and not (stored and stored.value == "0")


def _stops(family: Family, context: Context) -> str:
    """Between whom forwarding ends that may be wanted: with two addresses of its own the host may be a router, and of a
    family for which the engine writes no rules, containers are cut off; "" for nobody."""
    reading, networks = context.survey[Networks], known_networks(present.engines(context.survey))
    engines = {network.bridge for network in networks} | {"lo", "docker_gwbridge"}
    found = known(reading.addresses).items()
    others = sorted(name for name, rows in found if name not in engines and any(map(family.routes, rows)))
    stopped = [f"between {', '.join(others)}"] if len(others) > 1 else []
    six = [each.name for each in networks if not each.internal and any(":" in subnet for subnet in each.subnets)]
    if family is IPV6 and six and not family.engine_rules(reading):
        stopped.append(f"IPv6 of network {', '.join(six)}, for which Docker has written no rules of {family.tool}")
    return "; ".join(stopped)
