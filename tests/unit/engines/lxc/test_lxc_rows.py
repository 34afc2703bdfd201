"""Root gets no second row of ids where Incus or LXD takes root's rows for its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked
from deploys.engines.lxc.controls import SUBJECT
from facts.core.reading import Unknown
from facts.engines.incus.incus import Daemon
from facts.engines.lxc.lxc import DEFAULT
from facts.userns import SUBGID, SUBUID, Range
from tests.support.lxc import ROWS, beside, context, lxc, userns, written

NO = Unknown("no")
BIG = (Range("u", 1_000_000, 1_000_000_000, "root", SUBUID),)
OWNED = (Range("u", 100_000, 65536, "root", SUBUID),)
INCUS = Daemon("incus", "/run/incus", NO, clustered=NO, certificates=NO, profiles=NO, instances=NO)


def planned(others: dict[Any, Any], ranges: tuple[Range, ...], accept: tuple[str, ...] = ()) -> list[Any]:
    texts: dict[str, Any] = {f"sub{kind}id": "".join(f"{row.owner}:{row.start}:{row.count}\n" for row in ranges
                                                    if row.kind == kind) for kind in "ug"}  # fmt: skip
    ids = replace(userns(ranges), **texts)
    made = context(lxc(), ids, others=others, accept=accept, user_namespace="mapped")
    return list(SUBJECT.plan(made))


@pytest.mark.parametrize(
    ("others", "ranges", "why"),
    [
        (beside("incus"), (), "Incus is there: "),
        (beside("incus", "lxd"), (), "Incus and LXD are there: "),
        (beside(daemons=(INCUS,)), (), "Incus is there: "),
        (beside(), BIG, "root has the row root:1000000:1000000000 (/etc/subuid), as for Incus or LXD: "),
    ],
)
def test_a_row_waits_for_an_accept_where_others_take_roots_rows(
    others: dict[Any, Any], ranges: tuple[Range, ...], why: str
) -> None:
    (blocked,) = planned(others, ranges)
    assert isinstance(blocked, Blocked)
    assert (blocked.accepts, blocked.controls) == (("lxc-rows",), ("lxc.user-namespace",))
    assert blocked.why.startswith(f"{why}Incus and LXD take root's rows for their own")
    assert set(written(planned(others, ranges, ("lxc-rows",)))) == {SUBUID, SUBGID, DEFAULT}


def test_a_row_that_root_has_is_used_and_others_of_its_size_are_in_nobodys_way() -> None:
    assert set(written(planned(beside("incus"), ROWS))) == {DEFAULT}
    assert set(written(planned(beside(), OWNED))) == {SUBUID, SUBGID, DEFAULT}


def test_where_it_is_not_known_who_takes_them_no_row_is_given() -> None:
    (blocked,) = planned({each: NO for each in beside()}, ())
    assert isinstance(blocked, Blocked)
    assert (blocked.why, blocked.accepts) == ("no", ())
