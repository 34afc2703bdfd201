"""The rows of systemd-nspawn@.service (systemd-nspawn(1)): what machines get that systemd starts from now on."""

from __future__ import annotations

from typing import Any

from deploys.core.control import Severity, some
from deploys.engines.defaults import Put
from deploys.engines.nspawn.start import Row, limit
from facts.capabilities import CAPABILITIES
from facts.core.numbers import whole_number
from facts.core.reading import known
from facts.engines.nspawn.nspawn import TEMPLATE, NspawnReading, Start

# What a machine has without a word, and with a network of its own NET_ADMIN too (systemd-nspawn(1), --capability=).
SHIPPED = frozenset(
    (
        "AUDIT_CONTROL", "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_OWNER",
        "KILL", "LEASE", "LINUX_IMMUTABLE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW",
        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE",
        "SYS_RESOURCE", "SYS_TTY_CONFIG",
    )
)  # fmt: skip
NAMESPACE = "--network-namespace-path"
NETWORKS = (
    "--private-network", "--network-veth", "-n", "--network-veth-extra", "--network-bridge", "--network-zone",
    "--network-macvlan", "--network-ipvlan", "--network-interface", NAMESPACE,
)  # fmt: skip
NAMED = ("/run/netns/", "/var/run/netns/")  # where ip-netns(8) has those that it makes
BY_HAND = f"set it in a drop-in of {TEMPLATE}"


def _started(reading: NspawnReading) -> Start:
    return known(reading.start)


def _shares_ids(reading: NspawnReading, wanted: Any) -> str:
    start = _started(reading)
    value = start.last("--private-users", "-U")
    if value is None:
        return "machines have the host's own ids: their root is the host's"
    first = value.partition(":")[0]
    own = value == "" or first in ("pick", "yes", "true") or (whole_number(first) or 0) >= 65536
    return "" if own else f"--private-users is {value}"


def _heeds(reading: NspawnReading, wanted: str) -> str:
    mode = _started(reading).last("--settings") or "yes"
    within = ("no", "false", "0") if wanted == "no" else ("trusted", "no", "false", "0")
    return "" if mode in within else f"--settings is {mode}: .nspawn files weaken what systemd starts machines with"


def _held(reading: NspawnReading, wanted: list[str]) -> str:
    start = _started(reading)
    added = _capabilities(start, "--capability")
    have = SHIPPED | (frozenset(CAPABILITIES) if "ALL" in added else added)
    held = sorted(set(wanted) & have - _capabilities(start, "--drop-capability"))
    return f"machines keep {some(held, 12)}" if held else ""


def _capabilities(start: Start, option: str) -> frozenset[str]:
    return frozenset(name.upper().removeprefix("CAP_") for name in start.all(option))


def _drop(reading: NspawnReading, wanted: list[str]) -> Put:
    names = sorted(_capabilities(_started(reading), "--drop-capability") | set(wanted))
    return {"--drop-capability": ",".join(f"CAP_{name}" for name in names)}


def _filters(start: Start) -> list[str]:
    """Each a call or a group: systemd-nspawn splits them at blanks alone, and the start has none in its words."""
    return start.values("--system-call-filter")


def _refused(start: Start) -> list[str]:
    return [word.removeprefix("~") for word in _filters(start) if word.startswith("~")]


def _allowed(reading: NspawnReading, wanted: list[str]) -> str:
    start = _started(reading)
    if start.filtered is False:
        return "SYSTEMD_SECCOMP in the unit's environment takes the filter away"
    allowed = [word for word in _filters(start) if not word.startswith("~") and word in wanted]
    if missing := [call for call in wanted if call not in _refused(start)] or allowed:
        return f"machines may make {some(missing, 12)}"
    known(start.filtered)
    return ""


def _refuse(reading: NspawnReading, wanted: list[str]) -> Put:
    """Each for itself, so that no word of it holds a blank."""
    start = _started(reading)
    if start.filtered is False:
        return {}
    more = [word for word in _filters(start) if word.lstrip("~") not in wanted]
    return {"--system-call-filter": " ".join([*more, *(f"~{call}" for call in wanted)])}


def _gains(reading: NspawnReading, wanted: Any) -> str:
    value = _started(reading).last("--no-new-privileges")
    return "" if value in ("yes", "true", "1", "on") else f"--no-new-privileges is {value or 'not given'}"


def _shares_network(reading: NspawnReading, wanted: Any) -> str:
    start = _started(reading)
    if foreign := [path for path in start.values(NAMESPACE) if not path.startswith(NAMED) or ".." in path]:
        return f"{NAMESPACE} is {some(foreign)}: it may be the host's network"
    given = {option for option, _ in start.options()}
    return "" if given & set(NETWORKS) else "machines share the host's network"


def _own_network(reading: NspawnReading, wanted: Any) -> Put:
    """No machine starts with both."""
    return {} if _started(reading).values(NAMESPACE) else {"--network-veth": True}


def _limit(name: str) -> Any:
    def wrong(reading: NspawnReading, wanted: int) -> str:
        limits = _started(reading).limits
        value = limits[name]
        if value is None or value > wanted:
            return f"{name} of machines is {'infinity' if value is None else value}"
        return "machines swap without a limit" if name == "MemoryMax" and limits["MemorySwapMax"] != 0 else ""

    return wrong


def _memory(reading: NspawnReading, wanted: int) -> Put:
    """A limit that is lower stays as it is."""
    own = _started(reading).limits["MemoryMax"]
    lower = own is not None and own <= wanted
    return {"MemorySwapMax": 0} if lower else {"MemoryMax": wanted, "MemorySwapMax": 0}


ROWS = (
    Row(
        name="user-namespace",
        title="Each machine of systemd-nspawn gets ids of its own",
        severity=Severity.HIGH,
        why="Whoever gets out of a machine as root is root on the host, unless its ids are mapped to others.",
        references=("NIST-800-190-4.4.3",),
        wrong=_shares_ids,
        put=lambda reading, wanted: {"--private-users": "pick", "--private-users-ownership": "auto"},
        by_hand=BY_HAND,
    ),
    Row(
        name="settings",
        title="No .nspawn file weakens what systemd starts machines with",
        severity=Severity.HIGH,
        why="With --settings=override a file beside an image takes back what the unit says.",
        references=("NIST-800-190-4.4.3",),
        wrong=_heeds,
        put=lambda reading, wanted: {"--settings": wanted},
        by_hand=BY_HAND,
    ),
    Row(
        name="capabilities",
        title="Machines do not get the capabilities that the policy names",
        severity=Severity.MEDIUM,
        why="Each one widens what a taken-over process can do to the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_held,
        put=_drop,
        by_hand=BY_HAND,
    ),
    Row(
        name="refused-calls",
        title="Machines do not make the system calls that the policy names",
        severity=Severity.MEDIUM,
        why="The filter that comes with systemd-nspawn leaves open what kernels are attacked by, such as io_uring.",
        references=("NIST-800-190-4.4.3",),
        wrong=_allowed,
        put=_refuse,
        by_hand=BY_HAND,
    ),
    Row(
        name="no-new-privileges",
        title="Processes in machines gain no privileges by setuid programs",
        severity=Severity.MEDIUM,
        why="A setuid program in an image makes an ordinary user of the machine its root.",
        references=("NIST-800-190-4.4.3",),
        wrong=_gains,
        put=lambda reading, wanted: {"--no-new-privileges": "yes"},
        by_hand=BY_HAND,
    ),
    Row(
        name="private-network",
        title="Machines do not share the host's network",
        severity=Severity.HIGH,
        why="A machine in the host's network listens on its addresses, and reaches what is bound to localhost alone.",
        references=("NIST-800-190-4.4.2",),
        wrong=_shares_network,
        put=_own_network,
        by_hand=BY_HAND,
    ),
    Row(
        name="pids",
        title="Machines have a limit of tasks",
        severity=Severity.MEDIUM,
        why="A fork bomb in one machine would take the processes of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_limit("TasksMax"),
        put=lambda reading, wanted: {"TasksMax": wanted},
        first=limit,
        by_hand=BY_HAND,
    ),
    Row(
        name="memory",
        title="Machines have a limit of memory",
        severity=Severity.MEDIUM,
        why="One machine without a limit can take the memory of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_limit("MemoryMax"),
        put=_memory,
        first=limit,
        by_hand=BY_HAND,
    ),
)
