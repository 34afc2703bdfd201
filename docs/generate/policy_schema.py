"""The policy's JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deploys.core.change import Subject
from deploys.core.policy_file import policy_model


def policy_schema(subjects: Sequence[Subject]) -> str:
    """The schema (draft 2020-12) that editors complete a policy from and check it against."""
    schema = policy_model(subjects).model_json_schema()
    controls = sorted(control.id for subject in subjects for control in subject.controls)
    if controls:
        schema["$defs"]["Waiver"]["properties"]["control"]["enum"] = controls
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hullproof policy"}
    return json.dumps({**schema, **head}, indent=2, sort_keys=True) + "\n"
