"""What a shell completes: controls, subjects and policies, from files alone, since each TAB is a process."""

from __future__ import annotations

import json
from typing import Any

import click
from click.shell_completion import CompletionItem

from deploys.core.policy_file import POLICIES


def _ids() -> list[str]:
    """Every control's id, as the policy's JSON Schema has them: reading it is quicker than importing all subjects."""
    try:
        schema: Any = json.loads((POLICIES / "policy.schema.json").read_bytes())
        return list(schema["$defs"]["Waiver"]["properties"]["control"]["enum"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def complete_controls(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of controls, and subjects."""
    ids = _ids()
    words = [*dict.fromkeys(control.partition(".")[0] for control in ids), *ids]
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def complete_policies(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of policies; what looks like a path is left to the shell."""
    if "/" in incomplete or incomplete.startswith((".", "~")):
        return [CompletionItem(incomplete, type="file")]
    found = sorted(path.stem for path in POLICIES.glob("*.yml") if path.stem.startswith(incomplete))
    return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="file")]
