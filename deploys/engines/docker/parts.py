"""What Docker adds to subjects of other names."""

from __future__ import annotations

from collections.abc import Mapping

from deploys.core.change import Part
from deploys.engines.docker import userns

PARTS: Mapping[str, Part] = {
    "userns": userns.PART,
}
