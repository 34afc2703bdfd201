"""`hullproof watch …`: an inventory that systemd has looked at again and again, with metrics and alert rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hullproof.watching import install, rules, status
from hullproof.watching.look import Look, look
from hullproof.watching.state import State
from hullproof.watching.systemd import Manager
from hullproof.watching.units import NAME, PREFIX, Every, Watch, WatchError, plain

FILE = click.Path(path_type=Path)
OWN = click.option("--user-units", "own", is_flag=True, help="Units of your own manager, which run as you.")


class _Group(click.Group):
    """What keeps a watch from being installed, run or removed is one error."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WatchError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def watch() -> None:
    """Have an inventory looked at again and again by systemd: reports kept, metrics and alert rules."""


def _name(given: str | None, inventory: Path) -> str:
    name = given or inventory.stem
    if not NAME.fullmatch(name):
        raise WatchError(f"the name {name!r} is none for a unit: give one of letters, digits and ._- with --name")
    return name


def _policy(given: str) -> str:
    """A policy's name, or the absolute path of its file."""
    return str(plain(Path(given))) if "/" in given or Path(given).is_file() else given


@watch.command("install")
@click.argument("inventory", type=FILE)
@click.option("--name", help="What the watch is called; without it, as the inventory's file is.")
@click.option("--policy", default="", metavar="NAME|PATH", help="What must hold, on all hosts.")
@click.option("--every", default="1h", show_default=True, help="15m, 6h, 1d, 1w.")
@click.option("--user", default=install.USER, show_default=True, help="Whom the service runs as.")
@OWN
@click.option("--keep", type=click.IntRange(1), default=100, show_default=True, help="How many reports are kept.")
@click.option("--metrics", type=FILE, metavar="DIR", help="The folder of node_exporter's textfile collector.")
@click.option("--ssh-key", type=FILE, metavar="FILE", help="The key for all hosts, which root alone has to read.")
@click.option("--known-hosts", type=FILE, metavar="FILE", help="The known_hosts for all hosts.")
@click.option("--dry", is_flag=True, help="Show the units and end.")
def install_command(inventory: Path, name: str | None, own: bool, dry: bool, **given: Any) -> None:
    """Write a service and a timer that look at INVENTORY, and start the timer."""
    manager = Manager(own)
    called = _name(name, inventory)
    files = (("ssh_key", given["ssh_key"]), ("known_hosts", given["known_hosts"]))
    if own and any(path for _, path in files):
        raise WatchError("units of your own use your own keys and known_hosts: leave --ssh-key and --known-hosts out")
    asked = Watch(
        name=called,
        inventory=plain(inventory),
        every=Every.parse(given["every"]),
        user="" if own else given["user"],
        state=plain(manager.state(called)),
        policy=_policy(given["policy"]),
        keep=given["keep"],
        metrics=plain(given["metrics"]) if given["metrics"] else None,
        credentials=tuple((credential, plain(path)) for credential, path in files if path),
    )
    if dry:
        for unit, text in install.units(asked).items():
            click.echo(f"# {manager.units / unit}\n{text}")
        return
    install.install(asked, manager)
    _show(called, manager)
    click.echo(f"look now: systemctl{' --user' if own else ''} start {asked.unit}.service")
    if own:
        click.echo("your units run while you are logged in; for all the time: loginctl enable-linger")


@watch.command("remove")
@click.argument("name")
@OWN
def remove_command(name: str, own: bool) -> None:
    """Take the units of the watch NAME away, and its metrics. Its reports stay."""
    manager = Manager(own)
    unit = PREFIX + _name(name, Path(name))
    install.remove(unit, manager)
    click.echo(f"{unit} is removed; its reports stay in {manager.state(name)}")


@watch.command("status")
@click.argument("name", required=False)
@OWN
def status_command(name: str | None, own: bool) -> None:
    """When watches looked last, how that ended, and when they look next."""
    manager = Manager(own)
    found = status.names(manager)
    if name and name not in found:
        raise WatchError(f"{manager.units} has no watch {name}; there {_are(found)}")
    if not found:
        raise WatchError(f"{manager.units} has no watch: hullproof watch install INVENTORY makes one")
    for each in [name] if name else found:
        _show(each, manager)


def _are(found: list[str]) -> str:
    return f"are {', '.join(found)}" if found else "is none"


def _show(name: str, manager: Manager) -> None:
    for line in status.status(name, manager):
        click.echo(line)


@watch.command("run")
@click.argument("inventory", type=FILE)
@click.option("--name", help="What the watch is called; without it, as the inventory's file is.")
@click.option("--policy", default="", metavar="NAME|PATH", help="What must hold, on all hosts.")
@click.option("--state", type=FILE, metavar="DIR", help="The watch's folder; without it, that of your own.")
@click.option("--keep", type=click.IntRange(1), default=100, show_default=True, help="How many reports are kept.")
@click.option("--metrics", type=FILE, metavar="DIR", help="The folder of node_exporter's textfile collector.")
@click.pass_context
def run_command(context: click.Context, /, inventory: Path, name: str | None, state: Path | None, **given: Any) -> None:
    """Look once, as the service does. Exit codes are those of `hullproof drift`."""
    called = _name(name, inventory)
    folder = State(state or Manager(own=True).state(called))
    context.exit(look(Look(called, inventory, folder, **given)))


@watch.command("alerts")
@click.option("--check", type=FILE, metavar="FILE", help="Ask promtool about your copy instead.")
def alerts_command(check: Path | None) -> None:
    """Print the alert rules for Prometheus."""
    click.echo(f"{check}: {rules.check(check)}" if check else rules.rules(), nl=bool(check))
