"""What containers.conf says: how each key is read, and the one file that sets them all."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from deploys.core import templates
from deploys.core.change import Change, Context, WriteFile
from deploys.engines.defaults import Default, Put
from facts.core.reading import known
from facts.engines.podman.podman import DROP_IN, SETTINGS, Podman, PodmanReading

# Podman reads the new file in place of all others: what is no TOML, or of another type, is refused.
VALIDATE = "CONTAINERS_CONF={} timeout 60 podman info --format ok >/dev/null"
Row = Default[PodmanReading]


def setting(podman: PodmanReading, key: str, default: Any = None) -> Any:
    """What a key is set to; Podman's own default where no file sets it."""
    found = known(podman.settings).get(key)
    return default if found is None else found.value


def said(podman: PodmanReading, key: str, default: Any = None) -> str:
    """How a key is set, and by which file."""
    found, name = known(podman.settings).get(key), key.partition(".")[2]
    if found is None and default in (None, ""):
        return f"no file sets {name}"
    value = default if found is None else found.value
    where = f" ({found.file})" if found else ", as no file sets it"
    return f"{name} is {value if isinstance(value, str) else json.dumps(value)}{where}"


def set_later(podman: PodmanReading, put: Put) -> Iterator[str]:
    """Files that are read after hullproof's, and set one of these keys."""
    for key in put:
        found = known(podman.settings).get(key)
        if found and found.file > DROP_IN and found.file.startswith(f"{SETTINGS}/"):
            yield found.file


def write(context: Context, put: Put, what: str) -> Iterator[Change]:
    """The drop-in, with these keys and those that are in it already."""
    before = known(context.survey[Podman].drop_in)
    text = rendered({**_own(before), **put})
    if text != before:
        yield WriteFile("podman", what, path=DROP_IN, text=text, before=before, validate=VALIDATE)


def rendered(put: Put) -> str:
    """TOML's strings, numbers and lists of strings are written as JSON's."""
    tables: dict[str, dict[str, str]] = {}
    for key, value in sorted(put.items()):
        table, _, name = key.partition(".")
        tables.setdefault(table, {})[name] = json.dumps(value, ensure_ascii=False)
    return templates.render("engines/podman/containers.conf.j2", tables=tables)


def _own(text: str | None) -> dict[str, Any]:
    """What hullproof set before; nothing where somebody has broken the file."""
    try:
        tables = tomllib.loads(text or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
    return {f"{table}.{key}": value for table, keys in tables.items() if isinstance(keys, dict)
            for key, value in keys.items()}  # fmt: skip
