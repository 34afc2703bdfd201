"""The command `hullproof` and the table of its commands; each is imported when it is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

from deploys.report.report import version

# In the order in which `hullproof --help` lists them: the name, and where its click command is.
COMMANDS: dict[str, str] = {
    "drift": "hullproof.commands.run:drift",
    "harden": "hullproof.commands.run:harden",
    "rollback": "hullproof.commands.run:rollback",
    "provision": "hullproof.commands.run:provision",
    "picture": "hullproof.commands.run:picture",
    "runs": "hullproof.commands.run:runs",
    "verify": "hullproof.commands.verify:verify",
    "watch": "hullproof.commands.watch:watch",
    "fleet": "hullproof.commands.fleet:fleet",
    "history": "hullproof.commands.history:history",
    "init": "hullproof.commands.init:init",
    "explain": "hullproof.commands.explain:explain",
    "policy": "hullproof.commands.policy:policy",
    "report": "hullproof.commands.report:report",
    "completion": "hullproof.commands.completion:completion",
}


class Commands(click.Group):
    """The commands of COMMANDS. A command line that makes no sense ends with 1, as a run with a wrong option does: 2 is
    for what does not hold."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _usage_is_1():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _usage_is_1():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@contextlib.contextmanager
def _usage_is_1() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        error.exit_code = 1  # type: ignore[misc]  # a class's in click's types
        raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="hullproof")
def main() -> None:
    """Hardens Linux container hosts, proves that the hardening holds, and notices when it stops holding."""
