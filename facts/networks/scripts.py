"""The sh of these facts' sections: a file beside each parser, read once."""

from __future__ import annotations

from pathlib import Path


def script(name: str, **values: str) -> str:
    """The text of a file in this folder, after the shell variables that it uses."""
    given = "".join(f"{key}='{value}'\n" for key, value in values.items())
    return given + Path(__file__).with_name(name).read_text(encoding="utf-8")
