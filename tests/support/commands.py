"""What the command `hullproof` knows, for what is shown of it."""

from __future__ import annotations

import shlex

import click

from hullproof.command import main


def unknown_words(line: str) -> list[str]:
    """Of a command line that begins with `hullproof`, the words that there are no commands or options of."""
    command: click.Command = main
    words = shlex.split(line, comments=True)[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return words[:1]
        command, words = found, words[1:]
    known = {"--help", *(option for param in command.params for option in param.opts)}
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    return [option for option in options if option not in known]
