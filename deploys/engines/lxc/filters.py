"""The seccomp filters that LXC reads (lxc.container.conf(5), SECCOMP): what one refuses, and hullproof's two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploys.core import templates
from deploys.core.change import Change, Context, WriteFile
from deploys.core.control import Severity, some
from deploys.engines.defaults import Put
from deploys.engines.lxc.rules import LxcRules
from deploys.engines.lxc.settings import Row
from facts.core.reading import known
from facts.engines.lxc.lxc import GUARDED, STRICT, Lxc, LxcReading
from facts.lxc_files import PARTLY, PROFILE, USERS, Line, allowed, refused, rows_of

PATHS = {"guarded": GUARDED, "strict": STRICT}
TEXTS = {name: templates.render("engines/lxc/filter.j2", strict=name == "strict") for name in PATHS}


def _open(text: str, wanted: frozenset[str]) -> list[str]:
    """Which of these calls a filter lets through."""
    if rows_of(text)[0]:
        return sorted(wanted & allowed(text))
    calls = refused(text)
    return sorted(call for call in wanted if calls.get(call, True))


REFUSED = {name: frozenset(refused(text)) - {"reject_force_umount"} for name, text in TEXTS.items()}


def _weak(lxc: LxcReading, wanted: str) -> str:
    return weaker(lxc, lxc.last(PROFILE), wanted)


def weaker(lxc: LxcReading, line: Line | None, wanted: str) -> str:
    """What containers may do that have a line's filter."""
    if not line:
        return f"no line sets {PROFILE}: containers have every system call"
    text = lxc.filters.get(line.value)
    if text is None:
        return f"the seccomp profile {line.value} ({line.at}) is not there: no container starts"
    missing = _open(known(text), REFUSED[wanted])
    return f"the seccomp profile {line.value} ({line.at}) allows {some(missing)}" if missing else ""


def _more(text: str, wanted: str) -> bool:
    """Whether a filter refuses what hullproof's does not."""
    allowing, rows = rows_of(text)
    names = {row.split()[0] for _, row in rows} - REFUSED[wanted] - {"reject_force_umount"}
    return allowing or bool(names) or any(row.split()[0] in PARTLY and not row.endswith(USERS) for _, row in rows)


def _put(lxc: LxcReading, wanted: str) -> Put:
    line = lxc.last(PROFILE)
    text = known(lxc.filters.get(line.value)) if line else None
    return {} if text is not None and _more(text, wanted) else {PROFILE: PATHS[wanted]}


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
    wrong=_weak,
    put=_put,
    first=_file,
    by_hand=f"have the filter refuse them, or set {PROFILE} in the file that lxc-create copies",
)
