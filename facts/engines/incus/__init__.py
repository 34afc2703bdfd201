"""Incus and LXD as they are on a host."""

from facts.engines.incus.incus import Incus as Incus
