"""Whether containerd asks a program before it pulls an image for Kubernetes (image-verification.md and config.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploys.core.control import some
from deploys.engines.containerd.settings import CRI, IMAGES, PLUGINS, said, setter, setting
from facts.core.reading import known
from facts.engines.containerd.containerd import VERIFIER, ContainerdReading

# The release from which on Kubernetes' images come by the service that asks verifiers, and not past it.
ASKED = (2, 1)
# What has containerd pull past that service, where it is not this.
BY_SERVICE: dict[str, Any] = {
    "use_local_image_pull": False, "disable_snapshot_annotations": True, "discard_unpacked_layers": False,
    "max_concurrent_downloads": 3, "image_pull_with_sync_fs": False,
}  # fmt: skip
REGISTRY = ("mirrors", "configs", "auths")  # tables that have it do so too
# Files of version 2 have these keys in the plugin of all of CRI.
PLACES = (("plugins", PLUGINS[IMAGES]), ("plugins", CRI), ("plugins", CRI, "containerd"))


def _past(containerd: ContainerdReading) -> Iterator[str]:
    for place in PLACES:
        for name, wanted in BY_SERVICE.items():
            if setting(containerd, (*place, name), wanted) != wanted:
                yield said(containerd, (*place, name), wanted)
        for name in REGISTRY:
            if setting(containerd, (*place, "registry", name), None):
                yield f"registry.{name} is set ({setter(containerd, place) or containerd.file})"


def too_old(containerd: ContainerdReading) -> str:
    """Why it can ask none; "" where it can."""
    if containerd.release >= ASKED:
        return ""
    return f"containerd {known(containerd.version)} asks no verifier for Kubernetes' images: 2.1 is the first that does"


def unasked(containerd: ContainerdReading) -> str:
    """Why it asks none; "" where it does."""
    if VERIFIER in known(containerd.config).get("disabled_plugins", []):
        return f"its plugin {VERIFIER} is disabled"
    if past := list(_past(containerd)):
        return f"images are pulled past it, as {some(past)}"
    if setting(containerd, ("plugins", VERIFIER, "max_verifiers"), 10) == 0:
        return said(containerd, ("plugins", VERIFIER, "max_verifiers"), 10)
    return "" if known(containerd.verifiers) else "there is no program in its folder"
