"""Numbers and times as a host gives them."""

from __future__ import annotations

import datetime
import re


def whole_number(text: str) -> int | None:
    """The number that `text` is in ASCII digits; None where it is anything else, or too long for the kernel's 64 bits.

    For int() "²" is an error though it is a digit, "٣" is 3, and 5,000 digits are an error again.
    """
    return int(text) if re.fullmatch(r"\s*[0-9]{1,20}\s*", text) else None


def starts(text: str) -> dict[int, int]:
    """When processes started, by pid, in seconds since the epoch: out of lines of /proc/stat (btime) and /proc/PID/stat
    (proc(5)); a second has 100 ticks everywhere. Both are rounded down, so a second more: what was written just before
    the start does not count as changed since."""
    boot = re.search(r"^btime ([0-9]{1,12})$", text, re.MULTILINE)
    rows = re.finditer(r"^([0-9]{1,10}) \(.{0,64}\) (.*)$", text, re.MULTILINE) if boot else ()
    ticks = {int(row[1]): whole_number((row[2].split() + [""] * 20)[19]) for row in rows}
    return {pid: int(boot[1]) + when // 100 + 1 for pid, when in ticks.items() if boot and when is not None}


LAST_SECOND = int(datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC).timestamp())


def utc(seconds: int) -> datetime.datetime:
    """The time that a host gave in seconds since 1970. Its clock may say anything: no later than a calendar goes."""
    return datetime.datetime.fromtimestamp(min(max(seconds, 0), LAST_SECOND), datetime.UTC)
