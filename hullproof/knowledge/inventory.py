"""Which policy an inventory's hosts have: of their data alone, as a run reads it, without connecting to any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploys.core.policy import Policy
from deploys.core.policy_file import PolicyError, load_policy
from deploys.run.run import names
from deploys.subjects import SUBJECTS
from hullproof.inventory import ask_inventory


@dataclass(frozen=True)
class Alike:
    """Hosts with the same policy and the same accepted names. `policy`: what is wrong with it where it was refused."""

    hosts: tuple[str, ...]
    name: str
    policy: Policy | str


def policies_of(inventory: str, data: Sequence[str] = ()) -> list[Alike]:
    """The hosts of an inventory by their policies; `data` is as pyinfra's --data. Raises InventoryError."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for target in ask_inventory(inventory, data=data):
        key = str(target.data.get("policy", "baseline")), names(target.data.get("accept"))
        found.setdefault(key, []).append(target.name)
    return [Alike(tuple(hosts), name, _loaded(name, accept)) for (name, accept), hosts in found.items()]


def _loaded(name: str, accept: tuple[str, ...]) -> Policy | str:
    try:
        return load_policy(name, SUBJECTS, extra_accept=accept)
    except PolicyError as error:
        return "; ".join(error.problems)
