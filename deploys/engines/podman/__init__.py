"""Podman: what it gives the containers that root makes from now on, and who may speak to its API."""
