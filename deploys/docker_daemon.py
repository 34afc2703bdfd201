"""daemon.json and the Docker service, shared by the subjects that need keys in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploys.engine.change import Change, Context


def daemon_json(
    context: Context, subject: str, what: str, put: Mapping[str, Any], drop: tuple[str, ...] = ()
) -> Change:
    """A change that sets and unsets keys of daemon.json and has Docker take them up; Blocked, with the reason, where
    the file is broken, a key is also given as a flag, or the daemon does not know a key."""
    raise NotImplementedError
