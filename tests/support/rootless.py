"""A host on which users run containers without root, judged and planned for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deploys.core.change import Context
from deploys.core.control import judge
from deploys.core.policy import Policy
from deploys.engines.rootless.controls import SUBJECT
from deploys.engines.rootless.rules import RootlessRules
from facts.apparmor import AppArmor
from facts.containers import NO_BUNDLE, Container, Containers
from facts.core.reading import Unknown
from facts.core.record import Record, RecordReading
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines.docker.docker import Docker
from facts.engines.rootless.rootless import Helper, Rootless, RootlessReading
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import SysctlFile, Sysctls
from facts.userns import Userns
from tests.support import userns
from tests.support.hosts import SYSTEM, beside, docker

NOTHING = RecordReading(None, (), (), (), (), ())
HELPERS = (Helper("/usr/bin/newuidmap", "4755", 0, ""), Helper("/usr/bin/newgidmap", "755", 0, "cap_setgid=ep"))
ROWS = "alice:100000:65536\n"
PEOPLE = {"root": 0, "alice": 1000, "bob": 1001, "till": 1002}


def reading(**more: Any) -> RootlessReading:
    given: dict[str, Any] = {"installed": True, "helpers": HELPERS, "lingering": (), "everybody": (), "listening": ()}
    return RootlessReading(**given | more)


def ids(rows: Any = ROWS, gids: Any = None, **more: Any) -> Any:
    return userns.reading(rows, rows if gids is None else gids, passwd=PEOPLE, group={"root": 0}, **more)


def of(user: int, name: str) -> Container:
    return Container("podman", user, "", name, 77, NO_BUNDLE, Unknown("not read"))


def context(
    host: RootlessReading | None = None, *running: Container, of_ids: Any = None, accept: str = "", profiles: Any = (),
    boot: str = "", record: RecordReading = NOTHING, **rules: Any,
) -> Context:  # fmt: skip
    engine = docker({})
    files = (SysctlFile("/etc/sysctl.d/60.conf", boot),)
    survey = Survey({Rootless: host or reading(), Containers: beside(engine, *running), Docker: engine, System: SYSTEM,
                     Userns: of_ids or ids(), Kernel: SimpleNamespace(sysctls=Sysctls({}, {}, files)),
                     AppArmor: SimpleNamespace(profiles=profiles), Record: record})  # fmt: skip
    policy = Policy("p", {RootlessRules: RootlessRules(**rules)}, accept=frozenset(accept.split()))
    return Context(survey, policy, {f.control.id: f for f in judge(SUBJECT.controls, survey, policy)})
