"""The command `hullproof` and the table of its commands; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from deploys.report.report import version

# In the order in which `hullproof --help` lists them: the name, and where its click command is.
COMMANDS: dict[str, str] = {}


class Commands(click.Group):
    """The commands of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="hullproof")
def main() -> None:
    """Hardens Linux container hosts, proves that the hardening holds, and notices when it stops holding."""
