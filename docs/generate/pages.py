"""Which files are generated, and from what."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from deploys.core.policy_file import load_policy
from deploys.subjects import SUBJECTS
from docs.generate.accept_names import accept_names_page
from docs.generate.commands import commands_page
from docs.generate.controls import controls_page
from docs.generate.exit_codes import exit_codes_page
from docs.generate.matrix import matrix_page
from docs.generate.policy_keys import policy_keys_page
from docs.generate.policy_schema import policy_schema
from hullproof.command import main
from hullproof.knowledge.proofs import proofs

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ("baseline", "strict")


@cache
def files() -> dict[str, str]:
    """The text of each generated file, by its path in the clone."""
    policies = [load_policy(name, SUBJECTS) for name in POLICIES]
    return {
        "docs/reference/controls.md": controls_page(SUBJECTS, policies, proofs()),
        "docs/reference/matrix.md": matrix_page(SUBJECTS, proofs()),
        "docs/reference/policy-keys.md": policy_keys_page(SUBJECTS, policies),
        "docs/reference/accept-names.md": accept_names_page(),
        "docs/reference/exit-codes.md": exit_codes_page(),
        "docs/reference/commands.md": commands_page(main),
        "inventories/policies/policy.schema.json": policy_schema(SUBJECTS),
    }
