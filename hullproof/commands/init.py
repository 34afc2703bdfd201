"""`hullproof init [FOLDER]`: an inventory and a policy to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from deploys.core import templates

FILES = ("inventory.py", "policy.yml", "group_data/all.py")


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write an inventory and a policy to begin with into FOLDER (this one).

    They name this machine alone and demand the baseline. A file that is there already is never written over: then
    nothing is written at all.
    """
    if there := [name for name in FILES if (folder / name).exists() or (folder / name).is_symlink()]:
        raise click.ClickException(f"{folder}: {', '.join(there)} is there already; nothing was written")
    written: list[Path] = []
    try:
        for name in FILES:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(templates.text(f"init/{name}"))
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}; nothing was written") from None
    click.echo("\n".join(map(str, written)))
    click.echo(f"Next: hullproof drift {folder / 'inventory.py'}")
