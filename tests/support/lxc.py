"""A host with LXC, judged and planned for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from deploys.cgroups.controls import CgroupsRules
from deploys.core.change import Change, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.lxc.controls import SUBJECT
from deploys.engines.lxc.rules import LxcRules
from facts.cgroups import Cgroups, CgroupsReading
from facts.containers import Containers, ContainersReading
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.incus import Incus
from facts.engines.incus.incus import Daemon, IncusReading
from facts.engines.lxc import Lxc
from facts.engines.lxc.lxc import DEFAULT, DROP_IN, GUARDED, STRICT, LxcReading
from facts.lxc_files import Line
from facts.userns import SUBGID, SUBUID, Range, Userns, UsernsReading

START = 0x7000_0000
MAP = f"0 {START} 65536"
ROWS = tuple(Range(kind, START, 65536, "root", path) for kind, path in (("u", SUBUID), ("g", SUBGID)))
DEBIAN = "lxc.net.0.type = veth\nlxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\n"


def lxc(text: str | None = DEBIAN, **more: Any) -> LxcReading:
    rows = [line.partition("=") for line in (text or "").splitlines() if "=" in line and line[0] != "#"]
    lines = tuple(Line(key.strip(), value.strip(), f"{DEFAULT}:{n}") for n, (key, _, value) in enumerate(rows, 1))
    values: dict[str, Any] = {
        "installed": True, "path": DEFAULT, "text": text, "lines": lines, "broken": (), "ignored": (),
        "filters": {GUARDED: None, STRICT: None}, "usernet": None, "drop_in": None, "service": True, "made": (),
        "weights": ("cpu.weight", "io.weight"), "users": {}, "apparmor": True, "parser": True,
    }  # fmt: skip
    return LxcReading(**(values | more))


def userns(ranges: tuple[Range, ...] = ROWS, used: tuple[Range, ...] = ()) -> UsernsReading:
    values: dict[str, Any] = dict.fromkeys(UsernsReading.__dataclass_fields__, ())
    names = {"passwd": {"root": 0}, "group": {"root": 0}}
    files = {"subuid": "root:100000:65536\nops:1:2\n", "subgid": None}
    return UsernsReading(**(values | names | files | {"ranges": ranges, "lxc": used}))


def cgroups(version: str = "v2", controllers: int = 2) -> CgroupsReading:
    values: dict[str, Any] = dict.fromkeys(CgroupsReading.__dataclass_fields__, ())
    return CgroupsReading(**(values | {"version": version, "controllers": ("cpu", "io")[:controllers]}))


def beside(*engines: str, daemons: tuple[Daemon, ...] = ()) -> dict[Any, Any]:
    """What else is there: engines by their programs, and Incus by its socket."""
    values: dict[str, Any] = dict.fromkeys(ContainersReading.__dataclass_fields__, ())
    return {
        Containers: ContainersReading(**(values | {"engines": ("lxc", *engines)})),
        Incus: IncusReading(daemons, {}),
    }


def context(
    reading: LxcReading,
    ids: UsernsReading | None = None,
    version: str = "v2",
    below: list[str] | None = None,
    accept: tuple[str, ...] = (),
    others: dict[Any, Any] | None = None,
    **rules: Any,
) -> Context:
    host = Survey({Lxc: reading, Userns: ids or userns(), Cgroups: cgroups(version), **(others or beside())})
    policy = Policy(
        "p", {LxcRules: LxcRules(**rules), CgroupsRules: CgroupsRules(below=below)}, accept=frozenset(accept)
    )
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(reading: LxcReading, name: str, **more: Any) -> tuple[State, str]:
    finding = context(reading, **more).findings[f"lxc.{name}"]
    return finding.state, finding.verdict.reason


def written(changes: Iterable[Change]) -> dict[str, str]:
    return {change.path: change.text for change in changes if isinstance(change, WriteFile)}


def after(reading: LxcReading, changes: Iterable[Change]) -> LxcReading:
    """The host with these files."""
    files = written(changes)
    own: dict[str, str | Unknown | None] = {p: t for p, t in files.items() if p in (GUARDED, STRICT)}
    left = replace(reading, filters={**reading.filters, **own}, drop_in=files.get(DROP_IN, reading.drop_in))
    text = files.get(DEFAULT, reading.text)
    assert not isinstance(text, Unknown)
    return replace(left, text=text, lines=lxc(text).lines)
