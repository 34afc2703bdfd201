"""Docker as it is on a host."""

from facts.engines.docker.docker import Docker as Docker
