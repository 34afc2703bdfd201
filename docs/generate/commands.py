"""The page of the commands, from click's own descriptions of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs.generate.markdown import GENERATED, text

HEAD = f"""\
# Commands

What `hullproof --help` and the help of each command say. Commands that start a run take all of pyinfra's options too.
What they are for: [The command](../command.md).

{GENERATED}
"""


def commands_page(main: click.Group) -> str:
    """Markdown: a section per command, a group's commands after it."""
    return "\n".join([HEAD, *_commands(main, click.Context(main, info_name="hullproof"))])


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        own = click.Context(command, info_name=name, parent=context)
        yield from _command(command, own)
        if isinstance(command, click.Group):
            yield from _commands(command, own)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n"
    yield f"    {' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n"
    for paragraph in [*inspect.cleandoc(command.help or "").split("\n\n"), command.epilog or ""]:
        if paragraph:
            yield f"{text(paragraph)}\n"
    records = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    if rows := [record for record in records if record]:
        yield from (f"- `{words}`: {text(meaning)}" for words, meaning in rows)  # a table's cell cannot hold NAME|PATH
        yield ""
