"""daemon.json and the Docker service, for every subject that needs keys in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from posixpath import normpath
from typing import Any

from deploys.core import templates
from deploys.core.change import Activate, Blocked, Change, Command, Context, MergeJson, Obstacle, Service
from deploys.core.control import some
from deploys.engines import foreign_bridges as bridged
from facts.core.reading import Unknown, UnknownReading, known
from facts.engines.docker.docker import DAEMON_JSON, Docker, DockerReading
from facts.engines.docker.neutral import neutral
from facts.engines.docker.options import read_release
from facts.engines.docker.settings import at_next_start as at_next_start
from facts.engines.docker.settings import configured as configured
from facts.engines.docker.settings import given_flags as given_flags
from facts.engines.docker.settings import in_daemon_json as in_daemon_json
from facts.engines.docker.settings import in_force as in_force
from facts.engines.docker.settings import loads_br_netfilter as loads_br_netfilter
from facts.engines.docker.settings import misfits as misfits
from facts.engines.docker.settings import off as off
from facts.networks.networks import Networks

PACKAGES = ("docker.io", "docker-ce", "moby-engine", "docker-engine")
RESTART = "container-restart"  # accepting it: running containers may be stopped and started again
# While a container runs, dockerd does not change its default bridge, whatever daemon.json says (moby:
# daemon_unix.go, initNetworkController: "updated network configuration will not take affect").
BRIDGE_KEYS = frozenset(
    ("icc", "bip", "bip6", "fixed-cidr", "fixed-cidr-v6", "default-gateway", "ip", "ip-masq", "mtu")
)
REMAP = "userns-remap"  # accepting it: Docker no longer sees its images and volumes, and running containers are stopped
PROXY_CALLS = (27, 0)  # assumed to be the first that needs it without the userland proxy: 26.1 does not, 28.5 does


def daemon_json(
    context: Context, subject: str, what: str, put: Mapping[str, Any], drop: tuple[str, ...] = ()
) -> Change:
    """A change that sets and unsets keys of daemon.json and restarts Docker with them; Blocked where the file is
    invalid, a key is also a flag, the daemon does not support a key, or a restart would stop containers and that is not
    accepted. Activate, where the file is right already."""
    docker = context.survey[Docker]
    if why := _obstacle(docker, put):
        return Blocked(subject, what, why=why)
    if obstacle := restart_obstacle(context, put):
        return obstacle.block(subject, what)
    service = docker_service(context)
    interrupts = _joined(service.interrupts, _cuts_off(context, put))
    file = docker.daemon_json
    keys = known(file.keys)
    if all(name in keys and keys[name] == value for name, value in put.items()) and not set(drop) & set(keys):
        return Activate(
            subject, f"restart docker with the new settings: {what}", interrupts=interrupts, service=service
        )
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
    if normpath(file.named) != DAEMON_JSON:
        return (
            f"dockerd reads its settings from {file.named} (--config-file), and hullproof changes only {DAEMON_JSON}: "
            f"change {file.named} by hand, or move it there, take --config-file out of the command line, and run again"
        )
    if isinstance(file.keys, Unknown):
        return f"{file.keys.unknown}: correct the file or move it away, then run again"
    if wrong := misfits(docker):
        return f"{file.path}: {some(wrong)}, so dockerd does not start with it: correct the file, then run again"
    if file.duplicates:
        return f"{file.path} has {', '.join(file.duplicates)} more than once: keep one of each, then run again"
    if clash := sorted(set(put) & set(given_flags(docker))):
        where = docker.unit.options_source if docker.unit.options else docker.unit.exec_source
        return (
            f"dockerd's command line ({where or 'its unit'}) already sets {', '.join(clash)}, and dockerd does not "
            "start "
            f"with an option both there and in {DAEMON_JSON}: remove it from the command line, then run again"
        )
    if isinstance(docker.keys_known, Unknown):
        return docker.keys_known.unknown
    if strange := sorted(set(put) - set(docker.keys_known)):
        return f"dockerd {docker.version or docker.package_version} does not support {', '.join(strange)}"
    return ""


def _stops(context: Context) -> bool:
    """Whether running containers may be stopped for the restart, and then are. No container may keep running in the old
    user namespace, so accepting the remapping accepts that too."""
    return context.accepts(RESTART) or (context.accepts(REMAP) and _remaps(context))


def _remaps(context: Context) -> bool:
    return context.failing("userns.docker-remap")


def _switches_mapping(docker: DockerReading, put: Mapping[str, Any]) -> bool:
    """Whether the restart changes the user namespace of containers: by `put`, or by what is on disk already."""
    wanted = put.get(REMAP, configured(docker, REMAP)) not in (None, "", "root")
    return wanted != ("name=userns" in docker.security)


def _survives(context: Context) -> bool:
    """Whether live-restore is on, or will be before the restart: a reload turns it on first."""
    docker = context.survey[Docker]
    live = isinstance(docker.info, dict) and docker.info.get("LiveRestoreEnabled") is True
    planned = context.failing("docker.live-restore") and "live-restore" not in given_flags(docker)
    return live or planned


def restart_obstacle(context: Context, put: Mapping[str, Any]) -> Obstacle | None:
    """Why Docker may not be restarted now; None where it may."""
    names = running_names(context)
    if isinstance(names, Unknown):
        return Obstacle(why=f"cannot determine which containers a restart would stop: {names.unknown}")
    return _stopping(context, put, names) or bridged_obstacle(context, put)


def _stopping(context: Context, put: Mapping[str, Any], names: tuple[str, ...]) -> Obstacle | None:
    if not names:
        return None
    if _stops(context):
        return _vanishing(context)
    listed = ", ".join(names)
    if _switches_mapping(context.survey[Docker], put):
        why = f"the restart changes the user namespace, so it has to stop {listed}"
        return Obstacle(why=why, accepts=(REMAP,))
    if settings := sorted(BRIDGE_KEYS & set(put)):
        why = f"Docker applies {', '.join(settings)} only when it starts without running containers"
        return Obstacle(why=why, by_hand=f"stop {listed}", accepts=(RESTART,))
    if put.get("live-restore") is False or not _survives(context):
        why = f"the restart would stop {listed}, because live-restore is off"
        return Obstacle(why=why, accepts=(RESTART,))
    return None


def bridged_obstacle(context: Context, put: Mapping[str, Any]) -> Obstacle | None:
    """Why Docker's start would cut guests off on bridges that are not its own; None where it would not."""
    try:
        start = _start(context, put)
    except UnknownReading as error:
        return Obstacle(why=f"cannot determine what a start of Docker does to bridges that are not its own: {error}")
    return bridged.obstacle(context, start.cause, called=start.called, drops=start.drops) if start.cause else None


def why_called(context: Context) -> str:
    """Why Docker, as it is configured, passes bridged frames through iptables at each start; "" where it does not."""
    start = _start(context, {})
    return start.cause if start.called else ""


def _cuts_off(context: Context, put: Mapping[str, Any]) -> str:
    """Where that is accepted: the guests that are cut off; "" for none."""
    start = _start(context, put)
    return bridged.cut_off(context, called=start.called, drops=start.drops)


def kept_for_undo(context: Context, change: Change, put: Mapping[str, Any]) -> Iterator[Change]:
    """Precedes a change after which Docker passes bridged frames through iptables, where that is accepted. Docker never
    reverts it, so the undo does, once Docker has restarted with the old settings."""
    if not isinstance(change, Blocked) and _cuts_off(context, put):
        off_now = [tool for tool in bridged.FAMILIES.values() if context.survey[Networks].nf_call.get(tool) != 1]
        undo = "\n".join(f"sysctl -q -w {bridged.SWITCH}{tool}=0" for tool in off_now)
        what = "record for an undo that bridged frames bypass iptables"
        yield Command(change.subject, what, script=":", undo=undo)


def _needing(docker: DockerReading) -> tuple[str, ...]:
    """The keys for which this Docker, where they are false, passes bridged frames through iptables."""
    release = read_release(docker.version)
    return ("icc", "userland-proxy") if release is None or release >= PROXY_CALLS else ("icc",)


@dataclass(frozen=True)
class _Start:
    """What a start of Docker does to the frames of every bridge: it passes them through iptables of the families
    `called`, and sets the FORWARD policy of the families `drops` to DROP. As observed with Docker 26.1 and 28.5."""

    cause: str = ""
    called: tuple[int, ...] = ()
    drops: tuple[int, ...] = ()


def _start(context: Context, put: Mapping[str, Any]) -> _Start:
    """With `put` in daemon.json. Nothing where no such bridge exists, or Docker does not run: then no run starts it."""
    docker = context.survey[Docker]

    def value(key: str) -> Any:
        return put.get(key, configured(docker, key))

    reading = context.survey[Networks]
    if docker.running is False or off(value("iptables")) or not bridged.carrying((neutral(docker),), reading):
        return _Start()
    asks = [f"{key}=false" for key in _needing(docker) if off(value(key))]
    networks = [each for each in known(docker.networks) if each.driver == "bridge" and each.name != "bridge"]
    asks += [f"the network {each.name}, which was created with enable_icc=false" for each in networks if not each.icc]
    loads = loads_br_netfilter(docker) and not known(reading.br_netfilter)
    keeps = off(value("ip-forward")) or value("ip-forward-no-drop") is True
    drops = known(reading.forwarding4) == 0 and not keeps
    does = [f"passes bridged frames through iptables because of {' and '.join(asks)}"] if asks else []
    does += ["loads br_netfilter, which passes bridged frames through iptables"] if loads else []
    does += ["turns forwarding on and sets iptables' FORWARD policy to DROP"] if drops else []
    called = (4, 6) if loads else (4,) if asks else ()
    return _Start(f"when it starts, Docker {' and '.join(does)}" if does else "", called, (4,) if drops else ())


def _vanishing(context: Context) -> Obstacle | None:
    """Why running containers may not be stopped although that is accepted; None where they may."""
    gone = auto_removed(context.survey[Docker])
    why = f"stopping would delete {gone} (started with --rm)"
    return Obstacle(why=why, by_hand="stop them yourself, then run again") if gone else None


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
    """The Docker daemon as a service that restarts with new files: the same for every subject of a run."""
    stop = _stops(context)
    return Service(
        "docker",
        activate=restart_script(stop),
        undo=restart_script(stop, undo=True),
        healthy=templates.text("engines/docker/healthy.sh"),
        explain="journalctl -q -u docker.service -n 8 --no-pager -o cat",
        seconds=120,
        interrupts=_joined(
            _interrupts(running_names(context), stop, context.accepts(REMAP) and _remaps(context)),
            _cuts_off(context, {}),
        ),
    )


def restart_script(stop: bool, undo: bool = False) -> str:
    """sh that restarts Docker with its files: with `stop`, running containers are stopped meanwhile; with `undo`, the
    files are the earlier ones."""
    return f"STOP={int(stop)}\nUNDO={int(undo)}\n{templates.text('engines/docker/activate.sh')}"


def _joined(interrupts: str, cut: str) -> str:
    return interrupts if not cut or cut in interrupts else f"{interrupts}; {cut}"


def _interrupts(names: tuple[str, ...] | Unknown, stop: bool, remap: bool) -> str:
    if isinstance(names, Unknown):
        return f"restarts docker; cannot determine which containers that affects ({names.unknown})"
    if not names:
        return "restarts docker; no container runs"
    listed = ", ".join(names)
    if remap:
        return f"restarts docker with another user namespace; stops {listed}, which Docker no longer sees then"
    if stop:
        return f"restarts docker; stops and starts {listed}"
    return f"restarts docker; running containers keep running (live-restore): {listed}"
