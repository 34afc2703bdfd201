"""The process of a run over a fleet; `hullproof.fleet.start` says with what."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager

from hullproof.fleet import tls as certificates
from hullproof.fleet.processes import Processes
from hullproof.fleet.run import Asked, FleetError, Team, listing, run
from hullproof.fleet.start import REQUEST


def main(
    kind: str,
    inventory: str,
    options: Sequence[str],
    workers: int = 1,
    scheduler: str = "",
    tls: str = "",
    unencrypted: bool = False,
    history: str | None = None,
    output: str | None = None,
) -> int:
    """The exit code of the run: by so many processes here, or by the workers of a scheduler."""
    try:
        with team(workers, scheduler, tls, unencrypted) as those:
            found = listing(inventory, options, those.by_region)
            return run(Asked(kind, inventory, options, history, output), found, those)
    except (FleetError, certificates.TlsError) as error:
        print(f"hullproof: {error}. Exit code 1.", file=sys.stderr)
        return 1


def team(workers: int, scheduler: str, tls: str, unencrypted: bool) -> AbstractContextManager[Team]:
    """Who carries the run out. FleetError or TlsError where there is nobody to."""
    if not scheduler:
        return Processes(workers)
    try:
        from hullproof.fleet.cluster import Cluster
    except ImportError as error:
        raise FleetError(f"--scheduler wants Dask ({error}): pip install 'hullproof[fleet]'") from None
    return Cluster(certificates.check(scheduler, tls, unencrypted), tls)


if __name__ == "__main__":
    sys.exit(main(**json.loads(os.environ.pop(REQUEST))))
