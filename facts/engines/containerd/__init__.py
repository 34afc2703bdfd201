"""containerd as it is on a host."""

from facts.engines.containerd.containerd import Containerd as Containerd
