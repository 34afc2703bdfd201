"""Maintenance windows, in which a host may reboot: `02:00-04:00`, `sat,sun 22:00-04:00`, in UTC by the host's clock."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from facts.core.numbers import utc

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60


@dataclass(frozen=True)
class Window:
    """`days`: the weekdays on which it begins; `start`: in minutes after midnight; `minutes`: how long it is."""

    days: frozenset[int]
    start: int
    minutes: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read a policy's text. Raises ValueError with a message for the policy's author."""
        form = re.fullmatch(r"(?:([a-z]{3}(?:,[a-z]{3})*) )?(\d\d):(\d\d)-(\d\d):(\d\d)", text)
        if not form:
            raise ValueError(f'{text!r} is not a window; write "02:00-04:00" or "sat,sun 22:00-04:00" (UTC)')
        names = form[1].split(",") if form[1] else DAYS
        if wrong := [name for name in names if name not in DAYS]:
            raise ValueError(f"{wrong[0]} is not a day; the days are {', '.join(DAYS)}")
        hours = [int(found) for found in form.groups()[1:]]
        if hours[0] > 23 or hours[2] > 23 or hours[1] > 59 or hours[3] > 59:
            raise ValueError(f"{text!r}: there is no such time of day")
        start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        return cls(frozenset(DAYS.index(name) for name in names), start, (end - start) % DAY or DAY)

    def end(self, clock: int) -> int | None:
        """When the window that `clock` lies in ends (epoch); None outside of any."""
        midnight = utc(clock).replace(hour=0, minute=0, second=0)
        for day in (midnight, midnight - datetime.timedelta(days=1)):
            begins = int(day.timestamp()) + self.start * 60
            if day.weekday() in self.days and begins <= clock < begins + self.minutes * 60:
                return begins + self.minutes * 60
        return None
