"""The lines that a .nspawn file may have: systemd.nspawn(5), up to systemd 260. Capitals count."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LIMITS = "CPU FSIZE DATA STACK CORE RSS NOFILE AS NPROC MEMLOCK LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"
_EXEC = """\
Boot Ephemeral ProcessTwo Parameters Environment User WorkingDirectory PivotRoot Capability DropCapability
AmbientCapability NoNewPrivileges KillSignal Personality MachineID PrivateUsers NotifyReady SystemCallFilter
OOMScoreAdjust CPUAffinity Hostname ResolvConf Timezone LinkJournal SuppressSync"""
_FILES = """\
ReadOnly Volatile Bind BindReadOnly BindUser BindUserShell TemporaryFileSystem Inaccessible Overlay OverlayReadOnly
PrivateUsersChown PrivateUsersOwnership"""
_NETWORK = "Private VirtualEthernet VirtualEthernetExtra Interface MACVLAN IPVLAN Bridge Zone Port NamespacePath"
KEYS: Mapping[str, frozenset[str]] = {
    "Exec": frozenset([*_EXEC.split(), *(f"Limit{name}" for name in _LIMITS.split())]),
    "Files": frozenset(_FILES.split()),
    "Network": frozenset(_NETWORK.split()),
}


def unknown(section: str, key: str) -> str:
    """What of a line systemd-nspawn does not know; "" for nothing. What begins with X- is anybody's."""
    if section.startswith("X-") or key.startswith("X-"):
        return ""
    if not section:
        return f"{key} stands in no section"
    if section not in KEYS:
        return f"there is no section [{section}]"
    if not re.fullmatch("[A-Za-z]+", key):
        return "it has not the form KEY=VALUE"
    return "" if key in KEYS[section] else f"[{section}] has no {key}="
