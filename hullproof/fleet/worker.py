"""What a worker of Dask does: one part, as a process of pyinfra, over the inventory and with the keys that it has.

Only names of hosts, options and the report travel. The attempt has a run id of its own: Dask may give a part to another
worker while this one only seems to be dead, and a host's journal takes two runs for two controllers, one for one.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict
from typing import Any

from deploys.report.report import version
from hullproof.fleet.part import Carried, carry_out
from hullproof.fleet.parts import Job, Part


def survey(job: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Carried, its report compressed. In plain types, since whoever asks may have another release."""
    if job["version"] != version():
        why = f"its worker has hullproof {version()}, and the controller {job['version']}: install the same on both"
        return asdict(Carried(problem=why))
    carried = asdict(carry_out(Job(**job), Part(**part)))
    return carried | {"report": zlib.compress(carried["report"], 1)}


def carried(found: dict[str, Any]) -> Carried:
    """What `survey` gave."""
    return Carried(**found | {"report": zlib.decompress(found["report"]) if found["report"] else b""})
