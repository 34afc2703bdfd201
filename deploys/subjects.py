"""The subjects, in the order in which a run reads, judges and changes them. A new subject is one line here, and a new
container engine is two: its own subject, and its parts of the others."""

from __future__ import annotations

from functools import reduce

from deploys.apparmor import controls as apparmor
from deploys.audit import controls as audit
from deploys.bridges import controls as bridges
from deploys.cgroups import controls as cgroups
from deploys.containers import controls as containers
from deploys.core.change import Subject
from deploys.engines.containerd import controls as containerd
from deploys.engines.docker import controls as docker
from deploys.engines.docker import parts as docker_parts
from deploys.engines.docker.containers import DockerContainers
from deploys.engines.docker.networks import DockerNetworks
from deploys.engines.incus import controls as incus
from deploys.engines.kubelet import controls as kubelet
from deploys.engines.libvirt import controls as libvirt
from deploys.engines.lxc import controls as lxc
from deploys.engines.nspawn import controls as nspawn
from deploys.engines.podman import controls as podman
from deploys.engines.podman import parts as podman_parts
from deploys.engines.rkt import controls as rkt
from deploys.engines.rootless import controls as rootless
from deploys.engines.rootless.rules import users_of
from deploys.files import controls as files
from deploys.kernel import controls as kernel
from deploys.lsm import controls as lsm
from deploys.networks import controls as networks
from deploys.run.steps import PACKAGES
from deploys.seccomp import controls as seccomp
from deploys.selinux import controls as selinux
from deploys.userns import controls as userns

ENGINES = (docker_parts.PARTS, podman_parts.PARTS)  # what each container engine adds to the subjects of other names

OWN: tuple[Subject, ...] = (
    kernel.subject(users_of),
    audit.SUBJECT,
    lsm.SUBJECT,
    selinux.SUBJECT,
    apparmor.SUBJECT,
    seccomp.SUBJECT,
    userns.SUBJECT,
    cgroups.SUBJECT,
    docker.SUBJECT,
    podman.SUBJECT,
    rootless.SUBJECT,
    containerd.SUBJECT,
    kubelet.SUBJECT,
    libvirt.SUBJECT,
    lxc.SUBJECT,
    incus.SUBJECT,
    nspawn.SUBJECT,
    rkt.SUBJECT,
    containers.subject((DockerContainers(),)),
    networks.subject((DockerNetworks(),)),
    bridges.SUBJECT,
    files.SUBJECT,
)


def _whole(subject: Subject) -> Subject:
    """The subject with every engine's part of it."""
    return reduce(Subject.with_part, (parts[subject.name] for parts in ENGINES if subject.name in parts), subject)


SUBJECTS = tuple(_whole(subject) for subject in OWN)

# What a run enforces, one after the other on every host.
STEPS = (PACKAGES, *(subject.name for subject in SUBJECTS), "services")
