"""Audit: auditd runs and watches the container engines' files, and what the LSMs and seccomp refuse can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import Field

from deploys.audit import plan as audit_plan
from deploys.audit.watches import ROWS, wanted
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
    not_applicable,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.lsm.denials import explain, list_kinds, unknown_before
from facts.audit import Audit
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.core.system import AT_BOOT, System
from facts.denials import Denials
from facts.engines.docker.docker import Docker


class AuditRules(Rules):
    """What the kernel records, and whether anybody keeps it."""

    enabled: Literal[True] | None = Field(None, description="auditd is installed and keeps records, now and at boot.")
    engine_files: Literal[True] | None = Field(
        None, description="Changes to the container engines' programs, settings, units and sockets are recorded."
    )
    immutable: Literal[True] | None = Field(
        None, description="Audit rules cannot be changed before the next boot (-e 2), by us neither."
    )
    denials: Literal[True] | None = Field(
        None, description="What AppArmor, SELinux and seccomp refuse can be read; the finding says it in words."
    )


def on_audit(key: str) -> Callable[[Check], Check]:
    """Only where the policy declares `key`, and the kernel is one that audits for this host."""
    return only_where(undeclared(AuditRules, f"audit.{key}"), in_container, _not_built)


def _not_built(survey: Survey, policy: Policy) -> str | None:
    """auditctl says it. Where that is not installed nothing does, and its absence is then what is wrong."""
    reading = survey[Audit]
    enabled = reading.enabled if known(reading.auditctl) is None else known(reading.enabled)
    return "this kernel was built without auditing" if enabled is None else None


@on_audit("enabled")
def running(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[Audit]
    if known(reading.auditctl) is None:
        return failed("auditd is not installed: what the kernel records is lost when its log turns over", True, False,
                      False)  # fmt: skip
    boot, active, enabled = known(reading.at_boot), known(reading.active), known(reading.enabled)
    problems = []
    if boot not in AT_BOOT:
        problems.append(f"auditd.service is {boot or 'not there'}")
    if active != "active":
        problems.append("auditd does not run")
    if not enabled:
        problems.append("the kernel's auditing is switched off")
    if problems:
        return failed("; ".join(problems), True, boot, {"service": active, "kernel": enabled})
    return passed("auditd keeps what the kernel records, now and after the next boot", True, boot,
                  {"service": active, "kernel": enabled})  # fmt: skip


@on_audit("engine_files")
def engine_files(survey: Survey, policy: Policy) -> Verdict:
    reading, docker = survey[Audit], survey[Docker]
    rows = wanted(reading, docker.installed)
    if not rows:
        return not_applicable("no container engine's file is on this host")
    if known(reading.auditctl) is None:
        return failed(f"auditd is not installed: {len(rows)} paths are not watched", True, False, False)
    disk = {row.path: row.covered(known(reading.disk)) for row in rows}
    live = {row.path: row.covered(known(reading.live)) for row in rows}
    paths = ", ".join(f"{row.path} ({row.id})" for row in rows if not live[row.path])
    forgotten = ", ".join(path for path in disk if not disk[path])
    if all(disk.values()) and not all(live.values()) and known(reading.enabled) == 2:
        reason = f"audit rules are immutable until a reboot; then these are watched too: {paths}"
        return Verdict(State.PENDING_REBOOT, reason, True, disk, live)
    problems = [f"the kernel does not watch {paths}"] * bool(paths)
    problems += [f"no file in rules.d watches {forgotten}: the next boot would not"] * bool(forgotten)
    if problems:
        return failed("; ".join(problems), True, disk, live)
    return passed(f"{len(rows)} paths of the engines are watched, now and after the next boot", True, disk, live)


@on_audit("immutable")
def immutable(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[Audit]
    disk, live = known(reading.immutable_on_disk), known(reading.enabled) == 2
    if disk and live:
        return passed("audit rules cannot be changed before the next boot", True, disk, live)
    if disk:
        reason = "-e 2 is on disk and comes with the next boot: set live, it could not be taken back"
        return Verdict(State.PENDING_REBOOT, reason, True, disk, live)
    return failed("root can take audit rules away unseen", True, disk, live)


@on_audit("denials")
def denials(survey: Survey, policy: Policy) -> Verdict:
    """A refusal is the LSM at work and no defect of the host: the finding passes, and says what was refused."""
    reading = survey[Denials]
    rows = [explain(denial) for denial in reading.this_boot]
    gap = reading.gap(reading.booted)
    after = f"; {unknown_before(gap)}" if gap else ""
    after += _lost(survey[Audit].lost)
    where = " and ".join(reading.sources)
    if not rows:
        return passed(f"nothing was refused since boot, as {where} has it{after}", None, None, [])
    said = f"{len(rows)} kinds of refusals since boot, as {where} has them: {list_kinds(rows)}{after}"
    return passed(said, None, None, rows)


def _lost(records: int | Unknown | None) -> str:
    if isinstance(records, Unknown):
        return f"; how many records the kernel lost is not known ({records.unknown})"
    return f"; the kernel lost {records} records" if records else ""


def plan(context: Context) -> Iterator[Change]:
    reading = context.survey[Audit]
    if context.failing("audit.running"):
        yield from mending(["audit.running"], audit_plan.run_auditd(reading, context.survey[System].family))
    if context.failing("audit.engine-files"):
        rows = wanted(reading, context.survey[Docker].installed)
        yield from mending(["audit.engine-files"], audit_plan.watch(reading, rows))
    if context.failing("audit.immutable"):
        yield from mending(["audit.immutable"], audit_plan.make_immutable(reading))


CONTROLS = (
    Control("audit.running", "auditd keeps what the kernel records", Severity.MEDIUM,
            "Without it refusals and changes stand in the kernel's log alone, which turns over and which rate limits.",
            running, ("CIS-Debian12-6.2.1.1", "CIS-Debian12-6.2.1.2", "NIST-800-190-4.5.5"),
            by_hand="install auditd, enable and start auditd.service, and have the kernel audit (auditctl -e 1)"),
    Control("audit.engine-files", "Who touches the container engines' files is recorded", Severity.MEDIUM,
            "An engine's program, unit, settings or socket replaced is the host replaced: it must not go unseen.",
            engine_files, tuple(f"CIS-Docker-1.1.{number}" for number in range(3, 19)),
            by_hand="give each of these paths a rule (-w PATH -p wa) in a file of /etc/audit/rules.d and load it with "
            "augenrules --load"),
    Control("audit.immutable", "Audit rules cannot be changed before the next boot", Severity.LOW,
            "Who became root would first switch off what records it; every change of rules then takes a reboot.",
            immutable, ("CIS-Debian12-6.2.3.20",), Impact.REBOOT,
            by_hand="write -e 2 into the last file of /etc/audit/rules.d, run augenrules and reboot the host"),
    Control("audit.denials", "What AppArmor, SELinux and seccomp refuse can be read", Severity.LOW,
            "An attack or a too strict profile shows itself here first; seccomp logs only what it kills for.",
            denials, ("NIST-800-190-4.4.3",),
            by_hand="read with ausearch or journalctl -k what was refused, and decide whether it is an attack"),
)  # fmt: skip
assert len({row.id for row in ROWS}) == len(ROWS)

SUBJECT = Subject("audit", AuditRules, CONTROLS, plan, (Audit, Denials, System, Docker))
