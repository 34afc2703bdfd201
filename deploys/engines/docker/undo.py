"""What a rollback does to Docker: what it interrupts, what it must not do unasked, and how it is done today."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deploys.core import templates
from deploys.core.change import Remark, Undoing
from deploys.core.control import some
from deploys.engines.docker.daemon import (
    BRIDGE_KEYS,
    REMAP,
    RESTART,
    auto_removed,
    running_names,
    take_up_script,
)
from facts.core.reading import Unknown, known
from facts.core.record import JournalEntry
from facts.engines.docker.docker import Docker, DockerReading

REMOVE = "remove-engine"  # accepting it: an engine that holds containers, volumes or images is removed; its data stays
ENGINES = frozenset(("docker.io", "docker-ce", "moby-engine", "docker-engine"))
STARTED = "start Docker"  # how the words of the commands begin that start it


def stop_script(engine: bool) -> str:
    """sh that takes back that Docker was started; with `engine`, that it was installed, too."""
    return f"ENGINE={int(engine)}\n{templates.text('engines/docker/stop.sh')}"


def remarks(undoing: Undoing) -> Iterable[Remark]:
    for entry in undoing.entries:
        if entry.subject == "docker" and entry.kind == "service":
            yield _restart(undoing, entry)
        elif (entry.kind == "command" and entry.what.startswith(STARTED)) or ENGINES & set(entry.packages):
            yield _stop(undoing, entry)


# ------------------------------------------------------------------------------------------------ the restart


def _restart(undoing: Undoing, entry: JournalEntry) -> Remark:
    """Docker takes up its old files. Containers run on where live-restore is on, even if it goes, for it goes last."""
    docker, names = undoing.context.survey[Docker], running_names(undoing.context)
    remaps, why_stop = _stops_for(undoing, docker)
    if remaps and not undoing.context.accepts(REMAP) and (lost := held(docker)):
        why = f"Docker comes back with other ids, and no longer sees what it holds now ({lost}); that stays on the disk"
        return Remark(entry.id, refused=f"{why}; allow that with --data accept={REMAP}")
    stop = undoing.context.accepts(RESTART) or (remaps and undoing.context.accepts(REMAP))
    script = take_up_script(stop, undo=True)
    allow = f"allow that with --data accept={RESTART}"
    if isinstance(names, Unknown):
        why = f"whether Docker's restart would stop containers is not known ({names.unknown}); {allow}"
        return Remark(entry.id, script=script, refused="" if stop else why, interrupts="restarts Docker")
    if not names:
        return Remark(entry.id, script=script, interrupts="restarts Docker; no container runs")
    listed = ", ".join(names)
    if not stop and why_stop:
        return Remark(entry.id, refused=f"{why_stop}: stop {listed}, or {allow}")
    if not stop:
        last = "" if _settings(undoing, docker)[1].get("live-restore") is True else ", which is taken away last"
        kept = f"restarts Docker; running containers ({listed}) keep running (live-restore{last})"
        return Remark(entry.id, script=script, interrupts=kept)
    if gone := auto_removed(docker):
        return Remark(entry.id, refused=f"started with --rm, so deleted when stopped: {gone}; stop them yourself first")
    again = "which it no longer sees afterwards" if remaps else "and starts them again"
    return Remark(entry.id, script=script, interrupts=f"restarts Docker; stops {listed}, {again}")


def _stops_for(undoing: Undoing, docker: DockerReading) -> tuple[bool, str]:
    """Whether Docker comes back with other ids for its containers; and why they cannot run on, "" where they can."""
    before, after = _settings(undoing, docker)
    info = {} if isinstance(docker.info, Unknown) else docker.info
    mapped = any("name=userns" in str(option) for option in info.get("SecurityOptions") or ())
    remaps = mapped != (after.get(REMAP) not in (None, "", "root"))
    if remaps:
        return True, "Docker comes back with other ids for its containers, so that none may outlast its restart"
    keys = sorted(key for key in BRIDGE_KEYS if before.get(key) != after.get(key))
    if keys:
        return False, f"Docker takes up {', '.join(keys)} only while no container runs"
    if info.get("LiveRestoreEnabled") is not True:
        return False, "Docker's restart would stop containers, since live-restore is off"
    return False, ""


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
    """Docker was started by the run, or installed by it, which starts it too; it stays where it holds something."""
    installed = any(ENGINES & set(other.packages) for other in undoing.entries)
    if installed and (why := _holds(undoing)):
        return Remark(entry.id, stays=why)
    names, script, accept = running_names(undoing.context), stop_script(installed), REMOVE if installed else RESTART
    allow = f"allow that with --data accept={accept}"
    if isinstance(names, Unknown):
        if not undoing.context.accepts(accept):
            why = f"whether Docker's stop would stop containers is not known ({names.unknown}); {allow}"
            return Remark(entry.id, script=script, stays=why)
        return Remark(entry.id, script=script, interrupts="stops Docker and every container that it runs")
    listed = ", ".join(names)
    if listed and not installed and not undoing.context.accepts(RESTART):
        return Remark(
            entry.id, script=script, stays=f"to stop Docker would stop {listed}: stop them yourself, or {allow}"
        )
    return Remark(entry.id, script=script, interrupts=f"stops Docker{f' and {listed}' if listed else ''}")


def _holds(undoing: Undoing) -> str:
    """Why an engine stays; "" where it may go. What is on the disk is looked at once more when it happens."""
    if undoing.context.accepts(REMOVE):
        return ""
    allow = f"allow its removal with --data accept={REMOVE}; what it holds stays on the disk"
    lost = held(undoing.context.survey[Docker])
    return f"Docker holds {lost}: {allow}" if lost else ""


def held(docker: DockerReading) -> str:
    """What the daemon holds, in words; "" where it is nothing."""
    if isinstance(docker.stored, Unknown):
        return f"what is not known: {docker.stored.unknown}"
    kinds = {"image": docker.stored.images, "container": docker.stored.containers, "volume": docker.stored.volumes}
    return "; ".join(
        f"{len(names)} {kind}{'s' * (len(names) > 1)}: {some(sorted(names), 6)}"
        for kind, names in kinds.items()
        if names
    )
