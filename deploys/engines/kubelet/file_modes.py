"""The kubelet's files: who may read what makes its holder this node, and who may change what the kubelet does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from shlex import quote

from deploys.core.change import Blocked, Change, Command, Context
from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.kubelet.managed import obstacle
from deploys.engines.kubelet.rules import KubeletRules
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.kubelet.kubelet import Kubelet, KubeletReading
from facts.modes import Access, granted

FOLDER = 0o755
Part = tuple[tuple[Access, ...] | Unknown, int]  # files, and the widest mode that they may have


@dataclass(frozen=True)
class Loose:
    file: Access
    widest: int

    @property
    def by_mode(self) -> bool:
        return bool(self.file.mode & ~self.widest) or (self.file.owner, self.file.group) != ("root", "root")

    @property
    def by_acl(self) -> list[str]:
        """The entries that give somebody more than the mode gives everybody."""
        entries = () if isinstance(self.file.acl, Unknown) else self.file.acl
        return [each for each in entries if granted(each) & ~self.widest & 7 and not each.startswith("user:root:")]

    @property
    def target(self) -> str:
        return f"{self.file.mode & self.widest:04o}"

    def __str__(self) -> str:
        file = self.file
        mode = f"{file.path} is {file.mode:04o} {file.owner}:{file.group}, not {self.target} root:root"
        acl = f"the access control list of {file.path} has {', '.join(self.by_acl)}"
        return "; ".join([mode] * self.by_mode + [acl] * bool(self.by_acl))


@dataclass(frozen=True)
class Files:
    """A control of some of the files."""

    name: str
    title: str
    why: str
    severity: Severity
    references: tuple[str, ...]
    parts: Callable[[KubeletReading], tuple[Part, ...]]

    @property
    def control(self) -> str:
        return f"kubelet.{self.name}"

    def row(self) -> Control:
        return Control(
            id=self.control,
            title=self.title,
            severity=self.severity,
            why=self.why,
            check=self.check,
            references=self.references,
            by_hand="give these files to root:root, with the modes that the finding names",
        )

    def loose(self, kubelet: KubeletReading) -> list[Loose]:
        each = [(file, mode) for files, mode in self.parts(kubelet) for file in known(files)]
        found = [Loose(file, FOLDER if file.kind == "directory" else mode) for file, mode in each]
        return [one for one in found if one.by_mode or one.by_acl]

    def check(self, survey: Survey, policy: Policy) -> Verdict:
        kubelet = survey[Kubelet]
        if not kubelet.present:
            return not_applicable("no kubelet is there")
        if not policy[KubeletRules].file_modes:
            return not_applicable("the policy does not declare kubelet.file_modes")
        if loose := self.loose(kubelet):
            said = [str(one) for one in loose]
            why = f"{some(said)}; the policy wants no wider modes (kubelet.file_modes)"
            return failed(why, declared="root:root, with modes no wider than CIS Kubernetes section 4.1", live=said)
        for files, _ in self.parts(kubelet):
            for file in known(files):
                if isinstance(file.acl, Unknown):
                    raise UnknownReading(f"{file.path}: {file.acl.unknown}")
        return passed("these files are root's, with modes no wider than the policy wants", declared=True, live=[])

    def plan(self, context: Context) -> Iterator[Change]:
        if not context.failing(self.control):
            return
        kubelet = context.survey[Kubelet]
        loose = self.loose(kubelet)
        by_mode = [one for one in loose if one.by_mode]
        what = f"set owner and mode of {some((f'{one.file.path} ({one.target})' for one in by_mode), 20)}"
        if found := obstacle(kubelet, context):
            yield found.block("kubelet", f"close {some(one.file.path for one in loose)}", controls=(self.control,))
            return
        for one in loose:
            if one.by_acl:
                remove = f"remove the access control list of {one.file.path}"
                why = f"these rights were given on purpose: find out by whom, then setfacl -b {quote(one.file.path)}"
                yield Blocked("kubelet", remove, why=why, controls=(self.control,))
        if by_mode:
            script = [_set(one.file.path, one.target, "root:root") for one in by_mode]
            undo = [_set(f.path, f"{f.mode:04o}", f"{f.owner}:{f.group}") for f in (one.file for one in by_mode)]
            yield Command("kubelet", what, script="\n".join(["set -e", *script]), undo="\n".join(undo),
                          controls=(self.control,))  # fmt: skip


def _set(path: str, mode: str, owner: str) -> str:
    return f"[ ! -e {quote(path)} ] || {{ chown {quote(owner)} {quote(path)}; chmod {mode} {quote(path)}; }}"


FILES = (
    Files(
        name="files",
        title="The kubelet's unit and configuration are root's alone",
        severity=Severity.HIGH,
        why="Whoever changes them decides what the kubelet does as root.",
        references=("CIS-Kubernetes-4.1.1", "CIS-Kubernetes-4.1.2", "CIS-Kubernetes-4.1.9", "CIS-Kubernetes-4.1.10"),
        parts=lambda kubelet: ((kubelet.settings, 0o600),),
    ),
    Files(
        name="credentials",
        title="The node's credentials are root's alone",
        severity=Severity.HIGH,
        why="Whoever reads a kubeconfig is this node for the cluster; who changes the authority is any client.",
        references=tuple(f"CIS-Kubernetes-4.1.{number}" for number in range(3, 9)),
        parts=lambda kubelet: ((kubelet.credentials, 0o600), (kubelet.authorities, 0o644)),
    ),
)
