"""KVM: whether guests may run guests of their own, and who may open /dev/kvm."""

from __future__ import annotations

import re

from deploys.core.control import (
    Control,
    Impact,
    Severity,
    Verdict,
    agree,
    failed,
    not_applicable,
    passed,
    some,
)
from deploys.core.policy import Policy
from deploys.kernel.rules import KernelRules
from deploys.kernel.scope import on_kernel
from facts.core.reading import known
from facts.core.survey import Survey
from facts.kernel.kernel import Kernel
from facts.kvm import DEVICE, Kvm, KvmReading, Node, said

FLAGS = {"vmx": "VMX", "svm": "SVM"}
X86 = ("x86_64", "i686")
NONE = f"there is no {DEVICE}"


@on_kernel("nested_virtualisation", "no nested guests")
def _nested(survey: Survey, policy: Policy) -> Verdict:
    """Of the module that is loaded. On the command line a module's parameter counts after those of modprobe.d."""
    kvm, kernel = survey[Kvm], survey[Kernel]
    if known(kvm.device) is None:
        return not_applicable(NONE)
    flag = known(kvm.flag)
    if not flag and kernel.machine in X86:
        return not_applicable("this processor shows neither VMX nor SVM, so KVM runs no guest")
    if not kvm.nested:
        return not_applicable("no module of KVM's is loaded that could nest guests")
    module = next(iter(kvm.nested))
    live, (disk, where) = kvm.nested[module], _later(kvm, kernel.release, module, known(kernel.cmdline))
    shown = f"nested of {module}{f' ({FLAGS[flag]})' if flag else ''}"
    if live and disk:
        reason = f"{shown} is on{where}: guests run guests of their own, by code of the host's kernel"
        return failed(reason, declared=False, disk=disk, live=live)
    return agree(declared=False, disk=disk, live=live, impact=Impact.REBOOT, what=shown)


def _later(kvm: KvmReading, release: str, module: str, cmdline: tuple[str, ...]) -> tuple[bool | None, str]:
    """What the module gets when it is loaded next, and who says so; the kernel's own default where nothing does."""
    for word in reversed(cmdline):
        name, _, value = word.partition("=")
        if name.replace("-", "_") == f"{module}.nested" and (given := said(value)) is not None:
            return given, f", as the kernel's command line says ({word})"
    if found := kvm.options.get(module):
        return found[0], f", as {found[1]} says" if found[0] else ""
    numbers = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", release)
    recent = numbers is not None and (int(numbers[1]), int(numbers[2])) >= (4, 20)
    on = module == "kvm_amd" or (module == "kvm_intel" and recent)
    return (True if on else kvm.nested[module]), ", as nothing on disk sets it"


@on_kernel("kvm_users", "only those that it lists")
def _users(survey: Survey, policy: Policy) -> Verdict:
    trusted = policy[KernelRules].kvm_users or []
    node = known(survey[Kvm].device)
    if node is None:
        return not_applicable(NONE)
    members = node.members if node.mode[4:7].strip("-") else ()
    wide, others = _wide(node), [name for name in members if name not in (*trusted, "root")]
    if wide or others:
        member = f"{some(others)} may open it, of the group {node.group_name or node.group}" if others else ""
        reason = f"{DEVICE}: {'; '.join(filter(None, [wide, member]))}"
        return failed(reason, declared=trusted, live={"mode": node.mode, "members": list(node.members)})
    live = {"mode": node.mode, "members": list(node.members)}
    return passed(f"only root and trusted users may open {DEVICE}", declared=trusted, live=live)


def _wide(node: Node) -> str:
    if node.mode[7:9].strip("-"):
        return f"any user may open it ({node.mode})"
    if "+" in node.mode:
        return "an access control list lets more users open it (getfacl shows whom)"
    return f"it belongs to user {node.owner}" if node.owner else ""


CONTROLS = (
    Control(
        id="kernel.nested-virtualisation",
        title="Guests of KVM run no guests of their own",
        severity=Severity.LOW,
        why="A guest that nests reaches code in the host's kernel that emulates a processor's virtualisation, by which "
        "guests have escaped before.",
        check=_nested,
        references=("NIST-800-190-4.4.3",),
        impact=Impact.REBOOT,
        by_hand="write options MODULE nested=0, with the module that the finding names, to a file of /etc/modprobe.d, "
        "and reboot the host, or load the module again while no guest runs",
    ),
    Control(
        id="kernel.kvm-users",
        title="Only root and users whom the policy names may open /dev/kvm",
        severity=Severity.MEDIUM,
        why="Whoever opens it has the kernel run code in guest mode: a way into the kernel that no other user needs.",
        check=_users,
        references=("NIST-800-190-4.4.3",),
        files=("/etc/group",),
        by_hand="take these users from the group (gpasswd -d USER kvm), give the device mode 0660 and root:kvm in a "
        "rule of udev, or name the users in kernel.kvm_users",
    ),
)
