"""The subjects, in the order in which a run reads, judges and changes them. A new subject is one line here."""

from __future__ import annotations

from deploys import apparmor, audit, bridges, docker, kernel, lsm, networks, seccomp, selinux, userns
from deploys.engine.arrange import PACKAGES
from deploys.engine.change import Subject

SUBJECTS: tuple[Subject, ...] = (
    kernel.SUBJECT,
    audit.SUBJECT,
    lsm.SUBJECT,
    selinux.SUBJECT,
    apparmor.SUBJECT,
    seccomp.SUBJECT,
    userns.SUBJECT,
    docker.SUBJECT,
    networks.SUBJECT,
    bridges.SUBJECT,
)

# What a run enforces, one after the other on every host.
STEPS = (PACKAGES, *(subject.name for subject in SUBJECTS), "services")
