"""What was asked on pyinfra's command line, as pyinfra itself reads it."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


@cache
def command_line() -> dict[str, Any]:
    """`inventory`, `operations`, `data`, `limit`, `dry`, `json_output` …; {} where this process is not pyinfra's."""
    from pyinfra_cli.cli import cli  # it has gevent replace threads and sockets, in a process that may want its own

    try:
        return dict(cli.make_context("pyinfra", sys.argv[1:], resilient_parsing=True).params)
    except Exception:  # another program's arguments
        return {}
