"""The command's own frame: that every command in the table is there, and says what it is for."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.testing import CliRunner

from hullproof.command import COMMANDS, Commands, main


def test_each_command_of_the_table_is_one_and_says_what_it_is_for() -> None:
    context = click.Context(main)
    for name in COMMANDS:
        command = Commands().get_command(context, name)
        assert command is not None
        assert command.help or command.short_help, name


def test_a_command_that_is_none_is_named() -> None:
    result = CliRunner().invoke(main, ["hardne"])
    assert result.exit_code == 1, "2 is for what does not hold"
    assert "hardne" in result.output


def helps(command: click.Command, context: click.Context) -> Iterator[str]:
    yield command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            own = command.get_command(context, name)
            assert own is not None
            yield from helps(own, click.Context(own, parent=context, info_name=name, terminal_width=80))


def test_helps_fit_a_terminal_of_80_columns() -> None:
    text = "\n".join(helps(main, click.Context(main, info_name="hullproof", terminal_width=80)))
    assert [line for line in text.splitlines() if len(line) > 80] == []
