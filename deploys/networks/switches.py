"""Frames within a bridge and iptables: the switches that lead them there, and bridges that are not Docker's."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Blocked, Change, Command, Context, RemoveFile, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines import foreign_bridges as bridged
from deploys.engines.docker.daemon import why_called
from deploys.networks.isolation import NetworksRules, covers
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading
from facts.kernel.kernel import Kernel
from facts.networks.networks import MODULES_FILE, SYSCTL_FILE, Networks, NetworksReading

NF_CALL_KEYS = tuple(f"{bridged.SWITCH}{tool}" for tool in bridged.FAMILIES.values())
SWITCHES = "\n".join(["# Written by hullproof: frames within a bridge meet the firewall.",
                      *(f"{key} = 1" for key in NF_CALL_KEYS), ""])  # fmt: skip
# What other files say of it, once ours is gone, and again when an undo has brought it back.
READ_AGAIN = "/usr/lib/systemd/systemd-sysctl --prefix=/net/bridge || :"


def check_br_netfilter(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[NetworksRules]
    if not rules.br_netfilter:
        return not_applicable("the policy does not ask for it")
    reading, sysctls = survey[Networks], survey[Kernel].sysctls
    if why := _needless(rules, survey[Docker]):
        left = ", ".join(_left(reading))
        return failed(f"{why}; left from an earlier run: {left}", None, True) if left else not_applicable(why)
    stored = [(key, setting) for key in NF_CALL_KEYS if (setting := known(sysctls.stored(key)))]
    against = [f"{setting.file} sets {key}=0" for key, setting in stored if setting.value == "0"]
    disk = bool(known(reading.modules_load)) and not known(reading.modules_blocked) and not against
    loaded = known(reading.br_netfilter)
    live = loaded and all(known(reading.nf_call.get(name, 0)) == 1 for name in ("iptables", "ip6tables"))
    if live and disk:
        return passed("bridged frames meet iptables, now and after a reboot", True, disk, live)
    reasons = [*against, *(f"blocked by {line}" for line in known(reading.modules_blocked))]
    if not known(reading.modules_load):
        reasons.append("nothing in modules-load.d loads br_netfilter at boot")
    if not live:
        values = ", ".join(f"bridge-nf-call-{name}={value}" for name, value in reading.nf_call.items())
        reasons.append(f"live {values} (want 1)" if loaded else "br_netfilter is not loaded")
    return failed("; ".join(reasons), True, disk, live)


def _needless(rules: NetworksRules, docker: DockerReading) -> str:
    """Why nothing here stands on iptables' seeing bridged frames; "" where something does: the policy asks for it
    without icc: false, or a network was made with enable_icc=false that the policy does not cover."""
    if rules.icc is not False:
        return ""
    if not docker.installed:
        return "Docker is not installed"
    networks = known(docker.networks)
    if any(network.driver == "bridge" and not network.icc and not covers(rules, network) for network in networks):
        return ""
    return "hullproof's own table of the bridge family keeps containers apart, and needs no br_netfilter"


def _left(reading: NetworksReading) -> dict[str, str]:
    """Our own files that have it loaded and switched on."""
    return {path: text for path in (SYSCTL_FILE, MODULES_FILE) if (text := known(reading.files.get(path))) is not None}


def plan_br_netfilter(context: Context) -> Iterator[Change]:
    reading = context.survey[Networks]
    if _needless(context.policy[NetworksRules], context.survey[Docker]):
        for path, text in _left(reading).items():
            yield RemoveFile("networks", f"no longer needed: {path}", path=path, before=text,
                             activate=READ_AGAIN if path == SYSCTL_FILE else "")  # fmt: skip
        return
    if blocked := known(reading.modules_blocked):
        yield Blocked("networks", "load br_netfilter", why=f"it is blocked by {'; '.join(blocked)}")
        return
    drops = context.failing("networks.forwarding")
    cause = "frames within every bridge of the host would meet iptables"
    if why := bridged.obstacle(context, cause, called=(4, 6), drops=drops):
        yield Blocked("networks", "have bridged frames meet iptables and ip6tables", why=why)
        return
    yield from _switches(reading, bridged.told(context, called=(4, 6), drops=drops))


def _switches(reading: NetworksReading, cut: str) -> Iterator[Change]:
    if not known(reading.modules_load):
        yield WriteFile("networks", f"load br_netfilter at boot ({MODULES_FILE})", path=MODULES_FILE,
                        text="# Written by hullproof: frames within a bridge meet the firewall.\nbr_netfilter\n",
                        before=known(reading.files.get(MODULES_FILE)))  # fmt: skip
    if not known(reading.br_netfilter):
        yield Command("networks", "load br_netfilter", script="modprobe br_netfilter",
                      undo="modprobe -r br_netfilter 2>/dev/null || :", interrupts=cut)  # fmt: skip
    values = {key: reading.nf_call.get(key.rpartition("-")[2]) for key in NF_CALL_KEYS}
    if wrong := {key: value for key, value in values.items() if value != 1}:
        was = {key: value for key, value in wrong.items() if isinstance(value, int)}
        yield Command("networks", "have bridged frames meet iptables and ip6tables",
                      script="\n".join(f"sysctl -q -w {key}=1 || exit 1" for key in wrong),
                      undo="\n".join(f"sysctl -q -w {key}={value}" for key, value in was.items()),
                      interrupts=cut)  # fmt: skip
    before = known(reading.files.get(SYSCTL_FILE))
    if before != SWITCHES:
        yield WriteFile("networks", f"keep that after a reboot ({SYSCTL_FILE})", path=SYSCTL_FILE, text=SWITCHES,
                        before=before)  # fmt: skip


# ------------------------------------------------------------------------------------------------ guests


def check_bridged_guests(survey: Survey, policy: Policy) -> Verdict:
    """Only where all of it is dropped: to let some pass, and some not, is somebody's firewall."""
    if policy[NetworksRules].bridged_guests is None:
        return not_applicable("the policy does not ask for it")
    docker, reading = survey[Docker], survey[Networks]
    bridges = bridged.carrying(docker, reading)
    if not bridges:
        return not_applicable("no bridge but Docker's has ports that could talk to each other")
    names = [bridge.name for bridge in bridges]
    if stopped := bridged.stopped_now(docker, reading):
        live = [bridge.name for bridge in bridges if bridge not in [each.bridge for each in stopped]]
        reason = f"guests do not reach each other on {' and on '.join(map(str, stopped))}"
        return failed(f"{reason} (br_netfilter has bridged frames meet iptables)", names, None, live)
    return passed(f"iptables does not stop what passes between the ports of {', '.join(names)}", names, None, names)


def plan_bridged_guests(context: Context) -> Iterator[Change]:
    """The switches and the rules of the firewall are others': whose setting it is, is not known."""
    asks = why_called(context)
    for stopped in bridged.stopped_now(context.survey[Docker], context.survey[Networks]):
        why = f"hullproof changes no firewall rule and no switch that is not its own: {stopped.remedy} lets them pass"
        why += (
            f" ({asks})" if asks else f", and so does {' '.join(f'{key}=0' for key in NF_CALL_KEYS)} in /etc/sysctl.d"
        )
        yield Blocked("networks", f"let frames pass between the ports of {bridged.ports_of(stopped.bridge)}", why=why)
