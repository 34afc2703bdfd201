"""Controls that are keys of daemon.json: how each is declared, configured, and seen in the running daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploys.core.change import Blocked, Change, Context
from deploys.core.control import Control, Impact, Severity, State, Verdict, agree, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import configured, daemon_json, kept_for_undo
from deploys.engines.docker.limits import beyond
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import DAEMON_JSON, Docker, DockerReading

NOT_TAKEN_UP = "daemon.json was written after the daemon started"


@dataclass(frozen=True)
class Key:
    """A key of daemon.json. `declared` gives the policy's JSON value for it on this host, None where it has none."""

    name: str
    control: str
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    declared: Callable[[DockerRules, DockerReading], Any]
    live: Callable[[DockerReading], Any]
    default: Any = None  # what dockerd does without the key
    holds: Callable[[Any, Any], bool] = lambda reading, declared: bool(reading == declared)
    exempt: Callable[[DockerReading], str] = lambda docker: ""  # why the key cannot be had here
    put: Callable[[DockerReading, Any], Mapping[str, Any]] | None = None  # default: the key with the declared value
    drop: Callable[[DockerReading, Any], tuple[str, ...]] = lambda docker, declared: ()
    harms: Callable[[DockerReading, Any], str] = lambda docker, value: ""  # what goes wrong here with such a value

    def check(self, survey: Survey, policy: Policy) -> Verdict:
        declared_by = policy[DockerRules]
        docker = survey[Docker]
        if not docker.installed:
            return not_applicable("Docker is not installed")
        declared = self.declared(declared_by, docker)
        if declared is None:
            return not_applicable(f"the policy does not declare {self.name}")
        if why := self.exempt(docker):
            return not_applicable(why)
        if isinstance(docker.keys_known, tuple) and self.name not in docker.keys_known:
            return not_applicable(f"this dockerd ({docker.version or docker.package_version}) has no {self.name}")
        disk = configured(docker, self.name)
        disk = self.default if disk is None else disk
        live = self.live(docker)
        if why := self.harms(docker, disk) or self.harms(docker, live):
            return failed(why, declared, disk, live)
        return agree(declared, disk, live, Impact.RESTART, lambda value: self.holds(value, declared), self.name)

    def row(self) -> Control:
        return Control(
            f"docker.{self.control}", self.title, self.severity, self.why, self.check, self.references, Impact.RESTART,
            by_hand=f"set {self.name} in {DAEMON_JSON} and restart Docker",
        )  # fmt: skip

    def plan(self, context: Context) -> Iterable[Change]:
        if not context.failing(f"docker.{self.control}"):
            return
        docker = context.survey[Docker]
        declared = self.declared(context.policy[DockerRules], docker)
        put = self.put(docker, declared) if self.put else {self.name: declared}
        drop = self.drop(docker, declared)
        said = [f"set {name} to {_say(value)}" for name, value in put.items()] + [f"take out {name}" for name in drop]
        if why := self.harms(docker, put.get(self.name)):
            yield Blocked("docker", ", ".join(said), why=why)
            return
        change = daemon_json(context, "docker", ", ".join(said), put, drop)
        yield from kept_for_undo(context, change, put)
        yield change


def _say(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def told(name: str, kind: type[Any]) -> Callable[[DockerReading], Any]:
    """What `docker info` tells."""
    return lambda docker: docker.told(name, kind)


def untold(name: str, default: Any) -> Callable[[DockerReading], Any]:
    """What is configured, where nothing was written since the daemon started: it tells of this key nowhere."""

    def live(docker: DockerReading) -> Any:
        known(docker.info)
        if known(docker.stale):
            return f"not known to be in force: {NOT_TAKEN_UP}"
        value = configured(docker, name)
        return default if value is None else value

    return live


def _swarm(docker: DockerReading) -> str:
    return "this host is in a swarm, with which dockerd refuses live-restore" if docker.in_swarm else ""


def _new_privileges(docker: DockerReading) -> Any:
    """docker info tells it only from some versions on, and then only where it is set."""
    if "name=no-new-privileges" in docker.security:
        return True
    return untold("no-new-privileges", False)(docker)


def _proxy(docker: DockerReading) -> Any:
    """Processes are proof that it is on; none of them proves nothing, since perhaps no port is published."""
    configured_live = untold("userland-proxy", True)(docker)
    return True if known(docker.proxies) else configured_live


def _ulimits(rules: DockerRules, docker: DockerReading) -> Any:
    if rules.default_ulimits is None:
        return None
    wanted = rules.default_ulimits.items()
    return {name: {"Name": name, "Hard": limit.hard, "Soft": limit.soft} for name, limit in wanted}


def _pools(rules: DockerRules, docker: DockerReading) -> Any:
    pools = rules.default_address_pools
    return None if pools is None else [{"base": pool.base, "size": pool.size} for pool in pools]


def _live_pools(docker: DockerReading) -> Any:
    pools = docker.told("DefaultAddressPools", list) or []
    return [{"base": pool.get("Base"), "size": pool.get("Size")} for pool in pools if isinstance(pool, dict)]


def _driver(rules: DockerRules, docker: DockerReading) -> str:
    """The log driver that the host has, or will have."""
    return rules.log_driver or configured(docker, "log-driver") or "json-file"


def _log_opts(rules: DockerRules, docker: DockerReading) -> Any:
    return (rules.log_opts or {}).get(_driver(rules, docker))


def _contains(reading: Any, declared: Any) -> bool:
    return isinstance(reading, dict) and declared.items() <= reading.items()


def _join(name: str) -> Callable[[DockerReading, Any], Mapping[str, Any]]:
    """The declared entries added to those that are there: others' own limits and options stay."""

    def put(docker: DockerReading, declared: Any) -> Mapping[str, Any]:
        there = known(docker.daemon_json.keys).get(name)
        return {name: {**(there if isinstance(there, dict) else {}), **declared}}

    return put


def _other_drivers_opts(docker: DockerReading, declared: Any) -> tuple[str, ...]:
    """Options of the old driver, which dockerd would refuse with the new one."""
    old = configured(docker, "log-driver") or "json-file"
    return ("log-opts",) if old != declared and "log-opts" in known(docker.daemon_json.keys) else ()


def _put_log_opts(docker: DockerReading, declared: Any) -> Mapping[str, Any]:
    return _join("log-opts")(docker, declared)


MEDIUM, LOW, HIGH = Severity.MEDIUM, Severity.LOW, Severity.HIGH

KEYS = (
    Key(
        "live-restore", "live-restore", "Containers outlive a restart of the daemon", MEDIUM,
        "Without it each update and each new setting of Docker stops every container, so updates are put off.",
        ("CIS-Docker-2.15",), lambda rules, docker: rules.live_restore, told("LiveRestoreEnabled", bool), False,
        exempt=_swarm,
    ),
    Key(
        "userland-proxy", "userland-proxy", "Published ports are forwarded by the kernel", LOW,
        "A proxy process per port runs as root on the host and hides from containers who is calling.",
        ("CIS-Docker-2.16",), lambda rules, docker: rules.userland_proxy, _proxy, True,
    ),
    Key(
        "log-driver", "log-driver", "Containers' output goes where the policy says", LOW,
        "Logs that only lie in a container's folder are lost with it, or read by whoever removed it.",
        ("CIS-Docker-2.13",), lambda rules, docker: rules.log_driver, told("LoggingDriver", str), "json-file",
        drop=_other_drivers_opts,
    ),
    Key(
        "log-opts", "log-opts", "Containers' output is bounded", MEDIUM,
        "A container that logs without limit fills the host's disk.",
        ("CIS-Docker-2.13", "NIST-800-190-4.4.4"), _log_opts, untold("log-opts", {}), {}, _contains, put=_put_log_opts,
    ),
    Key(
        "log-level", "log-level", "The daemon's log says what happened", LOW,
        "Below info, an attack leaves no trace; debug writes out what requests hold.",
        ("CIS-Docker-2.3",), lambda rules, docker: rules.log_level, untold("log-level", "info"), "info",
    ),
    Key(
        "default-ulimits", "default-ulimits", "Containers start with resource limits", MEDIUM,
        "One container must not use up the host's file handles.",
        ("CIS-Docker-2.8",), _ulimits, untold("default-ulimits", {}), {}, _contains, put=_join("default-ulimits"),
        harms=beyond,
    ),
    Key(
        "default-address-pools", "default-address-pools", "Docker's networks stay in ranges meant for them", LOW,
        "A network that Docker picks by itself may cover addresses that the host has to reach.",
        (), _pools, _live_pools, [],
    ),
    Key(
        "iptables", "iptables", "Docker keeps its packet filter rules", HIGH,
        "Without them nothing separates containers, and icc=false does nothing.",
        ("CIS-Docker-2.4",), lambda rules, docker: rules.iptables, untold("iptables", True), True,
    ),
    Key(
        "experimental", "experimental", "The daemon's experimental features are off", LOW,
        "They have had less review than what is released.",
        ("CIS-Docker-2.18",), lambda rules, docker: rules.experimental, told("ExperimentalBuild", bool), False,
    ),
)  # fmt: skip

NO_NEW_PRIVILEGES = Key(
    "no-new-privileges", "no-new-privileges", "Setuid programs in containers gain nothing", HIGH,
    "A setuid program in an image otherwise makes any user in the container its root.",
    ("CIS-Docker-2.14", "CIS-Docker-5.26", "NIST-800-190-4.4.3"),
    lambda rules, docker: rules.no_new_privileges, _new_privileges, False,
)  # fmt: skip


def no_new_privileges(survey: Survey, policy: Policy) -> Verdict:
    """The daemon's setting, and each container's process: the setting counts when a container is created."""
    verdict = NO_NEW_PRIVILEGES.check(survey, policy)
    if verdict.state is not State.PASS or not verdict.declared:
        return verdict
    docker = survey[Docker]
    containers = known(docker.containers)
    old = [c.name for c in containers if not isinstance(c.process, Unknown) and not c.process.no_new_privs]
    if old:
        names = ", ".join(old)
        reason = f"the daemon has it, but these containers were created before or opted out; create them anew: {names}"
        return Verdict(State.PENDING_RESTART, reason, True, True, {"without": old})
    for container in containers:
        known(container.process)
    return verdict


def _asked_without_tls(config: dict[str, Any]) -> Iterator[str]:
    """Of docker info's RegistryConfig."""
    indexes, nets = config.get("IndexConfigs") or {}, config.get("InsecureRegistryCIDRs") or []
    if not isinstance(indexes, dict) or not isinstance(nets, list):
        raise UnknownReading("docker info: its RegistryConfig makes no sense")
    secure = {name: index.get("Secure", True) if isinstance(index, dict) else None for name, index in indexes.items()}
    if strange := [name for name, value in secure.items() if not isinstance(value, bool)]:
        raise UnknownReading(f"docker info: whether {strange[0][:100]} is asked by TLS makes no sense")
    yield from (name for name, value in secure.items() if not value)
    yield from (str(net) for net in nets if net not in ("127.0.0.0/8", "::1/128"))


def insecure_registries(survey: Survey, policy: Policy) -> Verdict:
    """CIS 2.5. Docker itself always adds 127.0.0.0/8 and ::1/128."""
    docker, allowed = survey[Docker], policy[DockerRules].insecure_registries
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if allowed is None:
        return not_applicable("the policy does not declare insecure registries")
    disk = configured(docker, "insecure-registries") or []
    disk = disk.split() if isinstance(disk, str) else disk
    live = list(_asked_without_tls(docker.told("RegistryConfig", dict) or {}))
    beyond = [name for name in (*disk, *live) if name not in allowed]
    if not beyond:
        return passed("every registry is asked by TLS, but for those that the policy allows", allowed, disk, live)
    if not [name for name in disk if name not in allowed]:
        return agree(allowed, disk, live, Impact.RESTART, lambda value: value == disk, "insecure-registries")
    return failed(f"without TLS: {', '.join(sorted(set(beyond)))}", allowed, disk, live)


def plan_insecure_registries(context: Context) -> Iterable[Change]:
    if not context.failing("docker.insecure-registries"):
        return
    allowed = context.policy[DockerRules].insecure_registries or []
    kept = [name for name in configured(context.survey[Docker], "insecure-registries") or () if name in allowed]
    what = "ask registries by TLS only"
    put = {"insecure-registries": kept} if kept else {}
    yield daemon_json(context, "docker", what, put, () if kept else ("insecure-registries",))
