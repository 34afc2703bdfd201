"""Audit: auditd runs and watches the container engines' files, and denials of the LSMs and seccomp can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from deploys.audit import plan as audit_plan
from deploys.audit.watches import ROWS, WatchedPath, by_path, watched_paths
from deploys.core.boot_units import plan_units, standing_on
from deploys.core.change import Change, Context, Subject, mending
from deploys.core.control import (
    Check,
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    failed,
    in_container,
    naming_key,
    not_applicable,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.lsm.denials import explain, list_kinds, unknown_before
from facts.audit import FOLDER, Audit, Watch
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.core.system import AT_BOOT, System
from facts.denials import Denials
from facts.engines import present


class AuditRules(Rules):
    """Audit records: whether auditd keeps them, and of which files."""

    enabled: Literal[True] | None = Field(None, description="auditd is installed, and runs now and after a boot.")
    engine_files: Literal[True] | None = Field(
        None, description="Audit rules record changes to the container engines' programs, settings, units and sockets."
    )
    immutable: Literal[True] | None = Field(
        None, description="Audit rules cannot be changed before the next boot (-e 2), not even by hullproof."
    )
    denials: Literal[True] | None = Field(
        None, description="Denials of AppArmor, SELinux and seccomp can be read; the finding lists them."
    )


def on_audit(key: str, wanted: str) -> Callable[[Check], Check]:
    """Only where the policy declares `key`, on a host whose own kernel was built with auditing."""
    name = f"audit.{key}"
    where, naming = only_where(undeclared(AuditRules, name), in_container, _not_built), naming_key(name, wanted)
    return lambda check: where(naming(check))


def _not_built(survey: Survey, policy: Policy) -> str | None:
    """Only auditctl tells. Where it is not installed, its absence is the finding."""
    reading = survey[Audit]
    enabled = reading.enabled if known(reading.auditctl) is None else known(reading.enabled)
    return "this kernel was built without auditing" if enabled is None else None


@on_audit("enabled", "auditd to run, now and after a boot")
@standing_on(*audit_plan.UNITS, so="so a boot does not start auditd")
def running(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[Audit]
    if known(reading.auditctl) is None:
        reason = "auditd is not installed, so audit records are lost when the kernel's log rotates"
        return failed(reason, declared=True, disk=False, live=False)
    boot, active, enabled = known(reading.at_boot), known(reading.active), known(reading.enabled)
    live = {"service": active, "kernel": enabled}
    problems = []
    if boot not in AT_BOOT:
        problems.append(f"auditd.service is {boot or 'not installed'}, so a boot does not start it")
    if active != "active":
        problems.append("auditd is not running")
    if not enabled:
        problems.append("the kernel's auditing is off (auditctl -e)")
    if known(reading.off_on_disk):
        problems.append(f"a file in {FOLDER} has -e 0, so the next boot switches the kernel's auditing off")
    if problems:
        return failed("; ".join(problems), declared=True, disk=boot, live=live)
    return passed("auditd keeps audit records, now and after the next boot", declared=True, disk=boot, live=live)


@on_audit("engine_files", "audit rules for all of these paths")
@standing_on(*audit_plan.UNITS, so="so a boot loads no audit rule")
def engine_files(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[Audit]
    rows = watched_paths(reading, present.installed(survey))
    if not rows:
        return not_applicable("no file of a container engine is on this host")
    if known(reading.auditctl) is None:
        return failed(
            f"auditd is not installed, so {len(rows)} paths are not watched", declared=True, disk=False, live=False
        )
    on_disk, loaded = by_path(known(reading.disk)), by_path(known(reading.live))
    disk = {row.path: row.covered(on_disk) for row in rows}
    live = {row.path: row.covered(loaded) for row in rows}
    bare = [row for row in rows if not live[row.path] and not row.muted(loaded)]
    paths = ", ".join(f"{row.path} ({row.id})" for row in bare)
    muted = {row.path for row in rows if row.muted(on_disk)}
    forgotten = ", ".join(path for path in disk if not disk[path] and path not in muted)
    if all(disk.values()) and not all(live.values()) and known(reading.enabled) == 2:
        reason = f"audit rules are immutable until a reboot, which adds the rules for {paths}"
        return Verdict(State.PENDING_REBOOT, reason, declared=True, disk=disk, live=live)
    problems = list(_muted(rows, on_disk, loaded))
    problems += [f"no loaded audit rule watches {paths}"] * bool(paths)
    problems += [f"no rule in {FOLDER} watches {forgotten}, so the next boot loads none"] * bool(forgotten)
    if problems:
        return failed("; ".join(problems), declared=True, disk=disk, live=live)
    return passed(
        f"audit rules watch {len(rows)} paths of the engines, now and after the next boot",
        declared=True,
        disk=disk,
        live=live,
    )


def _muted(
    rows: Sequence[WatchedPath], disk: Mapping[str, Sequence[Watch]], live: Mapping[str, Sequence[Watch]]
) -> Iterator[str]:
    for where, watches in (("in the kernel", live), (f"in {FOLDER}", disk)):
        if rule := next(filter(None, (row.muted(watches) for row in rows)), ""):
            yield f"{rule} comes before the rules of the engines' paths {where}, so that these record nothing"


@on_audit("immutable", "immutable audit rules")
def immutable(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[Audit]
    disk, live = known(reading.immutable_on_disk), known(reading.enabled) == 2
    if disk and live:
        return passed("audit rules cannot be changed before the next boot", declared=True, disk=disk, live=live)
    if disk:
        reason = "-e 2 is on disk and takes effect at the next boot; set live, it could not be undone"
        return Verdict(State.PENDING_REBOOT, reason, declared=True, disk=disk, live=live)
    return failed("root can change and remove audit rules", declared=True, disk=disk, live=live)


@on_audit("denials", "readable denials")
def denials(survey: Survey, policy: Policy) -> Verdict:
    """A denial is the LSM at work and not a defect of the host: the finding passes, and lists the denials."""
    reading = survey[Denials]
    rows = [explain(denial) for denial in reading.this_boot]
    gap = reading.gap(reading.booted)
    after = f"; {unknown_before(gap)}" if gap else ""
    after += _lost(survey[Audit].lost)
    shown = f"{' and '.join(reading.sources)} show{'s' if len(reading.sources) == 1 else ''}"
    if not rows:
        return passed(f"{shown} no denial since boot{after}", declared=None, disk=None, live=[])
    kinds = f"{len(rows)} kind{'s' if len(rows) > 1 else ''} of denial"
    return passed(f"{shown} {kinds} since boot: {list_kinds(rows)}{after}", declared=None, disk=None, live=rows)


def _lost(records: int | Unknown | None) -> str:
    if isinstance(records, Unknown):
        return f"; it is not known how many records the kernel lost ({records.unknown})"
    return f"; the kernel lost {records} audit record{'s' if records > 1 else ''}" if records else ""


ON_UNITS = ("audit.running", "audit.engine-files")


def plan(context: Context) -> Iterator[Change]:
    reading = context.survey[Audit]
    units = audit_plan.UNITS if reading.at_boot in AT_BOOT else audit_plan.UNITS[1:]
    yield from plan_units(context, "audit", *units, controls=ON_UNITS)
    if context.failing("audit.running"):
        yield from mending(["audit.running"], audit_plan.run_auditd(reading, context.survey[System].family))
    if context.failing("audit.engine-files"):
        rows = watched_paths(reading, present.installed(context.survey))
        yield from mending(["audit.engine-files"], audit_plan.watch(reading, rows))
    if context.failing("audit.immutable"):
        yield from mending(["audit.immutable"], audit_plan.make_immutable(reading))


CONTROLS = (
    Control(
        id="audit.running",
        title="auditd keeps audit records, now and after a boot",
        severity=Severity.MEDIUM,
        why="Without auditd, denials and changes are only in the kernel's log, which drops records when many come at "
        "once and loses them when it rotates.",
        check=running,
        references=("CIS-Debian12-6.2.1.1", "CIS-Debian12-6.2.1.2", "NIST-800-190-4.5.5"),
        by_hand="install auditd, enable and start auditd.service, and switch the kernel's auditing on (auditctl -e 1)",
        packages=("audit*",),
    ),
    Control(
        id="audit.engine-files",
        title="Changes to the container engines' files are audited",
        severity=Severity.MEDIUM,
        why="Whoever replaces an engine's program, unit, settings or socket controls the host, and without audit rules "
        "leaves no trace.",
        check=engine_files,
        references=tuple(f"CIS-Docker-1.1.{number}" for number in range(3, 19)),
        by_hand=f"write a rule for each of these paths (-w PATH -p wa) to a file in {FOLDER}, and load it with "
        "augenrules --load",
    ),
    Control(
        id="audit.immutable",
        title="Audit rules cannot be changed before the next boot",
        severity=Severity.LOW,
        why="An attacker who becomes root first removes the rules that record what they do. The price is that every "
        "change of rules takes a reboot.",
        check=immutable,
        references=("CIS-Debian12-6.2.3.20",),
        impact=Impact.REBOOT,
        by_hand=f"write -e 2 to the last file in {FOLDER}, run augenrules and reboot the host",
    ),
    Control(
        id="audit.denials",
        title="Denials of AppArmor, SELinux and seccomp can be read",
        severity=Severity.LOW,
        why="An attack, or a profile that is too strict, shows first in denials, and goes unnoticed if they cannot "
        "be read. seccomp logs only processes that it kills.",
        check=denials,
        references=("NIST-800-190-4.4.3",),
        by_hand="read the denials with ausearch or journalctl -k, and decide whether they are an attack",
    ),
)
assert len({row.id for row in ROWS}) == len(ROWS)

SUBJECT = Subject(
    name="audit",
    rules=AuditRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Audit, Denials, System, *present.FACTS),
    unproved="what it brings about shows in the audit log alone, to which proofs add no attacks",
)
