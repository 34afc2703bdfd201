"""The seccomp filter that LXC gives new containers: judged by what it refuses, and written before it is named."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import Blocked
from deploys.core.control import State
from deploys.engines.lxc import filters
from deploys.engines.lxc.controls import SUBJECT
from facts import lxc_files
from facts.core.reading import Unknown, UnknownReading
from facts.engines.lxc.lxc import DEFAULT, GUARDED, STRICT
from tests.support.lxc import after, context, found, lxc, written


@pytest.mark.parametrize(
    ("path", "text", "state", "word"),
    [
        (STRICT, filters.TEXTS["strict"], State.PASS, ""),
        (GUARDED, filters.TEXTS["guarded"], State.FAIL, "allows add_key, clone, clone3"),
        ("/x", None, State.FAIL, "/x (/etc/lxc/default.conf:1) is not there"),
        ("/x", "2\nallowlist\nread\n", State.PASS, ""),
        ("/x", "2\nblacklist\n[all]\nkexec_load errno 1\nkeyctl allow\n", State.FAIL, "allows acct, add_key"),
        ("/x", filters.TEXTS["strict"] + "bpf errno 1 [0,1,SCMP_CMP_EQ]\n", State.FAIL, "allows bpf"),
        ("/x", "2\nallowlist\nbpf\nread\n[x86]\nkexec_load\n", State.FAIL, "allows bpf, kexec_load"),
        ("/x", "2\nallowlist kill\nbpf errno 1\nread\n", State.PASS, ""),
        ("/x", "2\nallowlist log\nread\n", State.UNKNOWN, "begins with allowlist log"),
        *(
            ("/x", filters.TEXTS["strict"].replace("bpf errno 1", f"bpf {action}"), State.FAIL, "allows bpf")
            for action in ("allow", "log", "errno 0", "errno 1 errno 0", "notify")
        ),
        ("/x", filters.TEXTS["strict"].replace("[all]", "[x86]"), State.FAIL, "allows acct"),
        ("/x", filters.TEXTS["strict"].replace("bpf errno 1", "bpf"), State.PASS, ""),
        ("/x", "1\nallowlist\n5\n", State.UNKNOWN, "version 1"),
        ("/x", Unknown("no"), State.UNKNOWN, "no"),
    ],
)
def test_a_filter_counts_by_what_it_refuses(path: str, text: Any, state: State, word: str) -> None:
    reading = lxc(f"lxc.seccomp.profile = {path}", filters={path: text})
    says = found(reading, "seccomp", seccomp="strict")
    assert (says[0], word in says[1]) == (state, True), says


@pytest.mark.parametrize(("level", "path"), [("guarded", GUARDED), ("strict", STRICT)])
def test_the_filter_is_written_before_it_is_named(level: str, path: str) -> None:
    made = context(lxc(users={path: ("web",)}), seccomp=level)
    changes = list(SUBJECT.plan(made))
    assert list(written(changes)) == [path, DEFAULT]
    assert "which counts for web too when they start" in changes[0].what
    assert found(after(lxc(), changes), "seccomp", seccomp=level)[0] is State.PASS
    assert len(filters.REFUSED[level]) > 20


@pytest.mark.parametrize(
    "text", ["2\nallowlist\nbpf\nread\n", "2\ndenylist\n[x86]\nptrace kill\n", "2\ndenylist\nclone errno 1\n"]
)
def test_a_filter_that_refuses_more_is_not_replaced(text: str) -> None:
    reading = lxc("lxc.seccomp.profile = /x", filters={"/x": text})
    (blocked,) = SUBJECT.plan(context(reading, seccomp="strict"))
    assert isinstance(blocked, Blocked)
    less = lxc("lxc.seccomp.profile = /x", filters={"/x": "2\ndenylist\nbpf\n"})
    assert list(written(SUBJECT.plan(context(less, seccomp="guarded")))) == [GUARDED, DEFAULT]


def test_without_a_filter_or_with_an_old_list_it_is_said() -> None:
    assert "every system call" in found(lxc(), "seccomp", seccomp="guarded")[1]
    with pytest.raises(UnknownReading):
        lxc_files.refused("")
