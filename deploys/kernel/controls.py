"""The kernel: sysctls, boot parameters and updates, with exceptions from benchmarks where containers need them."""

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
    in_container,
    naming_key,
    not_applicable,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy
from deploys.kernel import boot_parameters as kernel_boot
from deploys.kernel import boot_trials as kernel_words
from deploys.kernel import kvm, weakening
from deploys.kernel import rollout as kernel_roll
from deploys.kernel import sysctls as kernel_sysctls
from deploys.kernel import updates as kernel_update
from deploys.kernel.boot_parameters import BootRow, effective
from deploys.kernel.interfaces import COMBINED, RP_FILTER, Interfaces
from deploys.kernel.rules import KernelRules
from deploys.kernel.sysctl_files import (
    ACCEPT_ROOTLESS,
    CLONE,
    FORWARD,
    NAMESPACES,
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

on_own_kernel = only_where(in_container)
AT_BOOT = standing_on(SYSCTL, so="so a boot applies no file of sysctl.d")


def on_kernel(key: str, wanted: str = "") -> Callable[[Check], Check]:
    """Only on a host with a kernel of its own, where the policy declares `key`."""
    name = f"kernel.{key}"
    where, naming = only_where(in_container, undeclared(KernelRules, name)), naming_key(name, wanted)
    return lambda check: where(naming(check))


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


@on_kernel("forwarding", "forwarding on")
def forwarding(survey: Survey, policy: Policy) -> Verdict:
    """CIS wants 0. Docker sets 1 when it starts, so no file has to; a file that sets 0 cuts containers off as soon as
    the sysctls are reloaded."""
    sysctls = survey[Kernel].sysctls
    if "docker" not in present.installed(survey):
        return not_applicable("Docker is not installed, so no bridge of its needs forwarding")
    live = known(sysctls.value(FORWARD))
    stored = known(sysctls.stored(FORWARD))
    disk = stored.value if stored else None
    if stored and as_number(disk) is None:
        reason = f"{stored.file} sets {FORWARD}={disk}, which is not a number: the kernel rejects it"
        return failed(reason, declared="1", disk=disk, live=live)
    if stored and as_number(disk) == 0:
        reason = f"{stored.file} sets {FORWARD}={disk}: containers on bridges lose their network when that is applied"
        return failed(reason, declared="1", disk=disk, live=live)
    if live == "1":
        reason = "forwarding is on, as Docker's bridges need it (an exception from CIS 3.3.1)"
        return passed(reason, declared="1", disk=disk, live=live)
    if "docker" not in present.serving(survey):
        return not_applicable("Docker is not running; it turns forwarding on when it starts")
    return failed(f"{FORWARD} is {live}: containers on bridges have no network", declared="1", disk=disk, live=live)


@on_kernel("overlay", "the overlay module loadable")
def overlay(survey: Survey, policy: Policy) -> Verdict:
    if not present.installed(survey):
        return not_applicable("no container engine is installed, so no image is stored with overlay")
    kernel = survey[Kernel]
    there = known(kernel.has_module("overlay"))
    live = "loaded" if there else "not loaded"
    if where := known(kernel.blocked).get("overlay"):
        reason = f"the overlay module cannot be loaded ({where}), and container engines store images with it"
        return failed(reason, declared="loadable", disk=where, live=live)
    reason = "the overlay module can be loaded, as container engines need it (an exception from CIS 1.1.1.6)"
    return passed(reason, declared="loadable", disk="loadable", live=live)


@on_kernel("user_namespaces", "user namespaces allowed")
def user_namespaces(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[KernelRules]
    if not rules.rootless and not present.installed(survey):
        reason = "no container engine is installed, and the policy expects no rootless one either (kernel.rootless)"
        return not_applicable(reason)
    sysctls = survey[Kernel].sysctls
    if known(sysctls.value(NAMESPACES)) is None:
        return failed("this kernel was built without user namespaces", declared="above 0", disk=None, live=None)
    for key in (CLONE, NAMESPACES) if rules.rootless else (NAMESPACES,):
        live, stored = known(sysctls.value(key)), known(sysctls.stored(key))
        disk = stored.value if stored else None
        if live is not None and 0 in (as_number(live), as_number(disk)):
            where = f"{stored.file} sets {key}=0" if stored and as_number(disk) == 0 else f"{key} is 0"
            return failed(
                f"{where}: containers that need a user namespace do not start", declared="above 0", disk=disk, live=live
            )
    reason = "user namespaces are allowed, as containers need them (an exception from STIG RHEL-09-213105)"
    return passed(reason, declared="above 0", disk=disk, live=live)


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
    Control(
        id="kernel.forwarding",
        title="IPv4 forwarding is on where Docker's bridges need it",
        severity=Severity.HIGH,
        why="Benchmarks for hosts without containers turn forwarding off, which cuts off every container on a bridge.",
        check=forwarding,
        references=("CIS-Debian12-3.3.1", "STIG-RHEL9-253075"),
        by_hand=f"remove {FORWARD}=0 from the file that the finding names, and set it to 1 with sysctl -w",
    ),
    Control(
        id="kernel.overlay",
        title="The overlay module can be loaded",
        severity=Severity.HIGH,
        why="Benchmarks for hosts without containers block the overlay module, and container engines then cannot store "
        "images with it.",
        check=overlay,
        references=("CIS-Debian12-1.1.1.6",),
        by_hand="remove the line of modprobe.d that the finding names",
    ),
    Control(
        id="kernel.user-namespaces",
        title="Containers can use user namespaces",
        severity=Severity.HIGH,
        why="Without user namespaces root in a container is root on the host. Some benchmarks turn them off.",
        check=user_namespaces,
        references=("STIG-RHEL9-213105",),
        by_hand="boot a kernel that was built with CONFIG_USER_NS, and set no limit of 0 in /etc/sysctl.d",
    ),
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
