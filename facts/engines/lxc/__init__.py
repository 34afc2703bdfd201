"""LXC as it is on a host."""

from facts.engines.lxc.lxc import Lxc as Lxc
