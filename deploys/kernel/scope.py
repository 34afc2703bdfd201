"""On which hosts the kernel is asked: those with one of their own, as far as the policy declares something."""

from __future__ import annotations

from collections.abc import Callable

from deploys.core.control import (
    Check,
    in_container,
    naming_key,
    only_where,
    undeclared,
)
from deploys.kernel.rules import KernelRules

on_own_kernel = only_where(in_container)


def on_kernel(key: str, wanted: str = "") -> Callable[[Check], Check]:
    """Only on a host with a kernel of its own, where the policy declares `key`."""
    name = f"kernel.{key}"
    where, naming = only_where(in_container, undeclared(KernelRules, name)), naming_key(name, wanted)
    return lambda check: where(naming(check))
