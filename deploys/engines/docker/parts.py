"""What Docker adds to subjects of other names."""

from __future__ import annotations

from collections.abc import Mapping

from deploys.core.change import Part
from deploys.engines.docker import apparmor, cgroups, seccomp, selinux, userns

PARTS: Mapping[str, Part] = {
    "apparmor": apparmor.PART,
    "cgroups": cgroups.PART,
    "selinux": selinux.PART,
    "seccomp": seccomp.PART,
    "userns": userns.PART,
}
