"""The kubelet of a Kubernetes node: its API, what pods get from it, and its files. Pods' networks are left to their
overlay (flannel, Calico, Cilium …), which is only judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.core.change import Change, Context, Remark, Subject, Undoing, by_hand
from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.kubelet import config, kernel, pods
from deploys.engines.kubelet.file_modes import FILES
from deploys.engines.kubelet.keys import API, SECCOMP
from deploys.engines.kubelet.keys import KEYS as OWN
from deploys.engines.kubelet.managed import NODE
from deploys.engines.kubelet.rules import KubeletRules
from deploys.engines.kubelet.settings import out_of_reach
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.kubelet.kubelet import Kubelet
from facts.kernel.kernel import Kernel

KEYS = (*OWN, *kernel.KEYS)


def _settings(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: the kubelet does not start with a file that it cannot read."""
    kubelet = survey[Kubelet]
    if not kubelet.present:
        return not_applicable("no kubelet is there")
    if kubelet.inside and not kubelet.running:
        raise UnknownReading(f"{out_of_reach(kubelet)}, whose files are not read")
    if why := out_of_reach(kubelet):
        return not_applicable(why)
    if kubelet.broken:
        why = f"the kubelet does not start with this: {some(kubelet.broken)}"
        return failed(why, declared="valid", disk=list(kubelet.broken))
    known(known(kubelet.disk).files)
    return passed(f"the kubelet's files can be read{_overlay(kubelet.overlays)}", declared="valid", disk=[])


def _overlay(devices: tuple[str, ...]) -> str:
    return f"; {some(devices)}: the pods' network is left to its overlay" if devices else ""


def plan(context: Context) -> Iterator[Change]:
    for control in context.which("kubelet.settings", pods.CONTROL.id):
        yield by_hand(context.findings[control])
    for files in FILES:
        yield from files.plan(context)
    yield from config.plan(context, KEYS)


def undoing(undoing: Undoing) -> Iterable[Remark]:
    for entry in undoing.entries:
        if entry.subject == "kubelet" and entry.kind == "service":
            yield Remark(entry.id, interrupts=config.RESTARTS)


CONTROLS = (
    Control(
        id="kubelet.settings",
        title="The kubelet's files are valid",
        severity=Severity.HIGH,
        why="With a broken file the kubelet does not start again, and the node's pods are taken to be lost.",
        check=_settings,
        by_hand="correct the file that the finding names",
    ),
    *(key.row() for key in KEYS),
    *(files.row() for files in FILES),
    pods.CONTROL,
)

SUBJECT = Subject(
    name="kubelet",
    rules=KubeletRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Kubelet, Kernel),
    accepts=(API, NODE, SECCOMP),
    undoing=undoing,
    unproved="an attempt asks its API, of which only a cluster's node has one: tests/lab attacks one in a drill",
    installed=lambda survey: survey[Kubelet].present,
)
