"""daemon.json and the Docker service, shared by the subjects that need keys in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploys.core import templates
from deploys.core.change import Activate, Blocked, Change, Command, Context, MergeJson, Service
from deploys.core.control import some
from deploys.engines import foreign_bridges as bridged
from facts.core.reading import Unknown, UnknownReading, known
from facts.engines.docker.docker import DAEMON_JSON, Docker, DockerReading, config_key, misfit, read_flags
from facts.engines.docker.options import read_release
from facts.networks.networks import Networks

RESTART = "container-restart"  # accepting it: running containers may be stopped and started again
# While a container runs, dockerd keeps its default bridge as it is, whatever daemon.json says (moby:
# daemon_unix.go, initNetworkController: "updated network configuration will not take affect").
BRIDGE_KEYS = frozenset(
    ("icc", "bip", "bip6", "fixed-cidr", "fixed-cidr-v6", "default-gateway", "ip", "ip-masq", "mtu")
)
REMAP = "userns-remap"  # accepting it: what Docker holds may go out of sight, and what runs is stopped for that
NO_LOADING = (28, 0)  # the first Docker that loads br_netfilter only for what needs it
PROXY_CALLS = (27, 0)  # the first that is taken to need it where no userland proxy runs: 26.1 does not, 28.5 does


def given_flags(docker: DockerReading) -> dict[str, str]:
    """Options on the daemon's command line, as it runs and as its unit would start it, by their daemon.json keys."""
    return docker.remember("flags", lambda: _given_flags(docker))


def _given_flags(docker: DockerReading) -> dict[str, str]:
    unit = read_flags(docker.unit.exec_start.split()[1:] + docker.unit.options.split())
    return {config_key(option): value for option, value in {**unit, **docker.flags}.items()}


def configured(docker: DockerReading, key: str) -> Any:
    """What the command line or daemon.json gives for a key (JSON value); None where neither does. UnknownReading
    where daemon.json cannot be read, or dockerd would not start with the value."""
    flags = given_flags(docker)
    if key not in flags:
        return in_daemon_json(docker, key)
    return {"true": True, "false": False}.get(flags[key], flags[key])


def in_daemon_json(docker: DockerReading, key: str) -> Any:
    """The same of the file alone."""
    value = known(docker.daemon_json.keys).get(key)
    if why := misfit(key, value):
        raise UnknownReading(f"{docker.daemon_json.path}: {why}, and dockerd does not start with it")
    return value


def misfits(docker: DockerReading) -> list[str]:
    """What in daemon.json keeps dockerd from starting."""
    return [why for key, value in known(docker.daemon_json.keys).items() if (why := misfit(key, value))]


def off(value: Any) -> bool:
    return value is False or str(value).lower() == "false"


def daemon_json(
    context: Context, subject: str, what: str, put: Mapping[str, Any], drop: tuple[str, ...] = ()
) -> Change:
    """A change that sets and unsets keys of daemon.json and has Docker take them up; Blocked, with the reason, where
    the file is broken, a key is also given as a flag, the daemon does not know a key, or a restart would stop
    containers and nobody accepted that. Activate, where the file is right already."""
    docker = context.survey[Docker]
    if why := _obstacle(docker, put) or restart_obstacle(context, put):
        return Blocked(subject, what, why=why)
    service = docker_service(context)
    interrupts = _joined(service.interrupts, _cuts_off(context, put))
    file = docker.daemon_json
    keys = known(file.keys)
    if all(name in keys and keys[name] == value for name, value in put.items()) and not set(drop) & set(keys):
        return Activate(subject, f"have Docker take up: {what}", interrupts=interrupts, service=service)
    return MergeJson(
        subject,
        what,
        interrupts=interrupts,
        path=DAEMON_JSON,
        before=known(file.text) if file.text is not None else None,
        put=put,
        drop=drop,
        service=service,
        validate="dockerd --validate --config-file {}" if docker.can_validate else "",
    )


def _obstacle(docker: DockerReading, put: Mapping[str, Any]) -> str:
    """Why daemon.json cannot be changed; "" where it can."""
    file = docker.daemon_json
    if isinstance(file.keys, Unknown):
        return f"{file.keys.unknown}: put it right or move it away, then run again"
    if wrong := misfits(docker):
        return f"{file.path}: {some(wrong)}, and dockerd does not start with it: put it right, then run again"
    if file.duplicates:
        return f"{file.path} gives {', '.join(file.duplicates)} more than once: leave one of each, then run again"
    if clash := sorted(set(put) & set(given_flags(docker))):
        where = docker.unit.options_source if docker.unit.options else docker.unit.exec_source
        return (
            f"dockerd's command line ({where or 'its unit'}) gives {', '.join(clash)} already, and it does not start "
            f"with an option both there and in {DAEMON_JSON}: take it from the command line, then run again"
        )
    if isinstance(docker.keys_known, Unknown):
        return docker.keys_known.unknown
    if strange := sorted(set(put) - set(docker.keys_known)):
        return f"this dockerd ({docker.version or docker.package_version}) does not know {', '.join(strange)}"
    return ""


def _stops(context: Context) -> bool:
    """Whether running containers may be stopped for the restart, and then are: containers of the old user namespace
    must not outlast it, so who accepts the switch accepts that."""
    return context.accepts(RESTART) or (context.accepts(REMAP) and _remaps(context))


def _remaps(context: Context) -> bool:
    return context.failing("userns.docker-remap")


def _switches_mapping(docker: DockerReading, put: Mapping[str, Any]) -> bool:
    """Whether the daemon comes back with other ids for its containers: with `put`, or with what is on disk already."""
    wanted = put.get(REMAP, configured(docker, REMAP)) not in (None, "", "root")
    return wanted != ("name=userns" in docker.security)


def _survives(context: Context) -> bool:
    """Whether live-restore holds, or will by the time of the restart: a reload makes it live first."""
    docker = context.survey[Docker]
    live = isinstance(docker.info, dict) and docker.info.get("LiveRestoreEnabled") is True
    planned = context.failing("docker.live-restore") and "live-restore" not in given_flags(docker)
    return live or planned


def restart_obstacle(context: Context, put: Mapping[str, Any]) -> str:
    """Why Docker may not be restarted now; "" where it may."""
    names = running_names(context)
    if isinstance(names, Unknown):
        return f"whether a restart would stop containers is not known: {names.unknown}"
    return _stopping(context, put, names) or bridged_obstacle(context, put)


def _stopping(context: Context, put: Mapping[str, Any], names: tuple[str, ...]) -> str:
    if not names:
        return ""
    if _stops(context):
        return _vanishing(context)
    allow = f"allow that with accept={RESTART}"
    if _switches_mapping(context.survey[Docker], put):
        allow = f"allow that with accept={REMAP}"
        return f"containers of the old user namespace ({', '.join(names)}) must not outlast the restart; {allow}"
    if settings := sorted(BRIDGE_KEYS & set(put)):
        return (
            f"Docker takes up {', '.join(settings)} only while no container runs: stop {', '.join(names)}, or {allow}"
        )
    if put.get("live-restore") is False or not _survives(context):
        return f"the restart would stop {', '.join(names)}, since live-restore is off; {allow}"
    return ""


def bridged_obstacle(context: Context, put: Mapping[str, Any]) -> str:
    """Why Docker's start would cut guests off on bridges that are not its own; "" where it would not."""
    try:
        start = _start(context, put)
    except UnknownReading as error:
        return f"what a start of Docker does to bridges that are not its own is not known: {error}"
    return bridged.obstacle(context, start.cause, called=start.called, drops=start.drops) if start.cause else ""


def why_called(context: Context) -> str:
    """Why Docker, as it is configured, has bridged frames meet iptables with each start; "" where it does not."""
    start = _start(context, {})
    return start.cause if start.called else ""


def _cuts_off(context: Context, put: Mapping[str, Any]) -> str:
    """Where that is accepted: which guests; "" for none."""
    start = _start(context, put)
    return bridged.told(context, called=start.called, drops=start.drops)


def kept_for_undo(context: Context, change: Change, put: Mapping[str, Any]) -> Iterator[Change]:
    """Before a change that has Docker lead bridged frames to iptables, as somebody accepted: Docker never takes that
    back, so the undo does, once it has restarted Docker with the old settings."""
    if not isinstance(change, Blocked) and _cuts_off(context, put):
        off_now = [tool for tool in bridged.FAMILIES.values() if context.survey[Networks].nf_call.get(tool) != 1]
        yield Command(change.subject, "keep for an undo that bridged frames do not meet iptables", script=":",
                      undo="\n".join(f"sysctl -q -w {bridged.SWITCH}{tool}=0" for tool in off_now))  # fmt: skip


def loads_br_netfilter(docker: DockerReading) -> bool:
    """Whether it does so whenever it starts."""
    release = read_release(docker.version)
    return release is None or release < NO_LOADING


def _needing(docker: DockerReading) -> tuple[str, ...]:
    """The keys that this Docker, where they are false, has bridged frames meet iptables for."""
    release = read_release(docker.version)
    return ("icc", "userland-proxy") if release is None or release >= PROXY_CALLS else ("icc",)


@dataclass(frozen=True)
class _Start:
    """What a start of Docker does to the frames of every bridge: has them meet iptables of the families `called`, and
    sets the FORWARD policy to DROP. As seen with Docker 26.1 and 28.5."""

    cause: str = ""
    called: tuple[int, ...] = ()
    drops: bool = False


def _start(context: Context, put: Mapping[str, Any]) -> _Start:
    """With `put` in daemon.json. Nothing where there is no such bridge; Docker that is down is not started by a run."""
    docker = context.survey[Docker]

    def value(key: str) -> Any:
        return put.get(key, configured(docker, key))

    reading = context.survey[Networks]
    if docker.running is False or off(value("iptables")) or not bridged.carrying(docker, reading):
        return _Start()
    asks = [f"{key}=false" for key in _needing(docker) if off(value(key))]
    asks += [f"the network {network.name}, which was made with enable_icc=false" for network in known(docker.networks)
             if network.driver == "bridge" and not network.icc and network.name != "bridge"]  # fmt: skip
    loads = loads_br_netfilter(docker) and not known(reading.br_netfilter)
    keeps = off(value("ip-forward")) or value("ip-forward-no-drop") is True
    drops = known(reading.forwarding4) == 0 and not keeps
    does = [f"has bridged frames meet iptables for {' and '.join(asks)}"] if asks else []
    does += ["loads br_netfilter, with which bridged frames meet iptables"] if loads else []
    does += ["turns forwarding on, and with it sets iptables' FORWARD policy to DROP"] if drops else []
    called = (4, 6) if loads else (4,) if asks else ()
    return _Start(f"when it starts, Docker {' and '.join(does)}" if does else "", called, drops)


def _vanishing(context: Context) -> str:
    """Why running containers may not be stopped though somebody accepted that; "" where they may."""
    gone = auto_removed(context.survey[Docker])
    return f"started with --rm, so deleted when stopped: {gone}; stop them yourself, then run again" if gone else ""


def auto_removed(docker: DockerReading) -> str:
    """Names of running containers that Docker deletes when they stop; "" where there are none."""
    return ", ".join(container.name for container in known(docker.containers) if container.auto_remove)


def running_names(context: Context) -> tuple[str, ...] | Unknown:
    """Names of the running containers; () where the daemon does not run."""
    docker = context.survey[Docker]
    if docker.running is False:
        return ()
    if isinstance(docker.containers, Unknown):
        return docker.containers
    return tuple(container.name for container in docker.containers)


def docker_service(context: Context) -> Service:
    """The Docker daemon as something that takes up new files: the same for every subject of a run."""
    stop = _stops(context)
    return Service(
        "docker",
        activate=take_up_script(stop),
        undo=take_up_script(stop, undo=True),
        healthy=templates.text("engines/docker/healthy.sh"),
        explain="journalctl -q -u docker.service -n 8 --no-pager -o cat",
        seconds=120,
        interrupts=_joined(
            _interrupts(running_names(context), stop, context.accepts(REMAP) and _remaps(context)),
            _cuts_off(context, {}),
        ),
    )


def take_up_script(stop: bool, undo: bool = False) -> str:
    """sh that has Docker take up its files: with `stop`, running containers are stopped meanwhile; with `undo`, they
    are those of before."""
    return f"STOP={int(stop)}\nUNDO={int(undo)}\n{templates.text('engines/docker/activate.sh')}"


def _joined(interrupts: str, cut: str) -> str:
    return interrupts if not cut or cut in interrupts else f"{interrupts}; {cut}"


def _interrupts(names: tuple[str, ...] | Unknown, stop: bool, remap: bool) -> str:
    if isinstance(names, Unknown):
        return f"restarts docker; which containers that touches is not known ({names.unknown})"
    if not names:
        return "restarts docker; no container runs"
    listed = ", ".join(names)
    if remap:
        return f"restarts docker with other ids for its containers; stops {listed}, which it no longer sees"
    if stop:
        return f"restarts docker; stops and starts again: {listed}"
    return f"restarts docker; running containers ({listed}) keep running (live-restore)"
