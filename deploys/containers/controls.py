"""Controls over running containers. They belong to whoever started them: what is wrong is said; one that only started
before its engine had its present defaults is started again, where that is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from deploys.containers import guests, judge, mounts
from deploys.containers.rule import ContainerRule, Engines
from deploys.containers.rules import ContainersRules
from deploys.core.change import Change, Context, Subject
from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from facts.core.reading import Unknown, UnknownReading
from facts.core.survey import Survey
from facts.engines import present
from facts.lsm import Lsm
from facts.seccomp import Seccomp

RECREATE = "whoever started the container recreates it"


def unlisted(survey: Survey, policy: Policy) -> Verdict:
    """What hides from every other rule here."""
    allowed = policy[ContainersRules].unlisted
    if allowed is None:
        return not_applicable("the policy does not declare containers.unlisted")
    found = [each for each in present.unlisted(survey) if not each.name.startswith(tuple(allowed))]
    seen, unseen = [each.name for each in found if not isinstance(each.process, Unknown)], [*present.unseen(survey)]
    if seen and not present.silent(survey):
        reason = f"no engine that hullproof knows has started {some(seen)}: no other rule here is asked of them"
        return failed(reason, declared=allowed, live=seen)
    if found or unseen:
        others = [f"it is not known who started {some(seen)}"] * bool(seen)
        raise UnknownReading("; ".join([*judge.unread(found), *others, *unseen]))
    engines = {each.shown: each.engine for each in present.running(survey)}
    return passed("every container was started by an engine that hullproof knows", declared=allowed, live=engines)


RULES = (
    ContainerRule(
        name="privileged",
        key="privileged",
        title="No container is privileged",
        severity=Severity.HIGH,
        why="A privileged container is root on the host in all but name: nothing else here holds it.",
        references=("CIS-Docker-5.5", "NIST-800-190-4.4.3"),
        wrong=judge.privileged,
        later=judge.privileged_later,
        remedy=f"{RECREATE} without --privileged, or the policy names it in containers.privileged",
        formerly=("docker.privileged-containers",),
    ),
    ContainerRule(
        name="host-namespaces",
        key="host_namespaces",
        title="No container shares the host's namespaces",
        severity=Severity.HIGH,
        why="It sees and reaches the host's processes, network or shared memory as if it were not contained.",
        references=("CIS-Docker-5.10", "CIS-Docker-5.16", "CIS-Docker-5.17", "CIS-Docker-5.21"),
        wrong=judge.host_namespaces,
        later=judge.host_namespaces_later,
        remedy=f"{RECREATE} without --network, --pid, --ipc or --uts host, or the policy names it in "
        "containers.host_namespaces",
        formerly=("docker.host-namespaces",),
        undone_by_privileged=False,
    ),
    ContainerRule(
        name="joined-namespaces",
        key="joined_namespaces",
        title="No container joins another one's namespaces",
        severity=Severity.MEDIUM,
        why="Whoever takes over one of the two reaches the other's local ports, shared memory or processes.",
        references=("NIST-800-190-4.4.3",),
        wrong=judge.joined_namespaces,
        remedy=f"{RECREATE} without container:NAME for --network, --pid, --ipc, --userns or --cgroupns, or the policy "
        "names both in containers.joined_namespaces",
        undone_by_privileged=False,
    ),
    ContainerRule(
        name="user-namespace",
        key="host_ids",
        title="Every container has a user namespace of its own",
        severity=Severity.HIGH,
        why="Whoever gets out of a container as root is root on the host, unless its ids are mapped to others.",
        references=("CIS-Docker-2.9", "CIS-Docker-5.31", "NIST-800-190-4.4.3"),
        wrong=judge.host_ids,
        later=judge.host_ids_later,
        split_from=("userns.docker-remap",),
        remedy=f"{RECREATE} with ids of its own (Docker: userns-remap and no --userns=host; Podman: --userns=auto, or "
        "as a user; LXC: as lxc.host-ids says), or the policy names it in containers.host_ids",
    ),
    ContainerRule(
        name="capabilities",
        key="capabilities",
        title="Containers hold no more capabilities than they need",
        severity=Severity.MEDIUM,
        why="Each one beyond Docker's default widens what a taken-over process can do to the host.",
        references=("CIS-Docker-5.4", "NIST-800-190-4.4.3"),
        wrong=judge.capabilities,
        later=judge.capabilities_later,
        remedy=f"{RECREATE} without them (--cap-add), or the policy names them in containers.capabilities",
        formerly=("docker.capabilities",),
    ),
    ContainerRule(
        name="seccomp",
        key="unfiltered",
        title="Every container has a seccomp filter that refuses something",
        severity=Severity.HIGH,
        why="Without a filter every system call of the kernel is open to attack from within the container.",
        references=("CIS-Docker-5.22", "NIST-800-190-4.4.3"),
        wrong=judge.unfiltered,
        later=judge.unfiltered_later,
        remedy=f"{RECREATE} without --security-opt seccomp=unconfined or a weak profile of its own, or the policy "
        "names it in containers.unfiltered",
        formerly=("seccomp.containers-filtered",),
        at_start=True,
        word="what a user's own filters refuse is read from that user's files",
    ),
    ContainerRule(
        name="no-new-privileges",
        key="new_privileges",
        title="No container's process gains privileges by setuid programs",
        severity=Severity.MEDIUM,
        why="A setuid program in the image makes an ordinary user of the container its root.",
        references=("CIS-Docker-5.26", "NIST-800-190-4.4.3"),
        wrong=judge.new_privileges,
        split_from=("docker.no-new-privileges",),
        remedy=f"{RECREATE} with --security-opt no-new-privileges, or the policy names it in containers.new_privileges",
    ),
    ContainerRule(
        name="confined",
        key="unconfined",
        title="Every container is confined by AppArmor or SELinux",
        severity=Severity.HIGH,
        why="What gets past a container's namespaces is stopped by nothing else.",
        references=("CIS-Docker-5.2", "CIS-Docker-5.3", "NIST-800-190-4.4.3"),
        wrong=judge.unconfined,
        later=judge.unconfined_later,
        remedy=f"{RECREATE} without --security-opt apparmor=unconfined or label=disable, or the policy names it in "
        "containers.unconfined (a user's Podman runs unconfined under AppArmor in any case)",
        formerly=("apparmor.containers-confined", "selinux.containers-confined"),
        at_start=True,
    ),
    ContainerRule(
        name="own-category",
        key="shared_categories",
        title="No two containers share an SELinux category",
        severity=Severity.HIGH,
        why="Containers of one category can read and change each other's files and processes, as far as SELinux goes.",
        references=("CIS-Docker-5.3", "NIST-800-190-4.4.3"),
        wrong=judge.own_category,
        split_from=("selinux.containers-confined",),
        module="selinux",
        remedy=f"{RECREATE} without another container's label (--security-opt label=level:…), or the policy names it "
        "in containers.shared_categories",
    ),
    ContainerRule(
        name="own-profile",
        key="shared_profiles",
        title="No container of libvirt's has the AppArmor profile of another",
        severity=Severity.HIGH,
        why="Containers of one profile can read and change each other's files and processes, as far as AppArmor goes.",
        references=("NIST-800-190-4.4.3",),
        wrong=judge.own_profile,
        module="apparmor",
        engines=("libvirt",),
        remedy="whoever declared the container takes the static seclabel out (virsh edit) and starts it again, or the "
        "policy names it in containers.shared_profiles",
    ),
    ContainerRule(
        name="devices",
        key="devices",
        title="No container has the host's devices",
        severity=Severity.HIGH,
        why="A disk's device node gives away every file on it, /dev/mem the kernel itself.",
        references=("CIS-Docker-5.18", "NIST-800-190-4.4.3"),
        wrong=judge.devices,
        later=judge.devices_later,
        remedy=f"{RECREATE} without --device, or the policy names it in containers.devices",
    ),
    ContainerRule(
        name="mounts",
        key="mounts",
        title="No container has an engine's socket or the host's own folders",
        severity=Severity.HIGH,
        why="Who can speak to the engine, or write the host's own files, is root on the host.",
        references=("CIS-Docker-5.6", "CIS-Docker-5.32"),
        wrong=mounts.mounts,
        later=mounts.mounts_later,
        remedy=f"{RECREATE} without the mount (--volume, --mount), or read-only, or the policy names it in "
        "containers.mounts",
        formerly=("docker.sensitive-mounts",),
        undone_by_privileged=False,
    ),
    ContainerRule(
        name="shared",
        key="shared",
        title="No two containers share a volume or a path of the host's that one of them may write",
        severity=Severity.MEDIUM,
        why="Whoever takes over the one that writes changes what the other reads, and reaches its sockets there.",
        references=("NIST-800-190-4.4.3",),
        wrong=mounts.shared,
        remedy=f"{RECREATE} without the mount (--volume, --volumes-from), or read-only in both, or the policy names "
        "both in containers.shared",
        undone_by_privileged=False,
    ),
    ContainerRule(
        name="masks",
        key="unmasked",
        title="The dangerous parts of /proc and /sys are masked in every container",
        severity=Severity.HIGH,
        why="By /proc/sys/kernel/core_pattern, for one, the host's kernel runs a program of the container's as root.",
        references=("NIST-800-190-4.4.3",),
        wrong=judge.unmasked,
        later=judge.unmasked_later,
        remedy=f"{RECREATE} without --security-opt systempaths=unconfined (Podman: unmask=…), or the policy names it "
        "in containers.unmasked",
    ),
    ContainerRule(
        name="limits",
        key="limits",
        title="Every container's resources are limited",
        severity=Severity.MEDIUM,
        why="One container without a limit can take the memory, the processes or the time of all others.",
        references=("CIS-Docker-5.11", "CIS-Docker-5.12", "CIS-Docker-5.29"),
        wrong=judge.limits,
        remedy=f"{RECREATE} with --memory, --pids-limit or --cpus, or the policy names it in containers.unlimited",
        undone_by_privileged=False,
    ),
)
UNLISTED = Control(
    id="containers.unlisted",
    title="Every container was started by an engine that hullproof knows",
    severity=Severity.MEDIUM,
    why="What no engine names is asked by no other rule: it may be anything.",
    check=unlisted,
    references=("NIST-800-190-4.4.5",),
    by_hand="find out who started them (systemd-cgls shows their control group), or name these groups, or how they "
    "begin, in the policy's containers.unlisted",
)


def plan(engines: Engines, context: Context) -> Iterator[Change]:
    for rule in RULES:
        yield from rule.plan(engines, context)


def subject(engines: Engines) -> Subject:
    """The subject, whose plans start containers of these engines again."""
    return Subject(
        name="containers",
        rules=ContainersRules,
        controls=(*(rule.control(engines) for rule in RULES), UNLISTED, *guests.CONTROLS),
        plan=partial(plan, engines),
        facts=(*present.FACTS, Lsm, Seccomp),
        unproved="it is about how containers were started, and proofs touch none but those that they made",
    )
