"""Spans of time as an operator types and reads them: 36h, 7d, 12w, or a day such as 2026-11-30."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UNITS = {"h": "hours", "d": "days", "w": "weeks"}
FORMS = "7d, 36h, 12w"


def span(text: str) -> timedelta:
    """Raises ValueError for what is no number with a unit of UNITS."""
    found = re.fullmatch(r"(\d{1,4})([hdw])", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no span of time such as {FORMS}")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def moment(text: str, now: datetime) -> datetime:
    """A span before `now`, or a date or time of ISO 8601 (UTC where it names no zone). Raises ValueError."""
    try:
        return now - span(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is neither a span of time such as {FORMS} nor a date such as 2026-11-30") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def words(seconds: float) -> str:
    """90061 -> 1 d 1 h: the two largest units."""
    minutes = round(seconds / 60)
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count or (unit == "min" and len(parts) == 1))
