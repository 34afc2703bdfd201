"""`hullproof completion SHELL`: click's own script, to be read by a shell at its start."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes hullproof's commands, options, controls and policies.

    For bash: hullproof completion bash > ~/.local/share/bash-completion/completions/hullproof
    """
    context = click.get_current_context()
    kind = get_completion_class(shell)
    assert kind is not None  # SHELLS are click's
    click.echo(kind(context.find_root().command, {}, "hullproof", "_HULLPROOF_COMPLETE").source(), nl=False)
