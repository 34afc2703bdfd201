"""daemon.json and the Docker service, shared by the subjects that need keys in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploys.engine.change import Activate, Blocked, Change, Context, MergeJson, Service
from deploys.engine.control import some
from facts.docker import DAEMON_JSON, Docker, DockerReading, config_key, misfit, read_flags
from facts.reading import Unknown, UnknownReading, known

RESTART = "container-restart"  # accepting it: running containers may be stopped and started again
# While a container runs, dockerd keeps its default bridge as it is, whatever daemon.json says (moby:
# daemon_unix.go, initNetworkController: "updated network configuration will not take affect").
BRIDGE_KEYS = frozenset(
    ("icc", "bip", "bip6", "fixed-cidr", "fixed-cidr-v6", "default-gateway", "ip", "ip-masq", "mtu")
)
REMAP = "userns-remap"  # accepting it: what Docker holds may go out of sight, and what runs is stopped for that
TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "docker"


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
    file = docker.daemon_json
    keys = known(file.keys)
    if all(name in keys and keys[name] == value for name, value in put.items()) and not set(drop) & set(keys):
        return Activate(subject, f"have Docker take up: {what}", interrupts=service.interrupts, service=service)
    return MergeJson(
        subject,
        what,
        interrupts=service.interrupts,
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
        healthy=(TEMPLATES / "healthy.sh").read_text(),
        explain="journalctl -q -u docker.service -n 8 --no-pager -o cat",
        seconds=120,
        interrupts=_interrupts(running_names(context), stop, context.accepts(REMAP) and _remaps(context)),
    )


def take_up_script(stop: bool, undo: bool = False) -> str:
    """sh that has Docker take up its files: with `stop`, running containers are stopped meanwhile; with `undo`, they
    are those of before."""
    return f"STOP={int(stop)}\nUNDO={int(undo)}\n{(TEMPLATES / 'activate.sh').read_text()}"


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
