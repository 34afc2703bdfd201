"""libvirt: what it gives the containers and guests that it starts from now on, and who may speak to its API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.core.change import Blocked, Change, Command, Context, Subject, by_hand, mending
from deploys.core.control import Control, Impact, Severity, Verdict, failed, only_where, passed, some, undeclared
from deploys.core.policy import Policy
from deploys.engines.defaults import Defaults
from deploys.engines.libvirt import domains, owned
from deploys.engines.libvirt.defaults import API, ROWS
from deploys.engines.libvirt.domains import absent
from deploys.engines.libvirt.rules import LibvirtRules
from deploys.engines.libvirt.settings import pending, said, setting, write
from facts.containers import Containers
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.libvirt.libvirt import FOLDER, Libvirt, LibvirtReading, Unit
from facts.networks.bridges import Bridges
from facts.userns import Userns

PACKAGES = ("libvirt-daemon*",)
PORTS = ("tcp", "tls")
DEFAULTS = Defaults(
    subject="libvirt",
    shown="libvirt",
    fact=Libvirt,
    rules=LibvirtRules,
    installed=lambda libvirt: bool(libvirt.daemons),
    rows=ROWS,
    files=tuple(f"{FOLDER}/{name}.conf" for name in ("lxc", "qemu", "libvirtd", "virtqemud", "virtlxcd")),
    packages=PACKAGES,
    write=write,
    pending=pending,
    impact=Impact.RESTART,
)


@only_where(absent)
def _settings(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: the driver whose file cannot be read does not start."""
    files = survey[Libvirt].files.values()
    if broken := [file.broken for file in files if file.broken]:
        reason = f"libvirt starts without what reads this file, and says so only in its log: {some(broken)}"
        return failed(reason, declared="files that libvirt can read", disk=broken)
    if lost := [f"{each.file}: {each.why}" for each in survey[Libvirt].unread if each.broken]:
        return failed(f"libvirt knows no domain by {some(lost)}", declared="files that libvirt can read", disk=lost)
    for file in files:
        known(file.text)
    return passed("libvirt's files can be read", declared="files that libvirt can read", disk=[])


@only_where(absent, undeclared(LibvirtRules, "libvirt.tcp"))
def _tcp(survey: Survey, policy: Policy) -> Verdict:
    declared, libvirt = policy[LibvirtRules].tcp, survey[Libvirt]
    refused = PORTS if declared == "none" else ("tcp",)
    disk = [f"{name} is enabled" for name, unit in _port_units(libvirt, refused) if unit.enabled]
    live = [f"{name} listens" for name, unit in _port_units(libvirt, refused) if unit.active]
    if known(libvirt.listening):
        disk += [said(libvirt, "libvirtd", f"listen_{port}", int(port == "tls")) for port in refused
                 if setting(libvirt, "libvirtd", f"listen_{port}", int(port == "tls")) != 0]  # fmt: skip
    if declared == "tls":
        disk += [said(libvirt, name, "tls_no_verify_certificate", 0) for name in libvirt.daemons
                 if setting(libvirt, name, "tls_no_verify_certificate", 0) != 0]  # fmt: skip
    if wrong := disk + live:
        reason = f"{some(wrong)}; the policy wants {declared} (libvirt.tcp)"
        return failed(reason, declared=declared, disk=disk, live=live)
    return passed("libvirt's API is not on the network without certificates", declared=declared, disk=[], live=[])


def _port_units(libvirt: LibvirtReading, ports: Iterable[str]) -> Iterator[tuple[str, Unit]]:
    units = known(libvirt.units)
    for name in (f"{daemon}-{port}.socket" for port in ports for daemon in ("libvirtd", "virtproxyd")):
        if name in units:
            yield name, units[name]


@only_where(absent, undeclared(LibvirtRules, "libvirt.trusted_users"))
def _users(survey: Survey, policy: Policy) -> Verdict:
    trusted, members = policy[LibvirtRules].trusted_users or [], survey[Libvirt].members
    if others := [name for name in members if name not in trusted]:
        reason = f"{some(others)} can become root by libvirt's API, as members of the group libvirt"
        wants = f"the policy trusts {some(trusted) or 'nobody'} (libvirt.trusted_users)"
        return failed(f"{reason}; {wants}", declared=trusted, disk=list(members))
    return passed("only trusted users are members of the group libvirt", declared=trusted, disk=list(members))


def plan(context: Context) -> Iterator[Change]:
    yield from DEFAULTS.plan(context)
    if context.failing("libvirt.tcp"):
        yield from mending(["libvirt.tcp"], _close(context))
    yield from owned.plan(context)


def _close(context: Context) -> Iterator[Change]:
    libvirt, declared = context.survey[Libvirt], context.policy[LibvirtRules].tcp
    found = [
        (n, u) for n, u in _port_units(libvirt, PORTS if declared == "none" else ("tcp",)) if u.active or u.enabled
    ]
    if not found:
        yield by_hand(context.findings["libvirt.tcp"])
        return
    names = " ".join(name for name, _ in found)
    what = f"stop {names}, and have no boot start it"
    if not context.accepts(API):
        why = "programs on other machines that speak to libvirt over this port lose it"
        yield Blocked("libvirt", what, why=why, accepts=(API,))
        return
    was = [f"systemctl -q {verb} {name}" for name, unit in found
           for verb, true in (("enable", unit.enabled), ("start", unit.active)) if true]  # fmt: skip
    yield Command("libvirt", what, script=f"systemctl -q disable --now {names}", undo=" && ".join(was),
                  interrupts="clients of libvirt's API on other machines")  # fmt: skip


CONTROLS = (
    Control(
        id="libvirt.settings",
        title="libvirt can read its files",
        severity=Severity.HIGH,
        why="libvirt starts without the driver whose file is broken: no container or guest of it can be started or "
        "stopped, and only the log says why.",
        check=_settings,
        by_hand="correct the file in the line that the finding names, and restart libvirt",
    ),
    *DEFAULTS.controls(),
    Control(
        id="libvirt.tcp",
        title="libvirt's API is not on the network without certificates",
        severity=Severity.HIGH,
        why="Whoever speaks to the API starts containers that are root on the host.",
        check=_tcp,
        references=("NIST-800-190-4.5.1",),
        packages=PACKAGES,
        by_hand="set listen_tcp (and listen_tls) to 0 in /etc/libvirt/libvirtd.conf, or take --listen from the command "
        "line of libvirtd",
    ),
    Control(
        id="libvirt.api-users",
        title="Only trusted users are members of the group libvirt",
        severity=Severity.MEDIUM,
        why="Its members start containers that are root on the host, without a password.",
        check=_users,
        references=("NIST-800-190-4.5.1",),
        files=("/etc/group",),
        by_hand="take these users from the group (gpasswd -d USER libvirt), or name them in libvirt.trusted_users",
    ),
    *domains.CONTROLS,
)

SUBJECT = Subject(
    name="libvirt",
    rules=LibvirtRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Libvirt, Containers, Userns, Bridges),
    accepts=(API, owned.DOMAINS),
    undoing=owned.remarks,
    unproved="a file says what domains get that are started later; what a container really gets is attacked as "
    "libvirt.confined",
    installed=lambda survey: bool(survey[Libvirt].daemons),
)
