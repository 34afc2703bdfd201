"""The kernel: self-protection by sysctls and boot parameters, resolved against what containers need."""

from __future__ import annotations

from collections.abc import Iterable

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
    not_applicable,
    only_where,
    passed,
)
from deploys.core.policy import Policy
from deploys.kernel import boot_parameters as kernel_boot
from deploys.kernel import boot_trials as kernel_words
from deploys.kernel import rollout as kernel_roll
from deploys.kernel import sysctls as kernel_sysctls
from deploys.kernel import updates as kernel_update
from deploys.kernel.boot_parameters import BootRow, effective
from deploys.kernel.rules import KernelRules
from deploys.kernel.sysctl_files import (
    CLONE,
    FORWARD,
    NAMESPACES,
    ROOTLESS,
    RP_FILTERS,
    UNDECIDED,
    accepted_filters,
    plan_sysctls,
)
from deploys.kernel.sysctls import SysctlRow
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import Setting, as_number

on_own_kernel = only_where(in_container)


def sysctl_check(row: SysctlRow) -> Check:
    def check(survey: Survey, policy: Policy) -> Verdict:
        declared = policy[KernelRules].value(row.key)
        if declared is None:
            return not_applicable(f"the policy does not set {row.key}")
        sysctls = survey[Kernel].sysctls
        live = known(sysctls.value(row.key))
        if live is None:
            return not_applicable(f"this kernel has no {row.key}")
        return judge_sysctl(row, declared, known(sysctls.stored(row.key)), live)

    return on_own_kernel(check)


def judge_sysctl(row: SysctlRow, declared: str, stored: Setting | None, live: str) -> Verdict:
    """Declared, what a boot will set (and which file does), and live."""
    disk = stored.value if stored else None
    disk_ok, live_ok = row.holds(disk, declared), row.holds(live, declared)
    if disk_ok and not live_ok and live in row.one_way:
        reason = f"{row.key} is {live} until a reboot: that setting has no way back"
        return Verdict(State.PENDING_REBOOT, reason, declared, disk, live)
    if stored and not disk_ok:
        now = "holds now" if live_ok else f"is {live} now"
        refused = as_number(declared) is not None and as_number(disk) is None
        so = ", which is no number: the kernel refuses it, and keeps its own default" if refused else ""
        return failed(f"{row.key} {now}, and {stored.file} sets it to {disk} at boot{so}", declared, disk, live)
    return agree(declared, disk, live, Impact.NONE, lambda value: row.holds(value, declared), row.key)


def boot_check(row: BootRow) -> Check:
    def check(survey: Survey, policy: Policy) -> Verdict:
        declared = policy[KernelRules].word(row.name)
        if declared is None:
            return not_applicable(f"the policy does not ask for the boot parameter {row.name}")
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
            reason = f"{declared} is on the next boot's command line, and not on the running kernel's"
            return Verdict(State.PENDING_REBOOT, reason, declared, disk, live)
        return agree(declared, disk, live, Impact.REBOOT, lambda word: row.holds(word, declared), row.name)

    return on_own_kernel(check)


def boot_id(name: str) -> str:
    """The control's id: `kernel.boot.page_alloc.shuffle`."""
    return f"kernel.boot.{name}"


def forwarding(survey: Survey, policy: Policy) -> Verdict:
    """CIS wants 0. Docker sets 1 itself when it starts, so that no file need do it; a file that sets 0 cuts
    containers off as soon as somebody reloads sysctls."""
    if policy[KernelRules].forwarding is None:
        return not_applicable("the policy does not speak of forwarding")
    docker, sysctls = survey[Docker], survey[Kernel].sysctls
    if not docker.installed:
        return not_applicable("no Docker here whose bridges would need forwarding")
    live = known(sysctls.value(FORWARD))
    stored = known(sysctls.stored(FORWARD))
    disk = stored.value if stored else None
    if stored and as_number(disk) is None:
        return failed(
            f"{stored.file} sets {FORWARD}={disk}, which is no number: the kernel refuses it", "1", disk, live
        )
    if stored and as_number(disk) == 0:
        return failed(f"{stored.file} sets {FORWARD}={disk}: containers on bridges lose their network when it is read",
                      "1", disk, live)  # fmt: skip
    if live == "1":
        return passed("forwarding is on, as Docker's bridges need it (against CIS 3.3.1)", "1", disk, live)
    if not known(docker.running):
        return not_applicable("Docker is not running; it turns forwarding on when it starts")
    return failed(f"{FORWARD} is {live}: containers on bridges have no network", "1", disk, live)


def overlay(survey: Survey, policy: Policy) -> Verdict:
    if policy[KernelRules].overlay is None:
        return not_applicable("the policy does not speak of the overlay module")
    if not survey[Docker].installed:
        return not_applicable("no Docker here that would store layers with overlay")
    kernel = survey[Kernel]
    there = known(kernel.has_module("overlay"))
    live = "loaded" if there else "not loaded"
    if where := known(kernel.blocked).get("overlay"):
        return failed(f"overlay is kept from loading ({where}): Docker's storage needs it", "loadable", where, live)
    return passed("overlay can be loaded, as Docker's storage needs it (against CIS 1.1.1.6)", "loadable", "loadable",
                  live)  # fmt: skip


def user_namespaces(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[KernelRules]
    if rules.user_namespaces is None:
        return not_applicable("the policy does not speak of user namespaces")
    if not survey[Docker].installed and not rules.rootless:
        return not_applicable("no containers here that would need user namespaces")
    sysctls = survey[Kernel].sysctls
    if known(sysctls.value(NAMESPACES)) is None:
        return failed("this kernel has no user namespaces", "above 0", None, None)
    for key in (CLONE, NAMESPACES) if rules.rootless else (NAMESPACES,):
        live, stored = known(sysctls.value(key)), known(sysctls.stored(key))
        disk = stored.value if stored else None
        if live is not None and 0 in (as_number(live), as_number(disk)):
            where = f"{stored.file} sets {key}=0" if stored and as_number(disk) == 0 else f"{key} is 0"
            return failed(f"{where}: containers that need a user namespace do not start", "above 0", disk, live)
    return passed("user namespaces are allowed, as containers need them (against STIG RHEL-09-213105)", "above 0",
                  disk, live)  # fmt: skip


def _number(key: str, live: str) -> int:
    found = as_number(live)
    if found is None:
        raise UnknownReading(f"{key} is {live[:40]}, which is no number")
    return found


def rp_filter(survey: Survey, policy: Policy) -> Verdict:
    """The kernel takes the greater of `all` and the interface's own value, which starts as `default`."""
    declared = policy[KernelRules].rp_filter
    if declared is None:
        return not_applicable("the policy does not speak of the reverse path filter")
    kernel = survey[Kernel]
    live = max(_number(key, known(kernel.sysctls.value(key)) or "0") for key in RP_FILTERS)
    stored = [setting for key in RP_FILTERS if (setting := known(kernel.sysctls.stored(key))) and setting.value]
    vxlan = known(kernel.has_module("vxlan"))
    accepted = accepted_filters(declared, vxlan)
    files = " and ".join(sorted({setting.file for setting in stored}))
    note = "overlay networks are here, so loose" if vxlan else "reverse path filter"
    if refused := next((setting for setting in stored if as_number(setting.value) is None), None):
        reason = f"{note}: {refused.file} sets it to {refused.value}, which is no number: the kernel refuses it at boot"
        return failed(reason, str(declared), refused.value, live)
    disk = max((as_number(setting.value) or 0 for setting in stored), default=None)
    if disk is not None and disk not in accepted:
        return failed(f"{note}: {files} sets it to {disk} at boot", str(declared), disk, live)
    return agree(declared, disk, live, Impact.NONE, lambda value: value in accepted, f"{note}: net.ipv4.conf rp_filter")


CONTROLS: tuple[Control, ...] = (
    *(Control(f"kernel.sysctl.{row.key}", row.title, row.severity, row.why, sysctl_check(row), row.references,
              by_hand=f"set {row.key} with sysctl -w, and in the file of /etc/sysctl.d that is read last")
      for row in kernel_sysctls.ROWS),
    *(Control(boot_id(row.name), row.title, row.severity, row.why, boot_check(row),
              row.references, Impact.REBOOT,
              by_hand=f"put {row.name} on the kernel's command line where that is given, and reboot the host")
      for row in kernel_boot.ROWS),
    Control("kernel.forwarding", "Forwarding stays on for containers", Severity.HIGH,
            "Benchmarks for hosts without containers turn it off, and cut every container on a bridge off.",
            on_own_kernel(forwarding), ("CIS-Debian12-3.3.1", "STIG-RHEL9-253075"),
            by_hand=f"take {FORWARD}=0 out of the file that the finding names, and set it to 1 with sysctl -w"),
    Control("kernel.overlay", "The overlay file system can be used", Severity.HIGH,
            "Benchmarks for hosts without containers block the module that Docker's storage needs.",
            on_own_kernel(overlay), ("CIS-Debian12-1.1.1.6",),
            by_hand="take away the line of modprobe.d that the finding names"),
    Control("kernel.user-namespaces", "User namespaces are there for containers", Severity.HIGH,
            "Benchmarks turn off what keeps root in a container from being root on the host.",
            on_own_kernel(user_namespaces), ("STIG-RHEL9-213105",),
            by_hand="boot a kernel that was built with CONFIG_USER_NS, and set no limit of 0 in /etc/sysctl.d"),
    Control("kernel.rp-filter", "Packets come from where their answers go", Severity.MEDIUM,
            "A packet with a forged source must not be taken; strict filtering breaks overlay networks.",
            on_own_kernel(rp_filter), ("CIS-Debian12-3.3.7", "STIG-RHEL9-253035"),
            by_hand="set net.ipv4.conf.all.rp_filter with sysctl -w, and in the last file of /etc/sysctl.d"),
    Control("kernel.reboot-needed", "The newest installed kernel is the one that runs", Severity.HIGH,
            "A fixed kernel protects nobody before the host has booted it.",
            on_own_kernel(kernel_update.running), ("NIST-800-190-4.5.3", "STIG-RHEL9-211015"), Impact.REBOOT,
            by_hand="reboot the host into its newest kernel, with a console at hand"),
    Control("kernel.update", "The newest kernel on offer is installed", Severity.HIGH,
            "A fix that the distribution has published is known to attackers too.",
            on_own_kernel(kernel_update.update), ("NIST-800-190-4.5.3", "STIG-RHEL9-211015"), Impact.REBOOT,
            by_hand="refresh the package lists and install the newest kernel, whatever holds or pins it"),
    Control("kernel.old-kernels", "Only as many kernels stay installed as are kept on purpose", Severity.LOW,
            "An old kernel can be booted with its flaws, and fills /boot until an update fails halfway.",
            on_own_kernel(kernel_update.old_kernels), ("STIG-RHEL9-211015",),
            by_hand="remove the oldest kernels with the package manager, but not the one that runs"),
)  # fmt: skip


def plan(context: Context) -> Iterable[Change]:
    """Sysctls at boot and live, boot parameters, then kernels."""
    yield from plan_sysctls(context)
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
    """What our drop-in has of the words that the policy asks for and of which nothing is known, or that are waived: it
    is left as it is, but for what is risky and on every entry untried."""
    kernel = context.survey[Kernel]
    ours = [word for word in kernel_boot.drop_in_words(kernel.boot) if word not in kernel_boot.untried(kernel)]
    left = [word for word in words if _state(context, boot_id(kernel_boot.name_of(word))) in UNDECIDED]
    return {word: there for word in left if (there := kernel_boot.given(ours, kernel_boot.name_of(word)))}


def _each_file_once(changes: Iterable[Change]) -> Iterable[Change]:
    """Kernels and boot parameters on trial are checked by the same files."""
    seen: set[str] = set()
    for change in changes:
        if not isinstance(change, WriteFile) or change.path not in seen:
            seen |= {change.path} if isinstance(change, WriteFile) else set()
            yield change


def _state(context: Context, id_: str) -> State | None:
    return context.findings[id_].state if id_ in context.findings else None


SUBJECT = Subject(
    name="kernel",
    rules=KernelRules,
    controls=CONTROLS,
    plan=plan,
    facts=(System, Kernel, Docker),
    accepts=(kernel_update.RETRY, ROOTLESS),
)
