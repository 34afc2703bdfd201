"""The page of the names by which consequences are accepted."""

from __future__ import annotations

from docs.generate.markdown import GENERATED, table, text
from hullproof.knowledge.accepts import ACCEPTS, DAEMON, Accepting

HEAD = f"""\
# Names to accept

A change that would cost something waits until its consequence is accepted by name: in the policy (`accept: [NAME]`), or
for one run (`--data accept=NAME,NAME`). The plan says which name a change waits for, under *Blocked, and how to allow
it*.

{GENERATED}
"""


def accept_names_page() -> str:
    rows = ((f"`{name}`", text(row.allows), text(f"{_controls(row)}{row.when}")) for name, row in ACCEPTS.items())
    return "\n".join([HEAD, *table(("Name", "What is accepted", "What waits for it"), rows)])


def _controls(row: Accepting) -> str:
    """Those that restart a daemon are too many for a table."""
    few = [pattern for pattern in row.controls if pattern not in DAEMON or len(row.controls) < len(DAEMON)]
    many = ["what restarts Docker"] if len(few) < len(row.controls) else []
    return "".join(f"{what}, " for what in [*many, *(f"`{pattern}`" for pattern in few)])
