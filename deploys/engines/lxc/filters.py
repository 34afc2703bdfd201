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
USERS = "[0,0x10000000,SCMP_CMP_MASKED_EQ,0x10000000]"
REFUSING = "(errno +[1-9][0-9]*|kill|trap)"


def _rows(text: str) -> tuple[bool, list[tuple[str, str]]]:
    """Whether it lists what is allowed, and its rows, each with the section that it is in. UnknownReading for the old
    form, of numbers, and for a list whose other action is not understood."""
    lines = [line.partition("#")[0].strip() for line in text.split("\n")]
    rows = [line for line in lines if line]
    if len(rows) < 2 or rows[0] != "2":
        raise UnknownReading("the seccomp profile is of version 1, a list of numbers")
    kind = re.fullmatch(rf"((?P<some>allowlist|whitelist)( +{REFUSING})?|denylist|blacklist)", rows[1])
    if not kind:
        raise UnknownReading(f"the seccomp profile begins with {rows[1][:60]}")
    return bool(kind["some"]), list(_sections(rows[2:]))


def _sections(rows: list[str]) -> Iterator[tuple[str, str]]:
    section = "[all]"
    for row in rows:
        if row.startswith("["):
            section = row
        else:
            yield section, row


def refused(text: str) -> dict[str, bool]:
    """The calls that a denylist refuses on every architecture, and whether with some arguments alone."""
    found: dict[str, bool] = {}
    for section, row in _rows(text)[1]:
        name = row.split()[0]
        if denied := re.fullmatch(rf"[a-z0-9_]+( +{REFUSING})?(?P<when> *\[.*)?", row):
            if section == "[all]":
                found[name] = bool(denied["when"]) and not (name in PARTLY and denied["when"].strip() == USERS)
        else:
            found.pop(name, None)
    return found


def _listed(text: str) -> set[str]:
    """The calls that a list of what is allowed names, with some arguments or for some architecture alone too."""
    refusing = re.compile(rf"[a-z0-9_]+ +{REFUSING}")
    return {row.split()[0] for _, row in _rows(text)[1] if not refusing.fullmatch(row)}


def _open(text: str, wanted: frozenset[str]) -> list[str]:
    """Which of these calls a filter lets through."""
    if _rows(text)[0]:
        return sorted(wanted & _listed(text))
    calls = refused(text)
    return sorted(call for call in wanted if calls.get(call, True))


REFUSED = {name: frozenset(refused(text)) - {"reject_force_umount"} for name, text in TEXTS.items()}


def _weak(lxc: LxcReading, wanted: str) -> str:
    line = lxc.last(KEY)
    if not line:
        return f"no line sets {KEY}: containers have every system call"
    text = lxc.filters.get(line.value)
    if text is None:
        return f"the seccomp profile {line.value} ({line.at}) is not there: no container starts"
    missing = _open(known(text), REFUSED[wanted])
    return f"the seccomp profile {line.value} ({line.at}) allows {some(missing)}" if missing else ""


def _more(text: str, wanted: str) -> bool:
    """Whether a filter refuses what hullproof's does not."""
    allowing, rows = _rows(text)
    names = {row.split()[0] for _, row in rows} - REFUSED[wanted] - {"reject_force_umount"}
    return allowing or bool(names) or any(row.split()[0] in PARTLY and not row.endswith(USERS) for _, row in rows)


def _put(lxc: LxcReading, wanted: str) -> Put:
    line = lxc.last(KEY)
    text = known(lxc.filters.get(line.value)) if line else None
    return {} if text is not None and _more(text, wanted) else {KEY: PATHS[wanted]}


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
    by_hand=f"have the filter refuse them, or set {KEY} in the file that lxc-create copies",
)
