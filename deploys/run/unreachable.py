"""Why pyinfra could not connect to a host: it logs the reason, and keeps it nowhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

import gevent
from paramiko.ssh_exception import NoValidConnectionsError
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host

from deploys.core.text import clean_text

LATE_SECONDS = 15  # for a second attempt; pyinfra's own limit for a connection is 10


class Reasons(logging.Handler):
    """Listens to pyinfra's log from when it is made."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said: list[str] = []
        self._asked: list[gevent.Greenlet] = []
        logging.getLogger("pyinfra").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(clean_text(_words(record.getMessage(), sys.exc_info()[1])))

    def ask_again(self, hosts: Iterable[Host]) -> None:
        """Try to connect to `hosts` once more, beside the run: pyinfra gave up on them before we listened."""
        self._asked = [gevent.spawn(self._ask, host) for host in hosts]

    def _ask(self, host: Host) -> None:
        try:
            host.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            said = _words(str(error), error)
        else:
            host.disconnect()
            said = "no connection could be made at first; a second attempt succeeded, so run again"
        self._said.append(clean_text(f"{_mark(host)} {said}"))

    def of(self, host: Host) -> str:
        """The first word on the host."""
        gevent.joinall(self._asked, timeout=LATE_SECONDS)
        mark = _mark(host)
        said = (text.removeprefix(mark).strip() for text in self._said if text.startswith(mark))
        return next(said, "no connection could be made")


def _mark(host: Host) -> str:
    return f"[{clean_text(host.name)}]"


def _words(message: str, error: BaseException | None) -> str:
    """The message, and the reason that paramiko keeps out of its own words ("refused")."""
    cause = error.__context__ if error else None
    each = cause.errors.values() if isinstance(cause, NoValidConnectionsError) else ()
    reasons = dict.fromkeys(str(getattr(why, "strerror", None) or why) for why in each)
    return ": ".join([message, *(["; ".join(reasons)] if reasons else [])])
