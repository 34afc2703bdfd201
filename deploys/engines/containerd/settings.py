"""config.toml: where each key is by the version of the file, how it is read, edited in its place, and put in force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploys.core import templates
from deploys.core.change import Activate, Blocked, Change, Context, Service, WriteFile
from deploys.core.control import some
from deploys.engines.containerd.toml import edited, parts
from deploys.engines.defaults import Default, Put
from facts.containers import Containers
from facts.core.reading import Unknown, known
from facts.engines.containerd.containerd import CONFIG, Containerd, ContainerdReading

Row = Default[ContainerdReading]
RESTART = "container-restart"  # accepting it: what systemd restarts with containerd may stop its containers
VALIDATE = "timeout 60 containerd -c {} config dump >/dev/null"
CRI = "io.containerd.grpc.v1.cri"  # all of it in version 2, its server alone in version 3
SERVER, RUNTIME, IMAGES = ("server", "runtime", "images")
PLUGINS = {SERVER: CRI, RUNTIME: "io.containerd.cri.v1.runtime", IMAGES: "io.containerd.cri.v1.images"}


def major(containerd: ContainerdReading) -> int:
    """1 or 2. A version that is not known is the one whose keys the file has."""
    version = known(containerd.version) if containerd.version else ""
    return int(version.split(".")[0]) if version and version.split(".")[0].isdigit() else 1


def file_version(containerd: ContainerdReading) -> int:
    """A file without a version has the first; where there is no file, containerd's own is the newest that it knows."""
    config = known(containerd.config)
    if not config:
        return 3 if major(containerd) > 1 else 2
    version = config.get("version", 1)
    return version if isinstance(version, int) else 1


def path_of(containerd: ContainerdReading, part: str, *names: str) -> tuple[str, ...]:
    return ("plugins", PLUGINS[part] if file_version(containerd) > 2 else CRI, *names)


def setting(containerd: ContainerdReading, path: tuple[str, ...], default: Any) -> Any:
    found: Any = known(containerd.config)
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return default
        found = found[name]
    return found


def said(containerd: ContainerdReading, path: tuple[str, ...], default: Any) -> str:
    value = setting(containerd, path, None)
    if value is None:
        return f"{path[-1]} is {default!r}, as no file sets it"
    return f"{path[-1]} is {value!r} ({setter(containerd, path) or containerd.file})"


def setter(containerd: ContainerdReading, path: tuple[str, ...]) -> str:
    """The imported file that counts over containerd's own for this key. A plugin's section counts whole."""
    depth = 2 if path[0] == "plugins" else len(path)
    for file, table in reversed(containerd.imported.items()):
        found: Any = table
        for name in path[:depth]:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            return file
    return ""


def set_later(containerd: ContainerdReading, put: Put) -> Iterator[str]:
    return (file for key in put if (file := setter(containerd, parts(key))))


def unused(containerd: ContainerdReading) -> str:
    """Why the settings of the plugin for Kubernetes do not apply; "" where they do."""
    disabled = known(containerd.config).get("disabled_plugins", [])
    if any(name in disabled for name in ("cri", CRI)):
        return "containerd's plugin for Kubernetes (CRI) is disabled"
    return "" if containerd.used else "containerd's plugin for Kubernetes (CRI) is loaded, but nothing uses it"


def pending(containerd: ContainerdReading) -> str:
    if not containerd.stale or known(containerd.running) is False:
        return ""
    return f"{some(containerd.stale)} was changed after containerd started, which reads it only when it starts"


def write(context: Context, put: Put, what: str) -> Iterator[Change]:
    containerd = context.survey[Containerd]
    if blocked := _obstacle(context, containerd, what):
        yield blocked
        return
    service, before = containerd_service(context), known(containerd.text)
    try:
        text = edited(f"version = {file_version(containerd)}\n" if before is None else before, put)
    except ValueError as error:
        yield Blocked("containerd", what, why=f"{CONFIG}: {error}")
        return
    if not put or text == before:
        yield Activate("containerd", service.what, service=service, interrupts=service.interrupts)
        return
    mode, owner = ("0644", "root:root") if before is None else ("", "")  # "": as it was
    yield WriteFile("containerd", what, path=CONFIG, text=text, before=before, mode=mode, owner=owner,
                    validate=VALIDATE, service=service, interrupts=service.interrupts)  # fmt: skip


def _obstacle(context: Context, containerd: ContainerdReading, what: str) -> Blocked | None:
    if containerd.file != CONFIG:
        why = f"containerd reads {containerd.file} (--config), and hullproof changes only {CONFIG}"
        return Blocked("containerd", what, why=why)
    if file_version(containerd) < 2:
        why = f"{CONFIG} has version 1: containerd config migrate makes a newer one of it"
        return Blocked("containerd", what, why=why)
    stops = known(containerd.restarted_with)
    if stops and not context.accepts(RESTART):
        why = f"systemd restarts {some(stops)} with containerd, and that may stop containers"
        return Blocked("containerd", what, why=why, accepts=(RESTART,))
    return None


def containerd_service(context: Context) -> Service:
    return Service(
        "containerd",
        activate=templates.text("engines/containerd/activate.sh"),
        healthy=templates.text("engines/containerd/healthy.sh"),
        explain="journalctl -q -u containerd.service -p warning -n 8 --no-pager -o cat",
        seconds=60,
        interrupts=_interrupts(context),
    )


def _interrupts(context: Context) -> str:
    containerd, reading = context.survey[Containerd], context.survey[Containers]
    units = known(containerd.restarted_with)
    restarts = f"restarts containerd{f' and {some(units)}' if units else ''}: no container is started meanwhile"
    if isinstance(reading.containers, Unknown):
        return f"{restarts}; running containers keep running"
    names = [each.name for each in reading.containers if each.engine in ("containerd", "docker") and not each.user]
    return f"{restarts}; {f'these keep running: {some(names, 8)}' if names else 'no container runs'}"
