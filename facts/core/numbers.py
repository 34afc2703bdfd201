"""Numbers and times as a host gives them."""

from __future__ import annotations

import datetime
import re


def whole_number(text: str) -> int | None:
    """The number that `text` is in ASCII digits; None where it is anything else, or too long for the kernel's 64 bits.

    For int() "²" is an error though it is a digit, "٣" is 3, and 5,000 digits are an error again.
    """
    return int(text) if re.fullmatch(r"\s*[0-9]{1,20}\s*", text) else None


LAST_SECOND = int(datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC).timestamp())


def utc(seconds: int) -> datetime.datetime:
    """The time that a host gave in seconds since 1970. Its clock may say anything: no later than a calendar goes."""
    return datetime.datetime.fromtimestamp(min(max(seconds, 0), LAST_SECOND), datetime.UTC)
