"""`hullproof verify INVENTORY`: the proofs, as pytest runs them, with exit codes that mean what those of a run mean."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hullproof import ROOT
from hullproof.running import forwarding, shown

PYTEST = (sys.executable, "-P", "-m", "pytest")
PROOFS = ROOT / "tests" / "verify"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("inventory")
@click.option("--limit", multiple=True, metavar="HOST", help="A host or group to prove on; repeatable.")
@click.option("--policy", metavar="NAME|PATH", help="What is declared: a policy's name, or a file.")
@click.option("--data", multiple=True, metavar="KEY=VALUE", help="pyinfra's --data; repeatable.")
@click.option("--proofs-json", metavar="FILE", type=click.Path(path_type=Path), help="Where each proof's end is kept.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST OPTIONS]")
@click.pass_context
def verify(
    context: click.Context,
    inventory: str,
    limit: Sequence[str],
    policy: str | None,
    data: Sequence[str],
    proofs_json: Path | None,
    options: Sequence[str],
) -> None:
    """The proofs: attempts that must fail, safe on production hosts.

    Exit codes: 0 attempts were made and all were refused, 2 one got through, 1 a host could not be attacked, nothing
    could be attempted, or the command line is wrong.
    """
    given = [*data, *([f"policy={policy}"] if policy else [])]
    words = [f"--inventory={inventory}", *(f"--limit={each}" for each in limit), *(f"--data={each}" for each in given)]
    if proofs_json:
        words.append(f"--proofs-json={proofs_json}")
    click.echo(f"runs: {shown([str(PROOFS), *words, *options], program='pytest')}", err=True)
    with tempfile.TemporaryDirectory(prefix="hullproof-") as folder:
        file = proofs_json or Path(folder, "proofs.json")
        if proofs_json is None:
            words.append(f"--proofs-json={file}")
        else:
            file.unlink(missing_ok=True)  # of an earlier run
        with forwarding() as began:
            process = subprocess.Popen([*PYTEST, "-q", str(PROOFS), *words, *options])
            began(process)
            status = process.wait()
        code, why = ended(status, _rows(file))
    if why:
        click.echo(f"hullproof: {why}. Exit code {code}.", err=True)
    context.exit(code)


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return []


def ended(status: int, rows: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """The exit code, and why it is that one where pytest does not say so. pytest's 2 to 5 are no verdict on a host, nor
    is a proof that could not be attempted: it failed without having settled anything."""
    failed = [row for row in rows if row["outcome"] == "failed"]
    if status not in (0, 1):
        return 1, "no proof was made" if not rows else "the proofs did not come to their end"
    if lost := [row for row in failed if not row["settled"]]:
        return 1, f"what could not be attempted proves nothing ({len(lost)} of {len(rows)} proofs)"
    if status and not failed:
        return 1, "pytest ended in an error"
    if not failed and not any(row["outcome"] == "passed" for row in rows):
        return 1, "no attempt could be made on these hosts, so nothing is proved"
    return (2, "") if failed else (0, "")
