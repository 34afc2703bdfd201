"""libvirt's own files: how each key is read, edited in its place, and put in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploys.core import templates
from deploys.core.change import Activate, Blocked, Change, Context, Service, WriteFile
from deploys.core.control import some
from deploys.engines.defaults import Default, Put
from facts.containers import Containers
from facts.core.reading import Unknown, known
from facts.engines.libvirt.conf import Entry, Value, read_conf
from facts.engines.libvirt.libvirt import FOLDER, MODULAR, Conf, Libvirt, LibvirtReading

Row = Default[LibvirtReading]
NO_FILE = Conf(None, {}, "")


def setting(libvirt: LibvirtReading, file: str, key: str, default: Value) -> Value:
    """What a key is set to; libvirt's own default where its file does not set it."""
    found = known(libvirt.files.get(file, NO_FILE).keys).get(key)
    return default if found is None else found.value


def said(libvirt: LibvirtReading, file: str, key: str, default: Value) -> str:
    """How a key is set, and where."""
    found = known(libvirt.files.get(file, NO_FILE).keys).get(key)
    if found is None:
        return f"{key} is {default!r}, as {FOLDER}/{file}.conf does not set it"
    return f"{key} is {found.value!r} ({FOLDER}/{file}.conf:{found.line})"


def serving(libvirt: LibvirtReading) -> tuple[str, ...]:
    """The daemons that start domains: libvirtd, or one for each driver."""
    modular = tuple(name for name in MODULAR if name in libvirt.daemons)
    if "libvirtd" not in libvirt.daemons or not modular:
        return modular or libvirt.daemons[:1]
    units = known(libvirt.units)
    answers = [unit for kind in ("service", "socket") if (unit := units.get(f"libvirtd.{kind}"))]
    return ("libvirtd",) if any(unit.active for unit in answers) else modular


def pending(libvirt: LibvirtReading) -> str:
    """What a running daemon has not read yet."""
    for daemon, files in known(libvirt.stale).items():
        if files and daemon in serving(libvirt):
            return f"{some(files)} was changed after {daemon} started, which reads it only when it starts"
    return ""


def write(context: Context, put: Put, what: str) -> Iterator[Change]:
    """Each file with its keys (`FILE.KEY`); a restart alone where they are in it already."""
    libvirt, service = context.survey[Libvirt], libvirt_service(context)
    by_file: dict[str, dict[str, Value]] = {}
    for name, value in put.items():
        file, _, key = name.partition(".")
        by_file.setdefault(file, {})[key] = value
    changes = [_written(file, keys, libvirt, service) for file, keys in sorted(by_file.items())]
    yield from filter(None, changes)
    if not any(changes):
        yield Activate("libvirt", service.what, service=service, interrupts=service.interrupts)


def _written(file: str, keys: Mapping[str, Value], libvirt: LibvirtReading, service: Service) -> Change | None:
    path, before = f"{FOLDER}/{file}.conf", known(libvirt.files.get(file, NO_FILE).text)
    what = f"set {', '.join(f'{key} = {rendered(value)}' for key, value in keys.items())} in {path}"
    try:
        text = edited(before or "", keys)
    except ValueError as error:
        return Blocked("libvirt", what, why=str(error))
    if text == before:
        return None
    mode, owner = ("0600", "root:root") if before is None else ("", "")  # "": as it was
    return WriteFile("libvirt", what, path=path, text=text, before=before, mode=mode, owner=owner, service=service,
                     interrupts=service.interrupts)  # fmt: skip


def edited(text: str, keys: Mapping[str, Value]) -> str:
    """The text with these keys set, and all else as it was: libvirt ignores a second line for a key, so the value of
    the first is changed; a key that is not set is put below the line that shows it as a comment, or at the end."""
    before = read_conf(text)
    after = text
    for key, value in keys.items():
        after = _with(after, read_conf(after).get(key), key, rendered(value))
    found = {key: entry.value for key, entry in read_conf(after).items()}
    if found != {key: entry.value for key, entry in before.items()} | dict(keys):
        raise ValueError("the file cannot be edited so that all its other keys stay as they are")
    return after


def _with(text: str, entry: Entry | None, key: str, value: str) -> str:
    if entry:
        return f"{text[: entry.start]}{value}{text[entry.end :]}"
    line = f"{key} = {value}"
    lines = text.split("\n")
    shown = [number for number, row in enumerate(lines) if row.startswith(f"#{key} =")]
    if shown:
        return "\n".join([*lines[: shown[0] + 1], line, *lines[shown[0] + 1 :]])
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"


def rendered(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[ {', '.join(rendered(each) for each in value)} ]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def libvirt_service(context: Context) -> Service:
    """The daemons that start domains: the same for every file of a run."""
    libvirt = context.survey[Libvirt]
    daemons = serving(libvirt)
    words = f"DAEMONS='{' '.join(daemons)}'\nDRIVERS='{' '.join(known(libvirt.drivers))}'\n"
    units = " ".join(f"-u {daemon}.service" for daemon in daemons)
    return Service(
        "libvirt",
        activate=words + templates.text("engines/libvirt/activate.sh"),
        healthy=words + templates.text("engines/libvirt/healthy.sh"),
        explain=f"journalctl -q {units} -p warning -n 8 --no-pager -o cat",
        seconds=60,
        interrupts=_interrupts(context, daemons),
        does=f"restart {' and '.join(daemons)} with the new settings",
    )


def _interrupts(context: Context, daemons: tuple[str, ...]) -> str:
    clients = "virt-manager, virsh console, a migration that runs"
    restarts = f"restarts {' and '.join(daemons)}: its clients ({clients}) are cut off"
    reading = context.survey[Containers]
    if isinstance(reading.containers, Unknown) or isinstance(reading.guests, Unknown):
        return f"{restarts}; containers and guests keep running"
    names: list[Any] = [each.name for each in reading.containers if each.engine == "libvirt" and not each.user]
    names += [guest.name for guest in reading.guests if guest.name]
    return (
        f"{restarts}; containers and guests keep running: {some(names, 8)}" if names else f"{restarts}; no domain runs"
    )
