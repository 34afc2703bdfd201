"""The seccomp filters that LXC reads (lxc.container.conf(5), SECCOMP): what one refuses, and hullproof's two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploys.core import templates
from deploys.core.change import Change, Context, WriteFile
from deploys.core.control import Severity, some
from deploys.engines.defaults import Put
from deploys.engines.lxc.rules import LxcRules
from deploys.engines.lxc.settings import Row
from facts.core.reading import UnknownReading, known
from facts.engines.lxc.lxc import GUARDED, STRICT, Lxc, LxcReading

KEY = "lxc.seccomp.profile"
PATHS = {"guarded": GUARDED, "strict": STRICT}
TEXTS = {name: templates.render("engines/lxc/filter.j2", strict=name == "strict") for name in PATHS}
PARTLY = ("clone", "unshare")  # of which only the flag for user namespaces is refused


def refused(text: str) -> dict[str, bool] | None:
    """The calls that a denylist refuses, and whether with some arguments alone. None for a list of what is allowed,
    which refuses all else. UnknownReading for the old form, of numbers."""
    lines = [line.partition("#")[0].strip() for line in text.split("\n")]
    rows = [line for line in lines if line]
    if len(rows) < 2 or rows[0] != "2":
        raise UnknownReading("the seccomp profile is of version 1, a list of numbers")
    if not re.match(r"(denylist|blacklist)\b", rows[1]):
        return None
    denied = (re.match(r"([a-z0-9_]+)( +(?!allow\b|notify\b)[a-z]+[^\[]*)?(\[)?", row) for row in rows[2:])
    return {row[1]: bool(row[3]) for row in denied if row}


REFUSED = {name: frozenset(refused(text) or ()) - {"reject_force_umount"} for name, text in TEXTS.items()}


def _weak(lxc: LxcReading, wanted: str) -> str:
    line = lxc.last(KEY)
    if not line:
        return f"no line sets {KEY}: containers have every system call"
    text = lxc.filters.get(line.value)
    if text is None:
        return f"the seccomp profile {line.value} ({line.at}) is not there: no container starts"
    calls = refused(known(text))
    if calls is None:
        return ""
    missing = sorted(call for call in REFUSED[wanted] if call not in calls or (calls[call] and call not in PARTLY))
    return f"the seccomp profile {line.value} ({line.at}) allows {some(missing)}" if missing else ""


def _put(lxc: LxcReading, wanted: str) -> Put:
    return {KEY: PATHS[wanted]}


def _file(context: Context) -> Iterator[Change]:
    """Containers go on naming it, so that the other one is another file."""
    lxc = context.survey[Lxc]
    name: Any = context.policy[LxcRules].seccomp
    path, text = PATHS[name], TEXTS[name]
    before = known(lxc.filters.get(path))
    if before != text:
        users = lxc.users.get(path, ())
        more = f", which counts for {some(users)} too when they start" if users else ""
        what = f"write the seccomp profile {path}{more}"
        yield WriteFile("lxc", what, path=path, text=text, before=before)


DEFAULT = Row(
    name="seccomp",
    title="LXC's containers get a seccomp filter that refuses what only a host's own root needs",
    severity=Severity.HIGH,
    why="LXC's own filter refuses five calls, and without a template a container has none: every other system call is "
    "open to attack.",
    references=("NIST-800-190-4.4.3",),
    wanted=lambda rules: rules.seccomp,
    wrong=_weak,
    put=_put,
    first=_file,
    by_hand=f"set {KEY} in the file that lxc-create copies",
)
