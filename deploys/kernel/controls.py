"""The kernel: sysctls, boot parameters and updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from deploys.core.boot_units import standing_on
from deploys.core.change import Change, Context, Subject, WriteFile, mending
from deploys.core.change import Reboot as HostReboot
from deploys.core.control import (
    Check,
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    agree,
    failed,
    naming_key,
    not_applicable,
)
from deploys.core.policy import Policy
from deploys.kernel import boot_parameters as kernel_boot
from deploys.kernel import boot_trials as kernel_words
from deploys.kernel import exceptions, kvm, weakening
from deploys.kernel import rollout as kernel_roll
from deploys.kernel import sysctls as kernel_sysctls
from deploys.kernel import updates as kernel_update
from deploys.kernel.boot_parameters import BootRow, effective
from deploys.kernel.interfaces import COMBINED, RP_FILTER, Interfaces
from deploys.kernel.rules import KernelRules
from deploys.kernel.scope import on_kernel, on_own_kernel
from deploys.kernel.sysctl_files import (
    ACCEPT_ROOTLESS,
    RP_FILTERS,
    UNDECIDED,
    accepted_filters,
    plan_sysctls,
)
from deploys.kernel.sysctls import SysctlRow
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.core.system import System
from facts.core.units import SYSCTL
from facts.engines import present
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import Setting, as_number
from facts.kvm import Kvm

AT_BOOT = standing_on(SYSCTL, so="so a boot applies no file of sysctl.d")


def sysctl_check(row: SysctlRow) -> Check:
    def check(survey: Survey, policy: Policy) -> Verdict:
        declared = policy[KernelRules].value(row.key)
        if declared is None:
            return not_applicable(f"the policy does not set {row.key} (kernel.sysctls)")
        sysctls = survey[Kernel].sysctls
        live = known(sysctls.value(row.key))
        if live is None:
            return not_applicable(f"this kernel has no {row.key}")
        verdict = judge_sysctl(row, declared, known(sysctls.stored(row.key)), live)
        if verdict.state is not State.PASS or row.key not in COMBINED:
            return verdict
        return Interfaces(sysctls, row.key, lambda value: row.holds(str(value), declared)).fault(verdict)

    return on_own_kernel(naming_key("kernel.sysctls")(AT_BOOT(check)))


def judge_sysctl(row: SysctlRow, declared: str, stored: Setting | None, live: str) -> Verdict:
    """Compare what is declared, what a boot will set (and which file does), and the live value."""
    disk = stored.value if stored else None
    disk_ok, live_ok = row.holds(disk, declared), row.holds(live, declared)
    if disk_ok and not live_ok and live in row.one_way:
        reason = f"{row.key} is {live} until a reboot: a running kernel does not take that value back"
        return Verdict(State.PENDING_REBOOT, reason, declared=declared, disk=disk, live=live)
    if stored and not disk_ok:
        now = f"{row.key} is {live} now, {'but' if live_ok else 'and'} {stored.file} sets it to {disk} at boot"
        refused = as_number(declared) is not None and as_number(disk) is None
        so = ", which is not a number: the kernel rejects it and keeps its own default" if refused else ""
        return failed(now + so, declared=declared, disk=disk, live=live)
    return agree(
        declared=declared,
        disk=disk,
        live=live,
        impact=Impact.NONE,
        holds=lambda value: row.holds(value, declared),
        what=row.key,
    )


def boot_check(row: BootRow) -> Check:
    def check(survey: Survey, policy: Policy) -> Verdict:
        declared = policy[KernelRules].word(row.name)
        if declared is None:
            return not_applicable(f"the policy does not name the boot parameter {row.name} (kernel.boot_parameters)")
        kernel = survey[Kernel]
        if row.needs and known(kernel.config).get(row.needs, "n") == "n":
            return not_applicable(f"this kernel was built without CONFIG_{row.needs}")
        live = effective(kernel, row, known(kernel.cmdline))
        disk = effective(kernel, row, known(kernel.boot.configured))
        if row.risky and not row.holds(disk, declared):
            verdict = kernel_words.on_trial(kernel, row, declared, live)
            if verdict:
                return verdict
        if row.holds(disk, declared) and not row.holds(live, declared):
            reason = f"{declared} is on the next boot's command line, and not yet on the running kernel's"
            return Verdict(State.PENDING_REBOOT, reason, declared=declared, disk=disk, live=live)
        return agree(
            declared=declared,
            disk=disk,
            live=live,
            impact=Impact.REBOOT,
            holds=lambda word: row.holds(word, declared),
            what=row.name,
        )

    return on_own_kernel(naming_key("kernel.boot_parameters")(check))


def boot_id(name: str) -> str:
    """The control's id: `kernel.boot.page_alloc.shuffle`."""
    return f"kernel.boot.{name}"


def _number(key: str, live: str) -> int:
    found = as_number(live)
    if found is None:
        raise UnknownReading(f"{key} is {live[:40]}, which is not a number")
    return found


@on_kernel("rp_filter")
@AT_BOOT
def rp_filter(survey: Survey, policy: Policy) -> Verdict:
    """The kernel takes the greater of `all` and the interface's own value, which starts as `default`."""
    declared = policy[KernelRules].rp_filter or 0
    kernel = survey[Kernel]
    live = max(_number(key, known(kernel.sysctls.value(key)) or "0") for key in RP_FILTERS)
    stored = [setting for key in RP_FILTERS if (setting := known(kernel.sysctls.stored(key))) and setting.value]
    vxlan = known(kernel.has_module("vxlan"))
    accepted = accepted_filters(declared, vxlan)
    files = " and ".join(sorted({setting.file for setting in stored}))
    loose = vxlan and declared not in accepted
    what = f"rp_filter (2 in place of {declared}, since overlay networks are in use)" if loose else "rp_filter"
    if refused := next((setting for setting in stored if as_number(setting.value) is None), None):
        reason = f"{refused.file} sets {what} to {refused.value}, which is not a number: the kernel rejects it at boot"
        return failed(reason, declared=declared, disk=refused.value, live=live)
    disk = max((as_number(setting.value) or 0 for setting in stored), default=None)
    if disk is not None and disk not in accepted:
        return failed(f"{files} sets {what} to {disk} at boot", declared=declared, disk=disk, live=live)
    verdict = agree(
        declared=declared, disk=disk, live=live, impact=Impact.NONE, holds=lambda value: value in accepted, what=what
    )
    interfaces = Interfaces(kernel.sysctls, RP_FILTER, lambda value: value in accepted)
    return interfaces.fault(verdict) if verdict.state is State.PASS else verdict


CONTROLS: tuple[Control, ...] = (
    *(
        Control(
            id=f"kernel.sysctl.{row.key}",
            title=row.title,
            severity=row.severity,
            why=row.why,
            check=sysctl_check(row),
            references=row.references,
            by_hand=f"set {row.key} with sysctl -w, and in the file of /etc/sysctl.d that is read last",
        )
        for row in kernel_sysctls.ROWS
    ),
    *(
        Control(
            id=boot_id(row.name),
            title=row.title,
            severity=row.severity,
            why=row.why,
            check=boot_check(row),
            references=row.references,
            impact=Impact.REBOOT,
            by_hand=f"add {row.name} to the kernel's command line where the boot loader takes it from, and reboot the "
            "host",
        )
        for row in kernel_boot.ROWS
    ),
    Control(
        id="kernel.weakening-parameters",
        title="No boot parameter switches a protection of the kernel off",
        severity=Severity.HIGH,
        why="One such word on the command line opens every container's way to the kernel's memory or past a security "
        "module, while all files of the protection look right.",
        check=on_kernel("weakening_parameters", "none but those that it lists")(weakening.check),
        references=("KSPP",),
        impact=Impact.REBOOT,
        by_hand="remove the word from the file that the finding names, run update-grub (or grubby --remove-args) and "
        "reboot the host; or list it under kernel.weakening_parameters",
    ),
    *exceptions.CONTROLS,
    Control(
        id="kernel.rp-filter",
        title="Reverse-path filtering is set, and fits overlay networks",
        severity=Severity.MEDIUM,
        why="Without the filter the host accepts packets with forged source addresses. Strict filtering breaks overlay "
        "networks.",
        check=rp_filter,
        references=("CIS-Debian12-3.3.7", "STIG-RHEL9-253035"),
        by_hand="set net.ipv4.conf.all.rp_filter with sysctl -w, and in the last file of /etc/sysctl.d",
    ),
    Control(
        id="kernel.reboot-needed",
        title="The host runs its newest installed kernel",
        severity=Severity.HIGH,
        why="A kernel fix protects the host only after a reboot; until then its flaws are open to every container.",
        check=on_own_kernel(kernel_update.running),
        references=("NIST-800-190-4.5.3", "STIG-RHEL9-211015"),
        impact=Impact.REBOOT,
        by_hand="reboot the host into its newest kernel, with a console at hand",
        packages=("linux-image-*",),
        unproved="it says what is installed, and forbids nothing that could be attempted",
    ),
    Control(
        id="kernel.update",
        title="The newest kernel that the distribution offers is installed",
        severity=Severity.HIGH,
        why="When a distribution publishes a fix, attackers learn of the flaw too, and can use it on hosts without the "
        "fix.",
        check=on_own_kernel(kernel_update.update),
        references=("NIST-800-190-4.5.3", "STIG-RHEL9-211015"),
        impact=Impact.REBOOT,
        by_hand="refresh the package lists and install the newest kernel, even if its package is held or pinned",
        unproved="it says what is installed, and forbids nothing that could be attempted",
    ),
    Control(
        id="kernel.old-kernels",
        title="No more kernels are installed than the policy keeps",
        severity=Severity.LOW,
        why="An old kernel can still be booted with its flaws, and fills /boot until an update fails halfway.",
        check=on_own_kernel(kernel_update.old_kernels),
        references=("STIG-RHEL9-211015",),
        by_hand="remove the oldest kernels with the package manager, but not the one that runs",
        unproved="it says what is installed, and forbids nothing that could be attempted",
    ),
    *kvm.CONTROLS,
)


def plan(context: Context, allowed: Sequence[str]) -> Iterable[Change]:
    """Sysctls at boot and live, then boot parameters, then kernels."""
    yield from plan_sysctls(context, allowed)
    rules = context.policy[KernelRules]
    words = rules.boot_parameters or ()
    wanted = [word for word in words if context.failing(boot_id(kernel_boot.name_of(word)))]
    standing = [word for word in words if _state(context, boot_id(kernel_boot.name_of(word))) is State.PASS]
    if wanted:
        stay = _staying(context, words)
        added = [word for word in wanted if not kernel_words.is_risky(word)]
        lasting = [stay.get(word, word) for word in words if word in (*standing, *stay, *added)]
        failing = [id_ for word in lasting if _state(context, id_ := boot_id(kernel_boot.name_of(word))) is State.FAIL]
        yield from mending(failing, kernel_boot.plan(context, lasting, tuple(stay.values())))
    risky = [word for word in wanted if kernel_words.is_risky(word)]
    tried = context.which(*(boot_id(kernel_boot.name_of(word)) for word in risky))
    kernels = list(kernel_roll.plan(context))
    boots = any(isinstance(change, HostReboot) for change in kernels)
    once = mending(tried, kernel_words.plan(context, risky, boots)) if risky else ()
    yield from _each_file_once([*once, *kernels])


def _staying(context: Context, words: Iterable[str]) -> dict[str, str]:
    """What our drop-in has for parameters that the policy names and whose finding is unknown or waived: it stays as it
    is, except for a risky parameter that every entry has untried."""
    kernel = context.survey[Kernel]
    ours = [word for word in kernel.boot.own_parameters if word not in kernel_boot.untried(kernel)]
    left = [word for word in words if _state(context, boot_id(kernel_boot.name_of(word))) in UNDECIDED]
    return {word: there for word in left if (there := kernel_boot.given(ours, kernel_boot.name_of(word)))}


def _each_file_once(changes: Iterable[Change]) -> Iterable[Change]:
    """Kernels and boot parameters on trial share the files of the boot health check."""
    seen: set[str] = set()
    for change in changes:
        if not isinstance(change, WriteFile) or change.path not in seen:
            seen |= {change.path} if isinstance(change, WriteFile) else set()
            yield change


def _state(context: Context, id_: str) -> State | None:
    return context.findings[id_].state if id_ in context.findings else None


def subject(allowed: Callable[[Policy], Sequence[str]]) -> Subject:
    """`allowed`: the users whom a policy lets run containers without root."""
    return Subject(
        name="kernel",
        rules=KernelRules,
        controls=CONTROLS,
        plan=lambda context: plan(context, allowed(context.policy)),
        facts=(System, Kernel, Kvm, *present.FACTS),
        accepts=(kernel_update.ACCEPT_RETRY, ACCEPT_ROOTLESS),
        unproved="the kernel enforces its own settings, and the finding reads them back from it; what they "
        "prevent could bring a production host down when it is attempted",
    )
