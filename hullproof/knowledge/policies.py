"""What a policy says at the keys that want a control."""

from __future__ import annotations

from typing import Any

from deploys.core.control import Control
from deploys.core.policy import Policy, Rules
from deploys.kernel.boot_parameters import name_of


def key_of(rules: type[Rules], field: str) -> str:
    """A field as a policy writes it."""
    return rules.model_fields[field].alias or field


def declared(policy: Policy, rules: type[Rules], field: str) -> Any:
    """What a policy says there, as plain data; None where it says nothing."""
    return policy[rules].model_dump(mode="json", by_alias=True).get(key_of(rules, field))


def declared_for(control: Control, policy: Policy, rules: type[Rules], field: str) -> Any:
    """The same; of all sysctls and all boot parameters what is said of the one that the control is about."""
    found = declared(policy, rules, field)
    kind, name = entry_of(control)
    if kind == "sysctl" and isinstance(found, dict):
        return found.get(name)
    if kind == "boot" and isinstance(found, list):
        return next((word for word in found if name_of(word) == name), None)
    return found


def entry_of(control: Control) -> tuple[str, str]:
    """Of a control about one entry of a key that has many, its kind and name: (`sysctl`, `kernel.kptr_restrict`)."""
    kind, _, name = control.id.partition(".")[2].partition(".")
    return (kind, name) if kind in ("sysctl", "boot") else ("", "")
