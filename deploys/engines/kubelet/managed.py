"""Whose node it is: where others manage the kubelet, hullproof writes nothing, and says where it is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploys.core.change import Context, Obstacle
from facts.engines.kubelet.kubelet import KubeletReading

NODE = "kubelet-node"  # accepting it: the kubelet's files are written though it is not known who manages the node


@dataclass(frozen=True)
class Manager:
    shown: str
    where: str  # a clause: what the operator does to set something


FOREIGN: Mapping[str, Manager] = {
    "k3s": Manager("k3s", "give it as kubelet-arg in /etc/rancher/k3s/config.yaml, and restart k3s"),
    "rke2": Manager("RKE2", "give it as kubelet-arg in /etc/rancher/rke2/config.yaml, and restart RKE2"),
    "microk8s": Manager(
        "MicroK8s", "give it in /var/snap/microk8s/current/args/kubelet, and run snap restart microk8s.daemon-kubelite"
    ),
    "k0s": Manager("k0s", "set it in a worker profile of k0s's own configuration"),
    "openshift": Manager("OpenShift's machine configuration", "set it in a KubeletConfig of the cluster"),
    "eks": Manager(
        "EKS", "set it in the node group's launch template (spec.kubelet of NodeConfig, or bootstrap.sh's arguments)"
    ),
    "aks": Manager("AKS", "set it in the node pool's custom configuration (az aks nodepool add --kubelet-config)"),
    "gke": Manager(
        "GKE", "set it in the node pool's system configuration (gcloud container node-pools --system-config-from-file)"
    ),
    "kops": Manager("kOps", "set it in spec.kubelet of the cluster or of the instance group"),
    "gardener": Manager("Gardener", "set it in spec.kubernetes.kubelet of the Shoot, or of its worker group"),
    "oke": Manager("OKE", "set it in the node pool's cloud-init (kubelet-extra-args)"),
}


def obstacle(kubelet: KubeletReading, context: Context) -> Obstacle | None:
    """Why nothing of the kubelet's is changed on this node; None where it may be."""
    manager = FOREIGN.get(kubelet.manager)
    if manager:
        return Obstacle(
            why=f"{manager.shown} manages this node, and would undo what is written here", by_hand=manager.where
        )
    if kubelet.manager or context.accepts(NODE):
        return None
    return Obstacle(
        why="kubeadm did not set this node up, and whoever else did may write its files again, or replace the node",
        by_hand="set it there",
        accepts=(NODE,),
    )
