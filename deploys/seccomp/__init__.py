"""Seccomp filters of containers and of the daemon."""
