"""What Docker adds to subjects of other names."""

from __future__ import annotations

from collections.abc import Mapping

from deploys.core.change import Part
from deploys.engines.docker import seccomp, userns

PARTS: Mapping[str, Part] = {
    "seccomp": seccomp.PART,
    "userns": userns.PART,
}
