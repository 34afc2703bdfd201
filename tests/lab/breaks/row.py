"""A row of the break matrix, and what several of them say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DAEMON_JSON = "/etc/docker/daemon.json"
UNITS = "/etc/systemd/system"
ALLOW_ALL = '{"defaultAction": "SCMP_ACT_ALLOW"}'
WIDE = (
    "echo 'profile break-wide flags=(attach_disconnected,mediate_deleted) "
    "{ file, capability, network, mount, umount, pivot_root, ptrace, signal, unix, }'"
)


@dataclass(frozen=True, kw_only=True)
class Break:
    """`how` completes the sentence "on the host …"; `script` (sh) does that. `says`: the state that drift gives each
    control. `undo`: sh of whoever mends it, where harden may not. `names`: what each of the findings has to name."""

    how: str
    script: str
    says: Mapping[str, str]
    undo: str = ""
    names: str = ""


def fails(*controls: str) -> dict[str, str]:
    return dict.fromkeys(controls, "fail")
