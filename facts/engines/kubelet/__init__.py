"""The kubelet as it is on a host."""

from facts.engines.kubelet.kubelet import Kubelet as Kubelet
