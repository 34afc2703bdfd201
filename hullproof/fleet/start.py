"""From the command to the fleet's own process: pyinfra's command line, which the command has read, has gevent replace
threads and sockets, and what starts processes at once or speaks to Dask wants the real ones."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

from hullproof.fleet.part import python

REQUEST = "HULLPROOF_FLEET"


def start(**request: Any) -> NoReturn:
    """This process becomes `hullproof.fleet` with this request: the arguments of its `main`."""
    sys.stdout.flush()
    command = python("hullproof.fleet")
    os.execve(command[0], command, os.environ | {REQUEST: json.dumps(request)})
