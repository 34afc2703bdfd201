"""The subjects, in the order in which a run reads, judges and changes them. A new subject is one line here."""

from __future__ import annotations

from deploys import apparmor, bridges, docker, kernel, networks, seccomp, userns
from deploys.engine.change import Subject

SUBJECTS: tuple[Subject, ...] = (
    kernel.SUBJECT,
    apparmor.SUBJECT,
    seccomp.SUBJECT,
    userns.SUBJECT,
    docker.SUBJECT,
    networks.SUBJECT,
    bridges.SUBJECT,
)
