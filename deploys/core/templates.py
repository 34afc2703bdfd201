"""The files that are written on hosts, from templates/: one folder per subject."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).resolve().parents[2] / "templates"


@cache
def _environment() -> Environment:
    """Made once: a template is compiled for the first host, not for every one."""
    return Environment(loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, keep_trailing_newline=True)


def render(template: str, **values: object) -> str:
    """The text of a template, named SUBJECT/FILE. Raises UndefinedError for a value not given."""
    return _environment().get_template(template).render(values)


@cache
def text(file: str) -> str:
    """The text of a file that is written or run as it is, named SUBJECT/FILE."""
    return (FOLDER / file).read_text(encoding="utf-8")
