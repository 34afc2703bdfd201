"""A host with Podman, judged and planned for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from deploys.core.change import Change, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.podman.controls import SUBJECT
from deploys.engines.podman.rules import PodmanRules
from deploys.seccomp.profile import OURS
from facts.cgroups import Cgroups, CgroupsReading
from facts.containers import Container, Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.podman import Podman
from facts.engines.podman.podman import DROP_IN, SOCKET, AutoIds, PodmanReading, Setting, Socket
from facts.engines.rootless.rootless import Rootless, RootlessReading
from facts.lsm import Lsm, LsmReading
from facts.seccomp import Seccomp, SeccompReading
from facts.userns import Range, Userns, UsernsReading
from tests.support.hosts import beside, docker

KERNEL = SeccompReading((), (), (), "x86_64", "6.12.1", profiles={}, daemon_started=None)
ROWS = tuple(Range(kind, 200_000, 1 << 22, "containers", path) for kind, path in
             (("u", "/etc/subuid"), ("g", "/etc/subgid")))  # fmt: skip
LATER = "/etc/containers/containers.conf.d/zzz.conf"


def socket(enabled: bool = False, active: bool = False, now: str = "", then: str = "0660 root root",
           *listens: str) -> Socket:  # fmt: skip
    """`now` and `then`: what is there, and what systemd makes next, as mode, owner and group."""
    mode, owner, group = now.split() or ("", "", "")
    next_mode, next_owner, next_group = then.split()
    return Socket(enabled, active, mode, owner, group, next_mode, next_owner, next_group, listens or (SOCKET,))


def podman(settings: dict[str, Any] | Unknown | None = None, file: str = DROP_IN, **more: Any) -> PodmanReading:
    read = settings if isinstance(settings, Unknown) else {k: Setting(v, file) for k, v in (settings or {}).items()}
    values: dict[str, Any] = {
        "installed": True, "version": "5.4.2", "settings": read, "broken": (), "drop_in": None, "hook": None,
        "program": None, "profile": None, "auto_ids": AutoIds(), "shipped": True, "parser": True,
        "socket": socket(), "socket_drop_in": None, "filter": OURS, "volumes": (), "networks": {}, "serving": (),
        "held": (),
    }  # fmt: skip
    return PodmanReading(**(values | more))


def userns(ranges: tuple[Range, ...] = ROWS) -> UsernsReading:
    values: dict[str, Any] = dict.fromkeys(UsernsReading.__dataclass_fields__, ())
    names = {"passwd": {"root": 0, "ops": 1000}, "group": {"root": 0}}
    texts = {"subuid": f"x:1:2\n{_rows('u', ranges)}", "subgid": _rows("g", ranges) or None}
    return UsernsReading(**(values | names | texts | {"ranges": ranges, "podman_auto": None}))


def _rows(kind: str, ranges: tuple[Range, ...]) -> str:
    return "".join(f"{row.owner}:{row.start}:{row.count}\n" for row in ranges if row.kind == kind)


def context(
    reading: PodmanReading, *running: Container, ranges: Any = ROWS, accept: str = "", listening: Any = (),
    stack: Any = ("lockdown", "apparmor"), cgroups: str = "v2", **rules: Any,
) -> Context:  # fmt: skip
    rootless = RootlessReading(True, (), (), (), listening)
    groups: dict[str, Any] = {**dict.fromkeys(CgroupsReading.__dataclass_fields__, ()), "version": cgroups}
    lsm = LsmReading(stack, None, None, False, False)
    host = Survey({Podman: reading, Seccomp: KERNEL, Userns: userns(ranges), Rootless: rootless, Lsm: lsm,
                   Cgroups: CgroupsReading(**groups), Containers:
                   beside(docker(installed=False, running=False), *running, also=("podman",))})  # fmt: skip
    policy = Policy("p", {PodmanRules: PodmanRules(**rules)}, accept=frozenset(accept.split()))
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(reading: PodmanReading, name: str, **more: Any) -> tuple[State, str]:
    finding = context(reading, **more).findings[f"podman.{name}"]
    return finding.state, finding.verdict.reason


def written(changes: Iterable[Change]) -> dict[str, Any]:
    (text,) = (c.text for c in changes if isinstance(c, WriteFile) and c.path == DROP_IN)
    return {f"{table}.{key}": value for table, keys in tomllib.loads(text).items() for key, value in keys.items()}
