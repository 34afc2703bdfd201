"""`hullproof drift|harden|rollback|provision|picture INVENTORY`: pyinfra's command, shown and run."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from click.core import ParameterSource
from pyinfra_cli.cli import cli as pyinfra_cli

from hullproof import running
from hullproof.afterwards import afterwards
from hullproof.completing import complete_controls, complete_policies
from hullproof.fleet.start import start
from hullproof.output import FORMS

EPILOG = (
    "All options of pyinfra are taken too (pyinfra --help): --user, --use-sudo-password, --parallel, --data … Exit "
    "codes: 0 all that is demanded holds, 2 something does not, 3 something could not be judged, 1 the run went wrong."
)


def pyinfra_options() -> list[click.Parameter]:
    """pyinfra's own, but for those that end it at once; the help shows the few that are for every day."""
    options = []
    for each in pyinfra_cli.params:
        if isinstance(each, click.Option) and not each.is_eager:
            option = copy.copy(each)
            option.hidden = option.name not in ("dry", "diff", "yes", "limit")
            options.append(option)
    return list(options)


OUTPUT = "Print the report in this form, alone on stdout; all else goes to stderr."
OWN = ("policy", "accept", "report", "only")


def own_options(kind: str) -> list[click.Parameter]:
    """Those of OWN that this kind of run has; each is `--data NAME=VALUE` of pyinfra's command line."""
    if kind == "runs":
        return []
    help = "Only these: a control, a subject or a severity; a,b or repeated."
    part = click.Option(["--only"], multiple=True, metavar="WORD", shell_complete=complete_controls, help=help)
    return [
        click.Option(
            ["--policy"],
            metavar="NAME|PATH",
            shell_complete=complete_policies,
            help="What must hold: a policy's name, or a file.",
        ),
        click.Option(
            ["--accept"], multiple=True, metavar="NAME", help="Accept a consequence by name: a,b or given repeatedly."
        ),
        click.Option(["--report"], metavar="DIR", help="The folder for report.json and its other forms."),
        *([part] if kind in ("drift", "harden") else []),
        click.Option(["--output"], type=click.Choice(list(FORMS)), help=OUTPUT),
        *([history_option()] if kind in ("drift", "harden", "provision") else []),
    ]


def history_option() -> click.Option:
    """Where what the run finds is added to; see keep()."""
    kind = click.Path(path_type=Path, file_okay=False)
    return click.Option(["--history"], type=kind, metavar="DIR", help="Add what is found to the history there.")


FLEET = ("workers", "scheduler", "tls", "unencrypted")
NOT_IN_PARTS = {
    "json_output": "each process has an output of its own",
    "serial": "it is one host at a time, and each process has one",
    "no_wait": "it is for hosts that wait for each other, and those are in several processes",
    "fail_percent": "it counts the hosts of one process",
    "ssh_password_prompt": "each process would ask",
    "same_sudo_password": "each process would ask",
}


def connection_options() -> list[click.Parameter]:
    """How a scheduler and its workers are spoken to."""
    return [
        click.Option(["--tls"], metavar="DIR", help="The folder with ca.pem, cert.pem and key.pem, for tls://."),
        click.Option(["--unencrypted"], is_flag=True, help="Allow tcp:// to other machines."),
    ]


def fleet_options(kind: str) -> list[click.Parameter]:
    """For many hosts: who carries the run out."""
    if kind == "picture":
        return []
    return [
        click.Option(
            ["--workers"],
            type=click.IntRange(min=1),
            metavar="N",
            help="Processes on this machine, each with a part of the hosts. Changes: canaries first, then by batches.",
        ),
        click.Option(
            ["--scheduler"],
            metavar="ADDRESS",
            help="As --workers, by the workers of a Dask scheduler: tls://HOST:PORT.",
        ),
        *connection_options(),
    ]


def _words(context: click.Context) -> Iterator[str]:
    """What was given on the command line, as pyinfra's options."""
    for option in context.command.params:
        if context.get_parameter_source(str(option.name)) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[str(option.name)]
        if option.name in ("inventory", "output", "history", *FLEET) or not isinstance(option, click.Option):
            continue
        if option.name in OWN:
            yield from ("--data", f"{option.name}={value if isinstance(value, str) else ','.join(value)}")
        elif option.count:
            yield f"-{'v' * value}"
        elif option.is_flag:
            yield option.opts[0] if option.opts[0].startswith("--") else option.opts[-1]
        else:
            for each in value if option.multiple else [value]:
                yield from (option.opts[0], str(each))


def _run(inventory: str, output: str | None = None, history: Path | None = None, **given: object) -> None:
    context = click.get_current_context()
    there = Path(str(given.get("chdir") or "."), inventory)
    if (inventory.endswith(".py") or os.sep in inventory) and not there.exists():
        raise click.ClickException(f"there is no inventory {inventory}: nothing was run")
    kind, words = str(context.command.name), list(_words(context))
    if fleet := {name: given[name] for name in FLEET if given.get(name)}:
        _refuse_in_parts(kind, given)
        kept = str(history.absolute()) if history else None
        start(kind=kind, inventory=inventory, options=words, history=kept, output=output, **fleet)
    command = running.pyinfra_command(kind, inventory, words)
    click.echo(f"runs: {running.shown(command)}", err=True)
    ended = running.start(command, stdout=sys.stderr if output else None)
    if ended.problem:
        click.echo(f"hullproof: {ended.problem}. Exit code {ended.code}.", err=True)
    report = ended.read_report() if history or output else None
    folder = ended.report.parent if ended.report else None
    context.exit(afterwards(report, ended.code, history=history, output=output, folder=folder))


def _refuse_in_parts(kind: str, given: Mapping[str, object]) -> None:
    """Refuse what many processes cannot do as one."""
    for name, why in NOT_IN_PARTS.items():
        if given[name] not in (None, False):
            option = name.replace("_", "-").replace("json-output", "json")
            raise click.UsageError(f"--{option} does not go with --workers or --scheduler: {why}")
    if given["scheduler"] and given["workers"]:
        raise click.UsageError("--workers is for this machine: how many workers a scheduler has is told to them")
    if not given["scheduler"] and not given["workers"]:
        raise click.UsageError("--tls and --unencrypted are for --scheduler")
    data = given["data"] if isinstance(given["data"], tuple) else ()
    secret = given["ssh_password"] or given["ssh_key_password"] or any(map(running.SECRET.match, data))
    if given["scheduler"] and secret:
        raise click.UsageError("no password goes through a scheduler: put it into the inventory that the workers have")
    if kind not in running.READS_ONLY and not (given["yes"] or given["dry"]):
        raise click.UsageError("several processes cannot ask one question: see the plan with --dry, then add -y")


def _command(kind: str, text: str) -> click.Command:
    inventory = click.Argument(["inventory"], metavar="INVENTORY", type=click.Path())
    params = [inventory, *own_options(kind), *fleet_options(kind), *pyinfra_options()]
    return click.Command(kind, params=params, callback=_run, help=text, epilog=EPILOG)


drift = _command("drift", "What does not hold, since when, and why. Reads only.")
harden = _command("harden", "Bring hosts to their policy: the plan, the question, the changes, another look.")
rollback = _command("rollback", "Undo the newest run, or --data run=ID; says first what that interrupts.")
provision = _command("provision", "Make bare hosts into hardened, proved container hosts.")
runs = _command("runs", "What each host's journal holds: past runs, and what undoing one takes back. Reads only.")
picture = _command("picture", "The hosts' networks as a picture: who reaches whom. Reads only.")
