"""A host with user namespaces and ranges, judged and planned for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deploys.core.change import Context
from deploys.userns.controls import UsernsRules
from facts.core.reading import attempt
from facts.engines.docker.docker import Docker, DockerReading
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import SysctlFile, Sysctls
from facts.userns import Range, Userns, UsernsReading, _overlaps, _rows
from tests.support import hosts
from tests.support.hosts import judged, whole


def reading(subuid: Any = "alice:100000:65536\n", subgid: Any = "alice:100000:65536\n", **more: Any) -> UsernsReading:
    passwd = more.pop("passwd", {"root": 0, "alice": 1000})
    group = more.pop("group", {"root": 0, "alice": 1000})
    ranges = _rows(subuid, subgid, passwd)
    values: dict[str, Any] = {
        "supported": True,
        "max_user_namespaces": 15000,
        "unprivileged_userns_clone": 1,
        "apparmor_restrict": None,
        "limit_file": None,
        "subuid": subuid,
        "subgid": subgid,
        "ranges": ranges,
        "machines": (),
        "lxc": (),
        "libvirt": (),
        "mapped": (),
        "passwd": passwd,
        "group": group,
        "podman_auto": None,
        "data_parents": {"/var": "755", "/var/lib": "755"},
        **more,
    }
    used = (passwd, group, *(values[name] for name in ("machines", "lxc", "libvirt", "mapped")))
    values["overlaps"] = attempt("overlaps", lambda: _overlaps(ranges, *used))
    return UsernsReading(**{**values, **more})


def docker(keys: Any = None, live: bool = False, **more: Any) -> DockerReading:
    info = {"SecurityOptions": ["name=apparmor", "name=userns"] if live else ["name=apparmor"]}
    return hosts.docker(keys, **{"info": info, **more})


SUBJECT = whole("userns")
RULES = UsernsRules(ranges=True, docker_remap=True)
LIMITED = UsernsRules(max_user_namespaces=10000)


def kernel(*files: SysctlFile, **more: Any) -> Any:
    """As much of the kernel's reading as is asked for here."""
    values = {"modules": ("br_netfilter",), "builtin": (), **more}
    return SimpleNamespace(sysctls=Sysctls({"user.max_user_namespaces": "0"}, {}, files), **values)


def context(
    userns: Any = None, engine: Any = None, rules: UsernsRules = RULES, accept: str = "", files: Any = ()
) -> Context:
    readings = {Userns: userns or reading(), Docker: engine or docker(), Kernel: kernel(*files)}
    return judged(SUBJECT, rules, readings, accept)


def both(start: int, count: int, owner: str = "other", source: str = "x") -> tuple[Range, ...]:
    return (Range("u", start, count, owner, source), Range("g", start, count, owner, source))
