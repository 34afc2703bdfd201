"""The process of a run over a fleet; `hullproof.fleet.start` says with what."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from hullproof.fleet.processes import Processes
from hullproof.fleet.run import Asked, FleetError, listing, run
from hullproof.fleet.start import REQUEST


def main(kind: str, inventory: str, options: Sequence[str], workers: int) -> int:
    """The exit code of the run."""
    try:
        found = listing(inventory, options, Processes.by_region)
        with Processes(workers) as team:
            return run(Asked(kind, inventory, options), found, team)
    except FleetError as error:
        print(f"hullproof: {error}. Exit code 1.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(**json.loads(os.environ.pop(REQUEST))))
