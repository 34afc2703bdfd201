"""What Podman adds to subjects of other names."""

from __future__ import annotations

from collections.abc import Mapping

from deploys.core.change import Part
from deploys.engines.podman import user_namespace

PARTS: Mapping[str, Part] = {"userns": user_namespace.PART}
