"""libvirt as it is on a host."""

from facts.engines.libvirt.libvirt import Libvirt as Libvirt
