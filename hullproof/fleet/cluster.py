"""Workers of Dask: each part goes to a worker of its region, and to another one, once, if that worker dies.

Parts are given out one for each free worker, so that a part that has not begun can be kept back, and the death of a
worker is an attempt of the part that ran there alone.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import dask
from distributed import Client, Future, KilledWorker
from distributed.security import Security

from hullproof import running
from hullproof.fleet import tls, worker
from hullproof.fleet.parts import End, Job, Part
from hullproof.fleet.run import FleetError

REGION = "region:"  # what the name of a worker's resource begins with
CONNECT_SECONDS = 15
ANSWER_SECONDS = 30  # for a scheduler to say who is there
RESULT_SECONDS = 120  # for a report to arrive, after which its worker counts as dead
# A part is given up when no worker of its region has been there for so long: one that died may be started again.
ALONE_SECONDS = 30
# Before a second attempt to change hosts: what waits to be confirmed there has been taken back by then (CONFIRM_WITHIN
# in deploys/run/journal.py), and a run that is dead counts as such.
AGAIN_SECONDS = 180
POLL_SECONDS = 0.2


@dataclass(eq=False)
class Attempt:
    """A part that is to be carried out, or is. `count`: how many workers it was given to. Times are monotonic: not to
    be given out before `after`; without a worker that could take it since `alone`."""

    part: Part
    count: int = 0
    after: float = 0.0
    alone: float | None = None


@dataclass
class Round:
    """The parts of one wave: those that wait, and those that a worker has."""

    job: Job
    waiting: list[Attempt]
    under_way: dict[Future[Any], Attempt] = field(default_factory=dict)

    @property
    def reads_only(self) -> bool:
        return self.job.kind in running.READS_ONLY or "--dry" in self.job.options


class Cluster:
    """A connection to the scheduler at `address`; `folder`: the certificates. FleetError where there is none."""

    ids_are_shared = False  # hullproof.fleet.worker says why
    by_region = True

    def __init__(self, address: str, folder: str | None = None) -> None:
        self.problem = ""
        self._address = address
        paths = tls.files(folder) if folder else {}
        keys = {"ca": "tls_ca_file", "cert": "tls_client_cert", "key": "tls_client_key"}
        self._security = Security(require_encryption=bool(folder), **{keys[what]: path for what, path in paths.items()})
        self._slots: dict[str, int] = {}
        self._asked = 0.0

    def __enter__(self) -> Self:
        logging.disable(logging.CRITICAL)  # Dask logs tracebacks; what matters of them is said here
        with contextlib.ExitStack() as exits:
            try:
                self._client = Client(
                    self._address, security=self._security, timeout=CONNECT_SECONDS, set_as_default=False
                )
            except OSError as error:
                raise FleetError(f"no scheduler answers at {self._address}: {error}") from None
            exits.callback(self._close)
            self._check()
            self._signals = exits.enter_context(running.forwarding())
            self._exits = exits.pop_all()
        return self

    def _check(self) -> None:
        key = "distributed.scheduler.allowed-failures"
        try:
            retries = self._client.run_on_scheduler(dask.config.get, key, callback_timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError):
            raise FleetError(f"the scheduler at {self._address} does not answer") from None
        if retries != 0:
            raise FleetError(
                f"the scheduler at {self._address} would give a part to {retries + 1} workers without asking "
                f"({key}): start it by `hullproof fleet scheduler`, or set that to 0"
            )
        if not self.slots()[""]:
            raise FleetError(f"no worker is connected to the scheduler at {self._address}: `hullproof fleet worker`")

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def _close(self) -> None:
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            self._client.close(timeout=2)

    def slots(self) -> Mapping[str, int]:
        """How many workers there are in each region, and, as "", in all; asked once in a second at most. Where the
        scheduler does not answer, what it said last."""
        if time.monotonic() - self._asked > 1 and not self.problem:
            ask: Any = self._client.scheduler.identity  # type: ignore[union-attr]
            try:
                workers = self._client.sync(ask, n_workers=-1, callback_timeout=ANSWER_SECONDS)["workers"].values()
            except (OSError, TimeoutError):
                self.problem = f"the scheduler at {self._address} went away"
                return self._slots
            names = (name for each in workers for name in each["resources"] if name.startswith(REGION))
            self._slots = {**Counter(name.removeprefix(REGION) for name in names), "": len(workers)}
            self._asked = time.monotonic()
        return self._slots

    def run(self, job: Job, parts: Sequence[Part]) -> Iterator[End]:
        """The end of each part, as it comes."""
        these = Round(job, [Attempt(part) for part in parts])
        while these.waiting or these.under_way:
            if self._client.status != "running":
                self.problem = f"the scheduler at {self._address} went away"
            if self.problem or self._signals.received:
                yield from self._stop(these)
            else:
                self._give_out(these)
            for future in [future for future in these.under_way if future.done()]:
                attempt = these.under_way.pop(future)
                if end := self._ended(these, future, attempt):
                    yield end
            yield from self._given_up(these)
            time.sleep(POLL_SECONDS)

    def _give_out(self, these: Round) -> None:
        """As many as there are workers that have nothing to do."""
        taken = Counter(attempt.part.region for attempt in these.under_way.values())
        for attempt in [each for each in these.waiting if each.after <= time.monotonic()]:
            region, slots = attempt.part.region, self.slots()
            if taken.total() < slots[""] and taken[region] < slots.get(region, 0):
                taken[region] += 1
                these.waiting.remove(attempt)
                attempt.count += 1
                wants = {f"{REGION}{region}": 1} if region else None
                arguments = asdict(these.job), asdict(attempt.part)
                future = self._client.submit(worker.survey, *arguments, pure=False, resources=wants)
                these.under_way[future] = attempt

    def _ended(self, these: Round, future: Future[Any], attempt: Attempt) -> End | None:
        """How the part ended; None where it has another attempt, or where nothing comes from the scheduler any more."""
        try:
            return worker.carried(future.result(timeout=RESULT_SECONDS)).end(attempt.part)
        except (KilledWorker, TimeoutError):
            if attempt.count == 1:
                attempt.after = 0.0 if these.reads_only else time.monotonic() + AGAIN_SECONDS
                these.waiting.append(attempt)
                return None
            why = "two workers died, one after the other, while they had this host"
        except CancelledError:  # it comes with the connection's end, which the next round sees
            these.waiting.append(attempt)
            return None
        except Exception as error:
            why = f"its worker could not carry the part out: {type(error).__name__}: {error}"
        return self._unfinished(these, attempt, why)

    def _unfinished(self, these: Round, attempt: Attempt, why: str) -> End:
        """Of a host that was only to be read, no more is said than that it gave no answer."""
        untouched = these.reads_only or not attempt.count
        more = "" if untouched else ": what was begun there goes on, so run drift to see the host as it is"
        return End(attempt.part, problem=f"{why}{more}", unreachable=untouched)

    def _given_up(self, these: Round) -> Iterator[End]:
        """Those that no worker has been there for, for too long."""
        now, slots = time.monotonic(), self.slots() if not self.problem else {}
        for attempt in [*these.waiting, *these.under_way.values()]:
            if self.problem or slots.get(attempt.part.region):
                attempt.alone = None
                continue
            attempt.alone = attempt.alone or now
            if now - attempt.alone >= ALONE_SECONDS:
                these.waiting = [each for each in these.waiting if each is not attempt]
                these.under_way = {key: each for key, each in these.under_way.items() if each is not attempt}
                region = f" of the region {attempt.part.region}" if attempt.part.region else ""
                had = "the worker that had this host died, and " if attempt.count else ""
                yield self._unfinished(these, attempt, f"{had}no worker{region} is connected to the scheduler")

    def _stop(self, these: Round) -> Iterator[End]:
        """Nothing else begins. What is under way comes to its end, unless nothing can come from there any more."""
        received = self._signals.received
        name = signal.Signals(received[0]).name if received else ""
        waits, these.waiting = these.waiting, []
        for attempt in waits:
            why = self.problem or f"the run was ended ({name}) before it came to this host"
            yield self._unfinished(these, attempt, why)
        if self.problem or len(received) > 1:
            left, these.under_way = these.under_way, {}
            for attempt in left.values():
                why = self.problem or f"the run was ended ({name})"
                yield self._unfinished(these, attempt, f"{why} while a worker had this host")
