"""What a rollback does to Docker: what it interrupts, what has to be accepted first, and how it is done."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deploys.core import templates
from deploys.core.change import Obstacle, Remark, Undoing
from deploys.core.control import some
from deploys.engines.docker.daemon import (
    BRIDGE_KEYS,
    PACKAGES,
    REMAP,
    RESTART,
    auto_removed,
    restart_script,
    running_names,
)
from facts.core.reading import Unknown, known
from facts.core.record import JournalEntry
from facts.engines.docker.docker import Docker, DockerReading
from facts.userns import DOCKER_USER, SUBGID, SUBUID

REMOVE = "remove-engine"  # accepting it: an engine that holds containers, volumes or images is removed; its data stays
STARTED = "start Docker"  # begins the text of every change that starts it, in journals too


def stop_script(engine: bool) -> str:
    """sh that stops Docker, which the run had started; with `engine`, the run had installed it too."""
    return f"ENGINE={int(engine)}\n{templates.text('engines/docker/stop.sh')}"


def remarks(undoing: Undoing) -> Iterable[Remark]:
    for entry in undoing.entries:
        if entry.subject == "docker" and entry.kind == "service":
            yield _restart(undoing, entry)
        elif (entry.kind == "command" and entry.what.startswith(STARTED)) or set(PACKAGES) & set(entry.packages):
            yield _stop(undoing, entry)


# ------------------------------------------------------------------------------------------------ the restart


def _restart(undoing: Undoing, entry: JournalEntry) -> Remark:
    """Docker restarts with its old files. Containers keep running by live-restore, which is therefore removed last."""
    docker, names = undoing.context.survey[Docker], running_names(undoing.context)
    remaps, why_stop = _stops_for(undoing, docker)
    if remaps and not undoing.context.accepts(REMAP) and (lost := held(docker)):
        why = f"Docker restarts with another user namespace and no longer sees what it has ({lost}); that stays on disk"
        return Remark(entry.id, refused=Obstacle(why=why, accepts=(REMAP,)))
    stop = undoing.context.accepts(RESTART) or (remaps and undoing.context.accepts(REMAP))
    script = restart_script(stop, undo=True)
    if isinstance(names, Unknown):
        why = f"cannot determine which containers a restart of Docker would stop ({names.unknown})"
        refused = None if stop else Obstacle(why=why, accepts=(RESTART,))
        return Remark(entry.id, script=script, refused=refused, interrupts="restarts Docker")
    if not names:
        return Remark(entry.id, script=script, interrupts="restarts Docker; no container runs")
    listed = ", ".join(names)
    if not stop and why_stop:
        return Remark(entry.id, refused=Obstacle(why=why_stop, by_hand=f"stop {listed}", accepts=(RESTART,)))
    if not stop:
        last = "" if _settings(undoing, docker)[1].get("live-restore") is True else ", which is removed last"
        kept = f"restarts Docker; running containers keep running (live-restore{last}): {listed}"
        return Remark(entry.id, script=script, interrupts=kept)
    if gone := auto_removed(docker):
        why = f"stopping would delete {gone} (started with --rm): stop them yourself first"
        return Remark(entry.id, refused=Obstacle(why=why))
    again = "which Docker no longer sees then" if remaps else "and starts them again"
    return Remark(entry.id, script=script, interrupts=f"restarts Docker; stops {listed}, {again}")


def _stops_for(undoing: Undoing, docker: DockerReading) -> tuple[bool, str]:
    """Whether the restart changes containers' user namespace; and why they cannot keep running, "" where they can."""
    before, after = _settings(undoing, docker)
    info = {} if isinstance(docker.info, Unknown) else docker.info
    mapped = any("name=userns" in str(option) for option in info.get("SecurityOptions") or ())
    remaps = mapped != (after.get(REMAP) not in (None, "", "root")) or (mapped and _moves(undoing))
    if remaps:
        return True, "the restart changes the user namespace, so no container may keep running"
    keys = sorted(key for key in BRIDGE_KEYS if before.get(key) != after.get(key))
    if keys:
        return False, f"Docker applies {', '.join(keys)} only when it starts without running containers"
    if info.get("LiveRestoreEnabled") is not True:
        return False, "a restart of Docker would stop containers, because live-restore is off"
    return False, ""


def _moves(undoing: Undoing) -> bool:
    """Whether Docker's own user gets other ids."""
    texts = (undoing.files.get(path, (None, None)) for path in (SUBUID, SUBGID))
    return any(_rows(now) != _rows(after) for now, after in texts)


def _rows(text: str | None) -> list[str]:
    return [line for line in (text or "").splitlines() if line.startswith(f"{DOCKER_USER}:")]


def _settings(undoing: Undoing, docker: DockerReading) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of daemon.json now and after the undo."""
    now, after = undoing.files.get(docker.daemon_json.path, (None, None))
    if docker.daemon_json.path not in undoing.files:
        keys = known(docker.daemon_json.keys)
        return keys, keys
    return _keys(now), _keys(after)


def _keys(text: str | None) -> dict[str, Any]:
    try:
        keys = json.loads(text or "{}")
    except ValueError:
        return {}
    return keys if isinstance(keys, dict) else {}


# ------------------------------------------------------------------------------------------------ the engine itself


def _stop(undoing: Undoing, entry: JournalEntry) -> Remark:
    """The run started Docker, or installed it, which starts it too. An engine that holds something stays installed."""
    installed = any(set(PACKAGES) & set(other.packages) for other in undoing.entries)
    if installed and (holds := _holds(undoing)):
        return Remark(entry.id, stays=holds)
    names, script, accept = running_names(undoing.context), stop_script(installed), REMOVE if installed else RESTART
    if isinstance(names, Unknown):
        if not undoing.context.accepts(accept):
            why = f"cannot determine which containers would stop together with Docker ({names.unknown})"
            return Remark(entry.id, script=script, stays=Obstacle(why=why, accepts=(accept,)))
        return Remark(entry.id, script=script, interrupts="stops Docker and all of its containers")
    listed = ", ".join(names)
    if listed and not installed and not undoing.context.accepts(RESTART):
        why = f"stopping Docker would stop {listed}"
        stays = Obstacle(why=why, by_hand="stop them yourself", accepts=(RESTART,))
        return Remark(entry.id, script=script, stays=stays)
    return Remark(entry.id, script=script, interrupts=f"stops Docker{f' and {listed}' if listed else ''}")


def _holds(undoing: Undoing) -> Obstacle | None:
    """Why the engine stays installed; None where it may be removed. The script checks the disk again before that."""
    if undoing.context.accepts(REMOVE) or not (lost := held(undoing.context.survey[Docker])):
        return None
    why = f"Docker has {lost}; its removal leaves that on the disk"
    return Obstacle(why=why, accepts=(REMOVE,))


def held(docker: DockerReading) -> str:
    """The images, containers and volumes that the daemon has, as text; "" for none."""
    if isinstance(docker.stored, Unknown):
        return f"data that could not be listed: {docker.stored.unknown}"
    kinds = {"image": docker.stored.images, "container": docker.stored.containers, "volume": docker.stored.volumes}
    return "; ".join(
        f"{len(names)} {kind}{'s' * (len(names) > 1)}: {some(sorted(names), 6)}"
        for kind, names in kinds.items()
        if names
    )
