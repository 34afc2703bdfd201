"""The command's own frame: that every command in the table is there, and says what it is for."""

from __future__ import annotations

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
