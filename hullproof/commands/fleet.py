"""`hullproof fleet scheduler|worker`: Dask's commands, as a fleet needs them, shown and run."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import click

from hullproof.commands.run import connection_options
from hullproof.fleet import tls as certificates
from hullproof.fleet.part import python

REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# A part that a worker died with is hullproof's to give to another one. Nothing is served beside Dask's own protocol.
# What a worker does is not sampled a hundred times a second: it waits for another process.
SCHEDULER = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "[]"}
WORKER = {"DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]", "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
SILENT = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


@click.group()
def fleet() -> None:
    """The scheduler and the workers that --scheduler speaks to (Dask distributed)."""


def scheduler_command(address: str, tls: str = "", unencrypted: bool = False) -> None:
    """Begin to listen at ADDRESS: tls://HOST:PORT, or tcp://127.0.0.1:PORT."""
    where, _, port = _checked(address, tls, unencrypted).rpartition(":")
    _become("scheduler", ["--host", where, "--port", port, *_tls_words(tls), *SILENT], SCHEDULER)


def worker_command(address: str, region: str, processes: int, tls: str = "", unencrypted: bool = False) -> None:
    """Work for the scheduler at ADDRESS, in this folder: INVENTORY is looked for from here, and its keys are used."""
    if region and not REGION.fullmatch(region):
        raise click.UsageError(f"--region {region}: want letters, digits, and . _ - between them")
    words = [_checked(address, tls, unencrypted), "--nworkers", str(processes)]
    words += ["--nthreads", "1", "--memory-limit", "0"]  # a part at a time, whose process Dask does not count
    words += ["--resources", f"region:{region}=1"] if region else []
    if address.startswith("tcp://") and not unencrypted:  # on this machine, and reached from nowhere else either
        words += ["--host", "::1" if "[" in address else "127.0.0.1"]
    _become("worker", [*words, *_tls_words(tls), *SILENT], WORKER)


def _checked(address: str, tls: str, unencrypted: bool) -> str:
    try:
        return certificates.check(address, tls, unencrypted)
    except certificates.TlsError as error:
        raise click.UsageError(str(error)) from None


def _tls_words(tls: str) -> list[str]:
    if not tls:
        return []
    try:
        found = certificates.files(tls)
    except certificates.TlsError as error:
        raise click.UsageError(str(error)) from None
    return ["--tls-ca-file", found["ca"], "--tls-cert", found["cert"], "--tls-key", found["key"]]


def _become(what: str, words: Sequence[str], settings: Mapping[str, str]) -> None:
    """This process becomes Dask's, with hullproof where it can be imported."""
    if find_spec("distributed") is None:
        raise click.UsageError("a fleet wants Dask: pip install 'hullproof[fleet]'")
    click.echo(f"runs: {shlex.join(['dask', what, *words])}", err=True)
    command = [*python(f"distributed.cli.dask_{what}"), *words]
    sys.stdout.flush()
    os.execve(command[0], command, os.environ | settings)


ADDRESS = click.Argument(["address"], metavar="ADDRESS")
fleet.add_command(
    click.Command(
        "scheduler", callback=scheduler_command, help=scheduler_command.__doc__, params=[ADDRESS, *connection_options()]
    )
)
fleet.add_command(
    click.Command(
        "worker",
        callback=worker_command,
        help=worker_command.__doc__,
        params=[
            ADDRESS,
            click.Option(["--region"], default="", metavar="NAME", help="Hosts with `region: NAME` come here."),
            click.Option(["--processes"], type=click.IntRange(min=1), default=1, metavar="N", help="Workers to start."),
            *connection_options(),
        ],
    )
)
