"""The rows of libvirt's files: what it gives the containers and guests that it starts from now on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploys.core.change import Blocked, Change, Context
from deploys.core.control import Severity, some
from deploys.core.policy import Policy
from deploys.engines.defaults import Put
from deploys.engines.libvirt.settings import Row, said, serving, setting
from facts.containers import Containers
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.libvirt.libvirt import FOLDER, Libvirt, LibvirtReading

API = "libvirt-api"  # accepting it: users and programs that are not root's may lose libvirt's API
CONFINED = {"lxc": 0, "qemu": 1}  # security_default_confined where the driver's file does not set it
ROOT = ("root", "0", "+0")
NO_QEMU = "libvirt has no QEMU driver here: no guest is started"


def _drivers(survey: Survey, policy: Policy) -> str:
    return "" if known(survey[Libvirt].drivers) else "libvirt has neither the LXC nor the QEMU driver here"


def _guests(survey: Survey, policy: Policy) -> str:
    return "" if "qemu" in known(survey[Libvirt].drivers) else NO_QEMU


def _modules(libvirt: LibvirtReading, driver: str) -> list[str]:
    """The security drivers that the driver's file names; [] where libvirt takes what the kernel runs."""
    value = setting(libvirt, driver, "security_driver", ())
    return [str(each) for each in value] if isinstance(value, tuple) else [str(value)]


def _unconfined(libvirt: LibvirtReading, wanted: Any) -> str:
    running = known(libvirt.lsm)
    if not running:
        return "the kernel runs neither AppArmor nor SELinux, so libvirt confines nothing"
    return "; ".join(filter(None, (_free(libvirt, driver, running) for driver in known(libvirt.drivers))))


def _free(libvirt: LibvirtReading, driver: str, running: tuple[str, ...]) -> str:
    modules = _modules(libvirt, driver)
    if modules and not set(modules) & set(running):
        return said(libvirt, driver, "security_driver", ())
    default = CONFINED[driver]
    if setting(libvirt, driver, "security_default_confined", default) == 0:
        return said(libvirt, driver, "security_default_confined", default)
    return ""


def _confine(libvirt: LibvirtReading, wanted: Any) -> Put:
    running = known(libvirt.lsm)
    wrong = [driver for driver in known(libvirt.drivers) if running and _free(libvirt, driver, running)]
    return {f"{driver}.{key}": value for driver in wrong
            for key, value in (("security_driver", running[0]), ("security_default_confined", 1))}  # fmt: skip


def _not_required(libvirt: LibvirtReading, wanted: Any) -> str:
    lax = (d for d in known(libvirt.drivers) if setting(libvirt, d, "security_require_confined", 0) == 0)
    return "; ".join(said(libvirt, driver, "security_require_confined", 0) for driver in lax)


def _require(libvirt: LibvirtReading, wanted: Any) -> Put:
    """What gets no label without a word would not start any more: it gets one."""
    keys = ("security_default_confined", "security_require_confined")
    lax = (d for d in known(libvirt.drivers) if setting(libvirt, d, keys[1], 0) == 0)
    return {f"{driver}.{key}": 1 for driver in lax for key in keys}


def _as_root(libvirt: LibvirtReading, wanted: Any) -> str:
    wrong = [said(libvirt, "qemu", key, "") for key in ("user", "group") if setting(libvirt, "qemu", key, "") in ROOT]
    if not wrong and not libvirt.users and not setting(libvirt, "qemu", "user", ""):
        return f"{FOLDER}/qemu.conf sets no user, and there is none that the distribution has made for emulators"
    return "; ".join(wrong)


def _running_as_root(survey: Survey) -> str:
    """What a distribution's own libvirt takes where no file says anything shows in what runs."""
    guests = survey[Containers].guests
    found = [] if isinstance(guests, Unknown) else [guest.shown for guest in guests if guest.uid == 0 and guest.name]
    return f"the emulator of {some(found)} runs as root" if found else ""


def _own_user(libvirt: LibvirtReading, wanted: Any) -> Put:
    user = next(iter(libvirt.users), "")
    return {"qemu.user": user, "qemu.group": libvirt.users[user]} if user and _as_root(libvirt, wanted) else {}


def _unfiltered(libvirt: LibvirtReading, wanted: Any) -> str:
    value = setting(libvirt, "qemu", "seccomp_sandbox", -1)
    return said(libvirt, "qemu", "seccomp_sandbox", -1) if value == 0 else ""


def _unauthenticated(libvirt: LibvirtReading, wanted: Any) -> str:
    """With `none` it is the mode of the socket that says who may."""
    return "; ".join(filter(None, (_open(libvirt, daemon) for daemon in serving(libvirt))))


def _open(libvirt: LibvirtReading, daemon: str) -> str:
    if setting(libvirt, daemon, "auth_unix_rw", "polkit") != "none":
        return ""
    name = "libvirt-sock" if daemon == "libvirtd" else f"{daemon}-sock"
    sockets = [each for each in libvirt.sockets if each.path.endswith(f"/{name}")]
    wide = [f"{s.path} is {s.mode} {s.owner}:{s.group}" for s in sockets if int(s.mode, 8) & 0o002]
    if sockets and not wide:
        return ""
    seen = f", and {some(wide)}" if wide else ""
    return f"{said(libvirt, daemon, 'auth_unix_rw', 'polkit')}{seen}: any user becomes root by it"


def _authenticate(libvirt: LibvirtReading, wanted: Any) -> Put:
    return {f"{daemon}.auth_unix_rw": "polkit" for daemon in serving(libvirt) if _open(libvirt, daemon)}


def _lose(context: Context) -> Iterator[Change]:
    if not context.accepts(API):
        why = "users who are not root, and their programs, reach libvirt only as polkit's rules allow"
        yield Blocked("libvirt", "have polkit say who may speak to libvirt's API", why=why, accepts=(API,))


ROWS: tuple[Row, ...] = (
    Row(
        name="confined",
        title="libvirt confines the containers and guests that it starts",
        severity=Severity.HIGH,
        why="A container of libvirt's has no seccomp filter, and without a label it writes /proc/sysrq-trigger; a "
        "guest that takes over its emulator is a process of the host's.",
        references=("NIST-800-190-4.4.3",),
        against=_drivers,
        wrong=_unconfined,
        put=_confine,
        by_hand="boot the host with AppArmor or SELinux",
    ),
    Row(
        name="require-confined",
        title="libvirt starts no container or guest without a label",
        severity=Severity.MEDIUM,
        why="Whoever may declare a domain may declare it without confinement.",
        references=("NIST-800-190-4.4.3",),
        against=_drivers,
        wrong=_not_required,
        put=_require,
        by_hand="set security_require_confined to 1 in the file that the finding names",
    ),
    Row(
        name="unprivileged-emulators",
        title="Emulators of libvirt's guests do not run as root",
        severity=Severity.HIGH,
        why="A guest that takes over its emulator has what the emulator's user has.",
        references=("NIST-800-190-4.4.3",),
        against=_guests,
        wrong=_as_root,
        beside=_running_as_root,
        put=_own_user,
        by_hand="set user and group in /etc/libvirt/qemu.conf to an account that owns nothing else, and start the "
        "guests that the finding names again",
    ),
    Row(
        name="seccomp-sandbox",
        title="Emulators of libvirt's guests have a seccomp filter",
        severity=Severity.MEDIUM,
        why="A guest that takes over its emulator would reach all of the kernel's system calls.",
        references=("NIST-800-190-4.4.3",),
        against=_guests,
        wrong=_unfiltered,
        put=lambda libvirt, wanted: {"qemu.seccomp_sandbox": 1},
        by_hand="set seccomp_sandbox to 1 in /etc/libvirt/qemu.conf",
    ),
    Row(
        name="authenticated",
        title="Only whom polkit or SASL lets in speaks to libvirt's API",
        severity=Severity.HIGH,
        why="Whoever speaks to the API starts containers that are root on the host.",
        references=("NIST-800-190-4.5.1",),
        wrong=_unauthenticated,
        put=_authenticate,
        first=_lose,
        by_hand="set auth_unix_rw to polkit in the file that the finding names",
    ),
)
