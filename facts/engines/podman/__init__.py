"""Podman as it is on a host."""

from facts.engines.podman.podman import Podman as Podman
