"""A report in one of its forms, alone on stdout: for pipes and CI."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deploys.report import files, formats
from deploys.report.junit import junit
from deploys.report.markdown import markdown
from deploys.report.oscal import oscal

Report = Mapping[str, Any]

FORMS: dict[str, Callable[[Report], str | Iterable[str]]] = {
    "json": files.as_json,
    "sarif": formats.sarif,
    "junit": junit,
    "md": markdown,
    "oscal": oscal,
}


def render(report: Report, form: str) -> str:
    """The report in a form of FORMS. Raises KeyError for another."""
    text = FORMS[form](report)
    return text if isinstance(text, str) else "".join(text)


def put(report: Report, form: str) -> str:
    """Write it to stdout, whose encoding is none of a report's business; why it could not be, or ""."""
    try:
        sys.stdout.buffer.write(render(report, form).encode())
        sys.stdout.flush()
    except OSError as error:
        return f"the report could not be written to standard output: {error.strerror}"
    return ""
