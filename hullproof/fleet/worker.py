"""What a worker of Dask does: one part, as a process of pyinfra, over the inventory and with the keys that it has.

Only names of hosts, options and the report travel. The attempt has a run id of its own: Dask may give a part to another
worker while this one only seems to be dead, and a host's journal takes two runs for two controllers, one for one.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from deploys.report.report import version
from hullproof.fleet.part import carry_out
from hullproof.fleet.parts import Job, Part


def survey(job: dict[str, Any], part: dict[str, Any]) -> bytes:
    """A part's end, packed: {"report", "problem", "stopped"}."""
    if job["version"] != version():
        problem = f"its worker has hullproof {version()}, and the controller {job['version']}: install the same"
        return pack({"report": None, "problem": problem, "stopped": ""})
    end = carry_out(Job(**job), Part(**part))
    return pack({"report": end.report, "problem": end.problem, "stopped": end.stopped})


def pack(end: dict[str, Any]) -> bytes:
    """JSON, a twentieth of its size."""
    return zlib.compress(json.dumps(end, ensure_ascii=False).encode(), 1)


def unpack(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(data))
    return found
