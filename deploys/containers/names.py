"""How a policy names containers: each by its own name, or all of an image or of a user. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from facts.containers import Container

FORMS = "`web`, `lxc:web`, `containerd:other/aside`, `image:registry.example/web:2`, `1000/web`, `user:1000`"
IMAGE = "image:"
OF_USER = re.compile(r"[0-9]+/")


def checked(name: str) -> str:
    """The name, if it has one of these forms; ValueError where it can name nothing."""
    if name.startswith("user:") and not re.fullmatch(r"user:[1-9][0-9]*", name):
        raise ValueError(f"{name} names nobody: write the user's number, as in user:1000")
    if name.startswith(IMAGE) and not re.fullmatch(rf"{IMAGE}[^\s@]+(@\S+)?", name):
        raise ValueError(f"{name} names no image: write it as in image:registry.example/web:2")
    return name


def naming(container: Container, names: Collection[str]) -> str:
    """The first of the names that is one of this container; "" where none is. Users choose what their containers and
    images are called, so those go by the user's number."""
    if container.user:
        own = [f"{container.user}/{container.name}", f"user:{container.user}"]
        return next((name for name in own if name in names), "")
    own = [*[container.name] * (not OF_USER.match(container.name)), f"{container.engine}:{container.name}"]
    found = next((name for name in own if name in names), "")
    return found or next((name for name in names if name.startswith(IMAGE) and _made_from(container, name)), "")


def unknowable(container: Container, names: Collection[str]) -> bool:
    """Whether it cannot be told that none of the names is this container's."""
    if container.user or not names:
        return False
    nameless = container.engine == "docker" and container.nameless
    imageless = container.bundled and not container.image
    return nameless or (imageless and any(name.startswith(IMAGE) for name in names))


def _made_from(container: Container, name: str) -> bool:
    return _plain(name.removeprefix(IMAGE)) in set(_spelled(container.image))


def _spelled(image: str) -> Iterator[str]:
    """An image's names: whole; with its tag, which is `latest` where none was given; without."""
    if image:
        path = _plain(image).partition("@")[0]
        base, tag = re.fullmatch(r"(.*?)(:[^:/]*)?", path).groups("")  # type: ignore[union-attr]
        yield from (_plain(image), base, base + (tag or ":latest" * ("@" not in image)))


def _plain(image: str) -> str:
    """Docker's own registry goes without saying: `nginx` is docker.io/library/nginx."""
    return image.removeprefix("docker.io/").removeprefix("library/")
