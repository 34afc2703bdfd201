"""pyinfra, with its own words, over the hosts of an inventory that HULLPROOF_PART names."""

from pyinfra_cli.main import main as pyinfra  # first of all, since it has gevent patch what others import

# ruff: noqa: I001
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from deploys.run.run import PART
from hullproof.fleet.inventory import cut_down

PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """When whoever started this dies, end as by SIGTERM, with what is under way: another takes these hosts over."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("hullproof: whoever started this part is gone")


def main() -> None:
    part = json.loads(Path(os.environ[PART]).read_bytes())
    end_with(part["parent"])
    cut_down(frozenset(part["hosts"]))
    pyinfra()


if __name__ == "__main__":
    main()
