"""A host whose kernel is judged and planned for: its readings by hand, and what they are after a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deploys.core.change import Change, Command, Context, RemoveFile, WriteFile
from deploys.core.control import Verdict, judge
from deploys.core.policy import Policy
from deploys.kernel.controls import CONTROLS, subject
from deploys.kernel.rules import KernelRules
from deploys.kernel.sysctl_files import PATHS
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.core.system import System, SystemReading
from facts.engines.docker.docker import DaemonJson, Docker, DockerReading
from facts.kernel.boot import DROP_IN, Boot
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.packages import Package, Reboot
from facts.kernel.sysctls import SysctlFile, Sysctls
from tests.support.hosts import beside

SUBJECT = subject(lambda policy: ())
OURS = PATHS[0]
FORWARD = "net.ipv4.ip_forward"


def sysctls_of(live: dict[str, str], files: Mapping[str, str | Unknown] | None = None) -> Sysctls:
    given = sorted((files or {}).items(), key=lambda item: item[0].rpartition("/")[2])
    return Sysctls({"kernel.threads-max": "1000", **live}, {}, tuple(SysctlFile(path, text) for path, text in given))


KERNEL = KernelReading(
    release="6.1.0-50-amd64",
    build="#1 SMP Debian 6.1.192-2",
    machine="x86_64",
    version="6.1.192-2",
    boot_id="b",
    packages=(Package("linux-image-6.1.0-50-amd64", "6.1.192-2", "6.1.0-50-amd64", False),),
    images=("6.1.0-50-amd64",),
    candidate="6.1.192-2",
    reboot=Reboot(False, "the newest installed kernel is running"),
    cmdline=("root=/dev/vda1", "ro"),
    boot=Boot("grub", "gnulinux", ("root=/dev/vda1", "ro"), {"/etc/default/grub": 'GRUB_CMDLINE_LINUX=""\n'}),
    modules=("overlay",),
    builtin=(),
    blocked={},
    sysctls=sysctls_of({}),
    livepatches={},
    livepatch_tools=(),
    config={"RANDOMIZE_KSTACK_OFFSET": "y", "SHUFFLE_PAGE_ALLOCATOR": "y", "SECURITY_LOCKDOWN_LSM": "y"},
)

DOCKER = DockerReading(
    installed=True, package="docker.io", package_version="20", running=True, version="20",
    daemon_json=DaemonJson("/etc/docker/daemon.json", None, {}), keys_known=(), can_validate=False, flags={}, info={},
    networks=(), containers=(), stored=Unknown("not asked"), files=(), group_users=(), listeners=(), proxies=0,
    log=(),
)  # fmt: skip

SYSTEM = SystemReading(
    id="debian", id_like=(), version_id="12", pretty_name="Debian 12", architecture="x86_64", hostname="h", uid=0,
    clock=0, systemd=True, container=None,
)  # fmt: skip


def survey_of(kernel: KernelReading | Unknown = KERNEL, docker: Any = DOCKER, system: SystemReading = SYSTEM) -> Survey:
    return Survey({Kernel: kernel, Docker: docker, Containers: beside(docker), System: system})


def policy_of(**rules: Any) -> Policy:
    return Policy("test", {KernelRules: KernelRules(**rules)})


def verdict_of(id_: str, survey: Survey, **rules: Any) -> Verdict:
    control = next(control for control in CONTROLS if control.id == id_)
    return judge([control], survey, policy_of(**rules))[0].verdict


def planned(survey: Survey, policy: Policy) -> list[Change]:
    findings = {finding.control.id: finding for finding in judge(CONTROLS, survey, policy)}
    return list(SUBJECT.plan(Context(survey=survey, policy=policy, findings=findings)))


def applied(kernel: KernelReading, changes: Iterable[Change]) -> KernelReading:
    """The reading after the changes: files written, `put` lines done, boot parameters in the menu."""
    files = {file.path: file.text for file in kernel.sysctls.files}
    live, boot = dict(kernel.sysctls.live), kernel.boot
    for change in changes:
        if isinstance(change, WriteFile) and change.path == DROP_IN:
            assert boot.defaults.get(DROP_IN) == change.before
            boot = replace(boot, defaults={**boot.defaults, DROP_IN: change.text})
            boot = replace(boot, configured=(*boot.configured, *boot.own_parameters))  # type: ignore[misc]
        elif isinstance(change, WriteFile):
            assert files.get(change.path) == change.before
            files[change.path] = change.text
        elif isinstance(change, RemoveFile):
            assert files.pop(change.path) == change.before
        elif isinstance(change, Command):
            lines = (line.rpartition("|| ")[2] for line in change.script.splitlines())
            puts = [line.split() for line in lines if line.startswith("put ")]
            live |= {path.replace("/", "."): value.strip("'") for _, path, value in puts}
    return replace(kernel, sysctls=sysctls_of(live, files), boot=boot)


def written(changes: Iterable[Change]) -> WriteFile:
    return next(change for change in changes if isinstance(change, WriteFile))
