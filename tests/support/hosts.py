"""A Docker host to judge and to plan on: its readings, any part of which a test can give otherwise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from deploys.core.change import Context, Subject
from deploys.core.control import judge
from deploys.core.policy import Policy, Rules
from deploys.subjects import SUBJECTS
from facts.containers import Container as Listed
from facts.containers import ContainersReading
from facts.core.reading import Section, Unknown
from facts.core.survey import Survey
from facts.core.system import System, SystemReading
from facts.engines.docker.docker import Container, DaemonJson, DockerReading, Stored, Unit
from facts.engines.podman.podman import Podman
from facts.networks.forward import Filter
from facts.networks.networks import Networks, NetworksReading
from facts.processes import NAMESPACES, Limits, Process

SYSTEM = SystemReading(
    id="debian", id_like=(), version_id="13", pretty_name="Debian 13", architecture="x86_64", hostname="h", uid=0,
    clock=0, systemd=True, container=None,
)  # fmt: skip
NO_PODMAN = Podman.parse(Section({}))
DEFAULT_MASK = 0xA80425FB  # the capabilities that Docker leaves a container
OF_HOST = {kind: number for number, kind in enumerate(NAMESPACES)}
NUMBERS = count(1000)


def container(name: str = "web", **more: Any) -> Container:
    """A container as `docker run` starts it, without a word about its safety."""
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Container)}
    values |= {"id": f"id-{name}", "name": name, "pid": 7, "started": name, "networks": ("bridge",)}
    values |= dict.fromkeys(("privileged", "auto_remove"), False)
    values |= dict.fromkeys(("security_opt", "cap_add", "devices"), ())
    return Container(**{**values, **more})


def docker(keys: dict[str, Any] | None = None, **more: Any) -> DockerReading:
    """Debian 13's Docker, running; `keys` are those of daemon.json, None where there is no such file."""
    values: dict[str, Any] = {
        "installed": True,
        "package": "docker.io",
        "package_version": "26.1.5",
        "running": True,
        "version": "26.1.5",
        "daemon_json": DaemonJson("/etc/docker/daemon.json", None if keys is None else json.dumps(keys), keys or {}),
        "keys_known": ("icc", "userns-remap", "seccomp-profile", "default-network-opts"),
        "can_validate": True,
        "flags": {},
        "info": {"SecurityOptions": ["name=apparmor"]},
        "stored": Stored((), 0, (), ()),
        "proxies": 0,
        "unit": Unit(),
    }
    values |= dict.fromkeys(("networks", "containers", "files", "group_users", "listeners", "log"), ())
    return DockerReading(**{**values, **more})


def networks(**more: Any) -> NetworksReading:
    """A host with no bridge, on which bridged frames meet iptables, as Docker 26 leaves it."""
    values: dict[str, Any] = {
        **dict.fromkeys(("br_netfilter", "unit_enabled"), True),
        **{key: {} for key in ("own", "files", "addresses")},
        **{"nf_call": {"iptables": 1, "ip6tables": 1}, "connection": "ens3", "forwarding4": 1, "forwarding6": 0},
        **dict.fromkeys(("filter4", "filter6"), Filter("DROP", "ACCEPT", ())),
    }
    return NetworksReading(**{**dict.fromkeys(NetworksReading.__dataclass_fields__, ()), **values, **more})


def beside(docker: Any, *running: Listed, also: tuple[str, ...] = ()) -> ContainersReading:
    """Engines and containers of a host with this Docker, and the engines `also`."""
    there = ("docker",) if getattr(docker, "installed", True) else ()
    asked = Unknown("not asked")
    return ContainersReading((*there, *also), running, unlisted=(), namespaces=OF_HOST, mounts=asked, masked=())


def process(**more: Any) -> Process:
    """A container's first process as `docker run` starts it, in namespaces of its own, with the host's ids."""
    values: dict[str, Any] = {
        **dict.fromkeys(("cap_eff", "cap_bnd"), DEFAULT_MASK),
        **{"name": "sh", "uid_map": ((0, 0, 4294967295),), "seccomp": 2, "no_new_privs": True, "cap_amb": 0},
        **{"label": "docker-default (enforce)", "cgroup": "/docker/x", "limits": Limits(), "mounts": (), "nodes": ()},
        "namespaces": {kind: next(NUMBERS) for kind in NAMESPACES},
    }
    return Process(**{**values, **more})


def listed(name: str = "web", engine: str = "podman", user: int = 0, **of_process: Any) -> Listed:
    """A running container as its engine's files show it, without a seccomp filter of its own."""
    return Listed(engine, user, f"id-{name}", name, next(NUMBERS), None, process(**of_process))


def whole(name: str) -> Subject:
    """A subject with what every container engine adds to it."""
    return next(subject for subject in SUBJECTS if subject.name == name)


def judged(subject: Subject, rules: Rules, readings: Mapping[Any, Any], accept: str = "", *others: Rules) -> Context:
    """What a subject plans from: its own controls judged on these readings. `accept` are names, with blanks
    between; `others` are rules of other subjects that its controls look at."""
    survey = Survey({Networks: networks(), System: SYSTEM, Podman: NO_PODMAN, **readings})
    policy = Policy("test", {type(part): part for part in (rules, *others)}, accept=frozenset(accept.split()))
    return Context(survey, policy, {f.control.id: f for f in judge(subject.controls, survey, policy)})
