"""The kernel as it is on a host."""

from facts.kernel.kernel import Kernel as Kernel
