"""`hullproof history`: what moved, what flaps, how soon it is mended, what was judged; and its own upkeep."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from deploys.core.text import clean_text
from deploys.report.files import write_whole
from hullproof.history import keeping, show
from hullproof.history.answer import Question
from hullproof.history.database import HistoryError
from hullproof.history.durations import moment, span
from hullproof.history.query import ask
from hullproof.history.store import record

FOLDER = Path("reports", "history")
INCOMPLETE = 3  # as of a run: something could not be judged
FOLDER_TYPE = click.Path(path_type=Path, file_okay=False)


def _span(context: click.Context, option: click.Parameter, value: str | None) -> timedelta | None:
    try:
        return None if value is None else span(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _since(context: click.Context, option: click.Parameter, value: str) -> datetime:
    now = datetime.now(UTC)
    try:
        found = moment(value, now)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error)) from None
    if found >= now:
        raise click.BadParameter(f"{value!r} is not in the past")
    return found


@click.group(
    invoke_without_command=True,
    epilog="Exit codes: 0 it is answered, 3 a part of the history could not be read, 1 there is no answer.",
)
@click.option(
    "--history", "folder", type=FOLDER_TYPE, default=FOLDER, show_default=True, envvar="HULLPROOF_HISTORY",
    show_envvar=True, metavar="DIR", help="The history's folder.",
)  # fmt: skip
@click.option("--since", default="30d", show_default=True, metavar="7d|DATE", callback=_since, help="From when on.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only these hosts; * is a pattern.")
@click.option("--control", "controls", multiple=True, metavar="ID", help="Only these controls; * is a pattern.")
@click.option("--flaps", type=click.IntRange(1), default=3, show_default=True, help="More changes than this: it flaps.")
@click.option(
    "--unseen",
    default="2d",
    show_default=True,
    metavar="SPAN",
    callback=_span,
    help="Name hosts not judged for that long.",
)
@click.option("--json", "as_json", is_flag=True, help="All of it, for programs.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page, with a picture."
)
def history(folder: Path, since: datetime, as_json: bool, html: Path | None, **asked: Any) -> None:
    """What moved since when, what flaps, how soon it is mended, which hosts never hold, how much was judged."""
    context = click.get_current_context()
    context.obj = folder
    if context.invoked_subcommand:
        return
    with _one_sentence():
        answer = ask(folder, Question(since, datetime.now(UTC), **asked))
        if html:
            _write(html, show.page(answer))
    click.echo(json.dumps(answer.to_json(), indent=2, ensure_ascii=False) if as_json else show.text(answer))
    context.exit(_problems(answer.problems))


def _own_folder(context: click.Context, option: click.Parameter, value: Path | None) -> Path:
    return value or context.obj


own_folder = click.option(
    "--history", "folder", type=FOLDER_TYPE, callback=_own_folder, metavar="DIR", help="The history's folder."
)


@history.command()
@click.argument(
    "reports", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="REPORT|DIR..."
)
@own_folder
@click.pass_context
def add(context: click.Context, reports: tuple[Path, ...], folder: Path) -> None:
    """Add the runs of reports: report.json files, or folders that have such. A run that is there already is not added
    again."""
    problems, added, known = [], 0, 0
    for path in _reports(reports):
        try:
            new = record(_load(path), folder)
        except HistoryError as error:
            problems.append(f"{path}: {error}")
            continue
        added, known = added + len(new), known + (not new)
    click.echo(f"{added} {'run' if added == 1 else 'runs'} added to {folder}, {known} there already.")
    context.exit(1 if _problems(problems) else 0)


@history.command()
@own_folder
@click.pass_context
def compact(context: click.Context, folder: Path) -> None:
    """Make one file of each past day's runs."""
    with _one_sentence():
        kept = keeping.compact(folder)
    click.echo(f"{len(kept.days)} days made one file each.")
    context.exit(_problems(kept.problems))


@history.command()
@click.option("--keep", required=True, callback=_span, metavar="SPAN", help="Remove days older than this: 90d.")
@click.option(
    "--daily", callback=_span, metavar="SPAN", help="Of days older than this keep each host's last look alone."
)
@own_folder
@click.pass_context
def prune(context: click.Context, keep: timedelta, daily: timedelta | None, folder: Path) -> None:
    """Remove old days, and thin out those that are not that old."""
    with _one_sentence():
        kept = keeping.prune(folder, keep, daily)
    click.echo(f"{len(kept.removed)} days removed, {len(kept.days)} thinned to each host's last look.")
    context.exit(_problems(kept.problems))


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except HistoryError as error:
        raise click.ClickException(clean_text(str(error))) from None


def _problems(problems: Iterable[str]) -> int:
    """Says what could not be read, and returns the exit code."""
    code = 0
    for problem in problems:
        click.echo(f"hullproof: {clean_text(problem)}", err=True)
        code = INCOMPLETE
    return code


def _reports(given: Iterable[Path]) -> Iterator[Path]:
    for path in given:
        found = sorted(path.rglob("report.json")) if path.is_dir() else [path]
        yield from found or [path / "report.json"]


def _load(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HistoryError(f"it cannot be read: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise HistoryError(f"{path} could not be written: {error.strerror}") from None
