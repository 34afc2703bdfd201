"""Pods' networks: their overlay is left alone, and it is said whether anything holds them to network policies."""

from __future__ import annotations

from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.kubelet.rules import KubeletRules
from deploys.engines.kubelet.settings import out_of_reach
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from facts.engines.kubelet.kubelet import Kubelet, KubeletReading

# Plugins of CNI whose own agents hold pods to policies, where they run.
ENFORCING = ("calico", "cilium-cni", "antrea", "kube-ovn", "ovn-k8s-cni-overlay", "weave-net")


def _not_known(kubelet: KubeletReading) -> str:
    """Why it cannot be told; "" where it can."""
    if kubelet.manager in ("k3s", "rke2"):
        return f"{kubelet.manager} has a network policy engine within its own process, unless it was told not to"
    if not kubelet.plugins:
        return "no file in /etc/cni/net.d says what makes the pods' network"
    if "aws-cni" in kubelet.plugins:
        return "the agent that holds the pods of aws-cni to network policies is called controller, as others are"
    if idle := [name for name in kubelet.plugins if name in ENFORCING]:
        return f"the pods' network is of {some(idle)}, whose agent does not run as root in the host's network"
    return "multus gives pods more than one network" if "multus" in kubelet.plugins else ""


def _separation(survey: Survey, policy: Policy) -> Verdict:
    kubelet = survey[Kubelet]
    if not kubelet.present:
        return not_applicable("no kubelet is there")
    if not policy[KubeletRules].pod_separation:
        return not_applicable("the policy does not declare kubelet.pod_separation")
    if why := out_of_reach(kubelet):
        return not_applicable(why)
    if found := kubelet.policing:
        return passed(f"{some(found)} holds pods to the cluster's network policies", declared=True, live=list(found))
    if why := _not_known(kubelet):
        raise UnknownReading(why)
    reason = f"the pods' network is of {some(kubelet.plugins)}, and nothing here holds pods to network policies"
    wanted = "every pod reaches every other one; the policy wants them held to some (kubelet.pod_separation)"
    return failed(f"{reason}: {wanted}", declared=True, live=[])


CONTROL = Control(
    id="kubelet.pod-separation",
    title="Something holds pods to the cluster's network policies",
    severity=Severity.MEDIUM,
    why="An overlay such as flannel connects every pod with every other one, and a NetworkPolicy changes nothing.",
    check=_separation,
    references=("CIS-Kubernetes-5.3.1", "NIST-800-190-4.3.3"),
    by_hand="give the cluster a network policy engine (Calico beside flannel, kube-router, Cilium): the cluster says "
    "who may talk, and hullproof leaves its network alone",
)
