"""`hullproof report show|diff|merge`: what reports of earlier runs say. Reads no host."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

from deploys.core.renames import Renames
from deploys.report import compare, files, terminal
from deploys.report.details import render_details, said
from deploys.report.merge import MergeError, differences, merge
from deploys.report.part import part
from deploys.report.reading import ReportError, read
from deploys.report.terminal import BOLD, GREEN, RED, paint
from hullproof.columns import screen
from hullproof.completing import complete_controls
from hullproof.output import FORMS, render

Report = Mapping[str, Any]


@click.group()
def report() -> None:
    """Show, compare and merge the reports of earlier runs."""


def _read(path: str) -> dict[str, Any]:
    try:
        return read(Path(path))
    except ReportError as error:
        raise click.ClickException(str(error)) from None


@report.command()
@click.argument("path", metavar="FILE|DIR", type=click.Path())
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Only this host; a pattern such as web* too.")
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="CONTROL",
    shell_complete=complete_controls,
    help="Only this control, or subject.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(terminal.STATES),
    metavar="STATE",
    help=f"Only those in this state: {', '.join(terminal.STATES)}.",
)
@click.option("--format", "form", default="terminal", type=click.Choice(["terminal", *FORMS]), show_default=True)
def show(path: str, hosts: Sequence[str], controls: Sequence[str], states: Sequence[str], form: str) -> None:
    """Show a report, or a part of it.

    FILE is a report.json, DIR the folder that a run has written one to. Exits 0 whatever the report says, and 1 if it
    is none.
    """
    found = _read(path)
    if hosts or controls or states:
        named, ids = _named(found, hosts), _ids(found, controls)
        found = part(found, hosts=named, controls=ids, states=states)
    if form != "terminal":
        click.echo(render(found, form), nl=False)
        return
    for sentence in differences(found):
        click.echo(sentence, err=True)
    if controls or states:
        text = render_details(found, *screen())
        click.echo(text or "No finding of this report is so.", nl=not text)
    else:
        click.echo(terminal.render_table(found, *screen()), nl=False)


def _named(found: Report, patterns: Sequence[str]) -> list[str]:
    """The hosts that were asked for, in the report's order; all where none was."""
    names = list(found["hosts"])
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise click.ClickException(f'no host of this report is called "{pattern}"{_nearest(pattern, names)}')
    return [name for name in names if not patterns or any(fnmatch(name, pattern) for pattern in patterns)]


def _ids(found: Report, words: Sequence[str]) -> list[str]:
    """The controls that were asked for, by id or subject."""
    there = {f["control"]: f["subject"] for host in found["hosts"].values() for f in host["findings"]}
    kept: dict[str, None] = {}
    for word in words:
        own = [control for control, subject in there.items() if word in (control, subject)]
        if not own:
            near = _nearest(word, [*there, *there.values()])
            raise click.ClickException(f'no control or subject of this report is called "{word}"{near}')
        kept.update(dict.fromkeys(own))
    return list(kept)


def _nearest(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, 1)
    return f'; did you mean "{near[0]}"?' if near else ""


SECTIONS = {
    compare.Move.WORSE: ("Worse", RED),
    compare.Move.STILL: ("Still does not hold", BOLD),
    compare.Move.MOVED: ("Moved", BOLD),
    compare.Move.MENDED: ("Mended", GREEN),
}


@report.command()
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
def diff(old: str, new: str) -> None:
    """What is worse in NEW than in OLD, what was mended, what still does not hold.

    Exits 0 if nothing got worse, 2 if something did, 1 if one of them is no report. What NEW does not say any more has
    not been mended: a host or a control that it does not judge is worse than one that held.
    """
    from deploys.subjects import SUBJECTS

    before, after = _read(old), _read(new)
    for path, each in ((old, before), (new, after)):
        if each["run"].get("shown"):
            raise click.ClickException(f"{path}: is a part of a report (report show): compare the whole one")
    found = compare.compare(before, after, Renames.of(SUBJECTS).controls)
    for note in compare.notes(before, after):
        click.echo(note)
    click.echo("\n".join(_sections(found, *screen())))
    click.get_current_context().exit(2 if compare.got_worse(found) else 0)


def _sections(found: Sequence[compare.Difference], color: bool, width: int) -> Iterator[str]:
    for move, (title, code) in SECTIONS.items():
        own = sorted(
            (each for each in found if each.move is move), key=lambda each: (-compare.FAR[each.after], each.control)
        )
        groups: dict[tuple[str, ...], list[str]] = {}
        for each in own:
            groups.setdefault((each.control, each.before, each.after, each.reason, each.cause), []).append(each.host)
        if own:
            yield paint(f"{title}:", code, color)
        for (control, was, now, reason, cause), hosts in groups.items():
            states = now if was == now else f"{was} -> {now}"
            yield said("", f"{f'{control} on ' if control else ''}{', '.join(hosts)}: {states}", width)
            if move is not compare.Move.MENDED and reason:
                yield said("  ", reason, width)
            if cause or (was != now and control and move is compare.Move.WORSE):
                yield said("  cause: ", cause or "not known", width)
    counts = [sum(each.move is move for each in found) for move in compare.Move]
    yield "{} worse, {} mended, {} not holding still, {} moved.".format(*counts)


@report.command("merge")
@click.argument("reports", metavar="REPORT...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", required=True, metavar="DIR", type=click.Path(), help="The folder for the one report.")
def merge_(reports: Sequence[str], output: str) -> None:
    """Make one report of several: of parts of an inventory, or of several controllers.

    A host may be in one run alone. Exits as a run over all of their hosts would have done.
    """
    target = Path(output)
    for path in reports:
        if _same(path, target):
            raise click.ClickException(f"{path}: is in the folder that -o names, and would be lost: name another")
    try:
        merged = merge([_read(path) for path in reports])
    except MergeError as error:
        raise click.ClickException(str(error)) from None
    problems = files.write(target, merged)
    click.echo(terminal.render_table(merged, *screen()), nl=False)
    for sentence in [*differences(merged), *problems]:
        click.echo(sentence, err=True)
    click.get_current_context().exit(1 if problems else merged["exit_code"])


def _same(path: str, folder: Path) -> bool:
    """Whether a report to be read stands where one is to be written."""
    file = Path(path)
    return (file if file.is_dir() else file.parent).resolve() == folder.resolve()
