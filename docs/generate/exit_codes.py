"""The page of exit codes."""

from __future__ import annotations

from deploys.report.report import EXIT_CODES
from docs.generate.markdown import GENERATED, table, text

HEAD = f"""\
# Exit codes

Every entry point (`drift`, `harden`, `provision`, `rollback`) ends with one of these. `report.json` has it as
`exit_code`.

{GENERATED}
"""


def exit_codes_page() -> str:
    rows = ((f"`{code}`", text(meaning)) for code, meaning in EXIT_CODES.items())
    return "\n".join([HEAD, *table(("Code", "Meaning"), rows)])
