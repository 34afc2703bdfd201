"""Controls that are keys of daemon.json: how each is declared, configured, and read from the running daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deploys.core.change import Blocked, Change, Context
from deploys.core.control import Control, Impact, Severity, State, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import PACKAGES, configured, daemon_json, given_flags, kept_for_undo
from deploys.engines.docker.ipv6 import filters_ipv6, unfiltered_ipv6, without_ipv6
from deploys.engines.docker.limits import beyond
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import DAEMON_JSON, Docker, DockerReading

# A live value that the daemon does not report, where its file is newer than the daemon.
NOT_IN_FORCE = "not known to be in force: daemon.json was changed after the daemon started"


def _say(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _say_ulimits(value: Any) -> str:
    rows = value.items() if isinstance(value, dict) else ()
    limits = [f"{name} {row.get('Soft')}:{row.get('Hard')}" for name, row in rows if isinstance(row, dict)]
    return ", ".join(limits) or _say(value)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of daemon.json. `declared` gives the policy's JSON value for it on this host, None where it has none."""

    name: str
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    declared: Callable[[DockerRules, DockerReading], Any]
    live: Callable[[DockerReading], Any]
    default: Any = None  # what dockerd does without the key; a function of the reading where releases differ
    unset: str = ""  # a clause for when the value is empty; "": "KEY is VALUE"
    say: Callable[[Any], str] = _say
    holds: Callable[[Any, Any], bool] = lambda reading, declared: bool(reading == declared)
    exempt: Callable[[DockerReading], str] = lambda docker: ""  # why the key cannot be set on this host
    put: Callable[[DockerReading, Any], Mapping[str, Any]] | None = None  # default: the key with the declared value
    drop: Callable[[DockerRules, DockerReading, Any], tuple[str, ...]] = lambda rules, docker, declared: ()
    disk: Callable[[DockerReading], Any] | None = None  # default: the value of the key
    harms: Callable[[DockerReading, Any], str] = lambda docker, value: ""  # what fails on this host with such a value

    @property
    def control(self) -> str:
        return f"docker.{self.name}"

    @property
    def wanted_by(self) -> str:
        """The key of the policy."""
        return f"docker.{self.name.replace('-', '_')}"

    def check(self, survey: Survey, policy: Policy) -> Verdict:
        docker = survey[Docker]
        if docker.installed is False:
            return not_applicable("Docker is not installed")
        declared = self.declared(policy[DockerRules], docker)
        if declared is None:
            return not_applicable(f"the policy does not declare {self.wanted_by}")
        known(docker.installed)
        if why := self.exempt(docker):
            return not_applicable(why)
        if isinstance(docker.keys_known, tuple) and self.name not in docker.keys_known:
            return not_applicable(f"dockerd {docker.version or docker.package_version} does not support {self.name}")
        disk = self.disk(docker) if self.disk else configured(docker, self.name)
        disk = _by_itself(self.default, docker) if disk is None else disk
        live = self.live(docker)
        if why := self.harms(docker, disk) or self.harms(docker, live):
            return failed(why, declared=declared, disk=disk, live=live)
        return self._judge(declared, disk, live)

    def _judge(self, declared: Any, disk: Any, live: Any) -> Verdict:
        on_disk, in_force = self.holds(disk, declared), self.holds(live, declared)
        wants = f"the policy wants {self.say(declared)} ({self.wanted_by})"
        if on_disk and in_force:
            return passed(
                f"{self._is(live)}, on disk and in the running daemon", declared=declared, disk=disk, live=live
            )
        if on_disk:
            running = live if live == NOT_IN_FORCE else f"but in the running daemon {self._is(live)}"
            reason = f"{self._is(disk)} on disk, {running}; a restart of docker applies it"
            return Verdict(State.PENDING_RESTART, reason, declared=declared, disk=disk, live=live)
        if in_force:
            reason = f"{self._is(live)} now, but on disk {self._is(disk)}, so a restart of docker would lose it"
            return failed(f"{reason}; {wants}; harden sets it", declared=declared, disk=disk, live=live)
        return failed(
            f"{self._is(disk if live == NOT_IN_FORCE else live)}; {wants}; harden sets it",
            declared=declared,
            disk=disk,
            live=live,
        )

    def _is(self, value: Any) -> str:
        if self.unset and not value:
            return self.unset
        return f"{self.name} is {self.say(value)}"

    def row(self) -> Control:
        return Control(
            id=self.control,
            title=self.title,
            severity=self.severity,
            why=self.why,
            check=self.check,
            references=self.references,
            impact=Impact.RESTART,
            by_hand=f"set {self.name} in {DAEMON_JSON} and restart Docker",
            files=(DAEMON_JSON,),
            packages=PACKAGES,
        )

    def plan(self, context: Context) -> Iterable[Change]:
        if not context.failing(self.control):
            return
        docker, rules = context.survey[Docker], context.policy[DockerRules]
        declared = self.declared(rules, docker)
        put = self.put(docker, declared) if self.put else {self.name: declared}
        drop = self.drop(rules, docker, declared)
        what = [f"set {name} to {self.say(value) if name == self.name else _say(value)}" for name, value in put.items()]
        what += [f"remove {name}" for name in drop]
        if why := self.harms(docker, put.get(self.name)):
            yield Blocked("docker", ", ".join(what), why=why)
            return
        change = daemon_json(context, "docker", ", ".join(what), put=put, drop=drop)
        yield from kept_for_undo(context, change, put)
        yield change


def _by_itself(default: Any, docker: DockerReading) -> Any:
    return default(docker) if callable(default) else default


def told(name: str, kind: type[Any]) -> Callable[[DockerReading], Any]:
    """A value that `docker info` reports."""
    return lambda docker: docker.told(name, kind)


def untold(name: str, default: Any) -> Callable[[DockerReading], Any]:
    """The configured value of a key that the daemon reports nowhere, if no file has changed since it started."""

    def live(docker: DockerReading) -> Any:
        known(docker.info)
        if known(docker.stale):
            return NOT_IN_FORCE
        value = configured(docker, name)
        return _by_itself(default, docker) if value is None else value

    return live


def _swarm(docker: DockerReading) -> str:
    return "this host is in a swarm, with which dockerd rejects live-restore" if docker.in_swarm else ""


def _new_privileges(docker: DockerReading) -> Any:
    """Only later versions of docker info report it, and only where it is set."""
    if "name=no-new-privileges" in docker.security:
        return True
    return untold("no-new-privileges", False)(docker)


def _proxy(docker: DockerReading) -> Any:
    """Proxy processes prove that it is on; their absence proves nothing, as perhaps no port is published."""
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
    """The logging driver that the host has, or will have."""
    return rules.log_driver or configured(docker, "log-driver") or "json-file"


def _log_opts(rules: DockerRules, docker: DockerReading) -> Any:
    return (rules.log_opts or {}).get(_driver(rules, docker))


def _contains(reading: Any, declared: Any) -> bool:
    return isinstance(reading, dict) and declared.items() <= reading.items()


def _join(name: str) -> Callable[[DockerReading, Any], Mapping[str, Any]]:
    """Adds the declared entries to the existing ones: limits and options that the policy does not name stay."""

    def put(docker: DockerReading, declared: Any) -> Mapping[str, Any]:
        there = known(docker.daemon_json.keys).get(name)
        return {name: {**(there if isinstance(there, dict) else {}), **declared}}

    return put


def _other_drivers_opts(rules: DockerRules, docker: DockerReading, declared: Any) -> tuple[str, ...]:
    """Options of the old driver, which dockerd would reject with the new one; not those that the new one is to have."""
    old, keys = configured(docker, "log-driver") or "json-file", known(docker.daemon_json.keys)
    wanted = _log_opts(rules, docker)
    stay = wanted is not None and keys.get("log-opts") == wanted
    return ("log-opts",) if old != declared and "log-opts" in keys and not stay else ()


def _live_level(docker: DockerReading) -> Any:
    """`debug` wins over the level, and docker info reports it alone."""
    return "debug" if docker.told("Debug", bool) else untold("log-level", "info")(docker)


def _debugs(docker: DockerReading, value: Any) -> str:
    """An option of the command line, which daemon.json cannot take back."""
    debugs = value != "debug" and given_flags(docker).get("debug") == "true"
    reason = "dockerd is started with --debug, whatever log-level says: remove that option from its unit"
    return f"{reason}; the policy wants another level (docker.log_level)" if debugs else ""


KEYS = (
    Key(
        name="live-restore",
        title="Containers keep running while the daemon restarts",
        severity=Severity.MEDIUM,
        why="Without it, each update and each new setting of Docker stops every container, so updates are postponed.",
        references=("CIS-Docker-2.15",),
        declared=lambda rules, docker: rules.live_restore,
        live=told("LiveRestoreEnabled", bool),
        default=False,
        exempt=_swarm,
    ),
    Key(
        name="userland-proxy",
        title="Published ports are forwarded by the kernel",
        severity=Severity.LOW,
        why="A proxy process for each port runs as root on the host and hides the client's address from the container.",
        references=("CIS-Docker-2.16",),
        declared=lambda rules, docker: rules.userland_proxy,
        live=_proxy,
        default=True,
    ),
    Key(
        name="log-driver",
        title="Containers use the logging driver of the policy",
        severity=Severity.LOW,
        why="A log that is stored only with its container is deleted together with it.",
        references=("CIS-Docker-2.13",),
        declared=lambda rules, docker: rules.log_driver,
        live=told("LoggingDriver", str),
        default="json-file",
        drop=_other_drivers_opts,
    ),
    Key(
        name="log-opts",
        title="Containers' logs are limited in size",
        severity=Severity.MEDIUM,
        why="A container that logs without a limit fills the host's disk.",
        references=("CIS-Docker-2.13", "NIST-800-190-4.4.4"),
        declared=_log_opts,
        live=untold("log-opts", {}),
        default={},
        unset="no log options are set",
        holds=_contains,
        put=_join("log-opts"),
    ),
    Key(
        name="log-level",
        title="The daemon's log level is that of the policy",
        severity=Severity.LOW,
        why="Below info an attack leaves no trace; debug logs the content of requests.",
        references=("CIS-Docker-2.3",),
        declared=lambda rules, docker: rules.log_level,
        live=_live_level,
        default="info",
        disk=lambda docker: "debug" if configured(docker, "debug") else configured(docker, "log-level"),
        drop=lambda rules, docker, declared: ("debug",) if known(docker.daemon_json.keys).get("debug") else (),
        harms=_debugs,
    ),
    Key(
        name="default-ulimits",
        title="Containers start with resource limits",
        severity=Severity.MEDIUM,
        why="One container must not use up the host's file handles.",
        references=("CIS-Docker-2.8",),
        declared=_ulimits,
        live=untold("default-ulimits", {}),
        default={},
        unset="no default ulimits are set",
        say=_say_ulimits,
        holds=_contains,
        put=_join("default-ulimits"),
        harms=beyond,
    ),
    Key(
        name="default-address-pools",
        title="Docker's networks use the address ranges of the policy",
        severity=Severity.LOW,
        why="A subnet that Docker chooses by itself may overlap addresses that the host has to reach.",
        references=(),
        declared=_pools,
        live=_live_pools,
        default=[],
        unset="no default address pools are set",
    ),
    Key(
        name="iptables",
        title="Docker manages its packet filter rules",
        severity=Severity.HIGH,
        why="Without these rules nothing isolates containers, and icc=false has no effect.",
        references=("CIS-Docker-2.4",),
        declared=lambda rules, docker: rules.iptables,
        live=untold("iptables", True),
        default=True,
    ),
    Key(
        name="ip6tables",
        title="Docker manages its packet filter rules for IPv6",
        severity=Severity.HIGH,
        why="Without these rules each port of a container with an IPv6 address is reachable from outside.",
        references=("CIS-Docker-2.4",),
        declared=lambda rules, docker: rules.ip6tables,
        live=untold("ip6tables", filters_ipv6),
        default=filters_ipv6,
        exempt=without_ipv6,
        harms=unfiltered_ipv6,
    ),
    Key(
        name="experimental",
        title="The daemon's experimental features are off",
        severity=Severity.LOW,
        why="Experimental features have had less review than released ones.",
        references=("CIS-Docker-2.18",),
        declared=lambda rules, docker: rules.experimental,
        live=told("ExperimentalBuild", bool),
        default=False,
    ),
    Key(
        name="no-new-privileges",
        title="Setuid programs in containers gain no privileges",
        severity=Severity.HIGH,
        why="Otherwise a setuid program in an image can make any user in the container root in it.",
        references=("CIS-Docker-2.14", "NIST-800-190-4.4.3"),
        declared=lambda rules, docker: rules.no_new_privileges,
        live=_new_privileges,
        default=False,
    ),
)
