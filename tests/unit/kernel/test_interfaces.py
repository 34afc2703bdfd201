"""What interfaces make of a sysctl that `all` has too: judged by the kernel's rules, set, and set again by a boot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploys.core.change import Command
from deploys.core.control import State
from facts.core.reading import Block, Section
from facts.kernel.sysctls import covers, parse
from tests.support.kernel_host import (
    KERNEL,
    OURS,
    applied,
    planned,
    policy_of,
    survey_of,
    sysctls_of,
    verdict_of,
    written,
)

FILE = "/etc/sysctl.d/50-x.conf"
V4, V6 = "net.ipv4.conf", "net.ipv6.conf"

# name, all, the interface's own, its forwarding; whether redirects and the like are off there
KERNELS = {
    "AND where it forwards": (V4, "accept_redirects", "0", "1", "1", State.PASS),
    "OR where it does not": (V4, "accept_redirects", "0", "1", "0", State.FAIL),
    "OR: both off": (V4, "accept_redirects", "0", "0", "0", State.PASS),
    "send: OR": (V4, "send_redirects", "0", "1", "1", State.FAIL),
    "secure: OR": (V4, "secure_redirects", "0", "1", "1", State.FAIL),
    "source routes: AND": (V4, "accept_source_route", "0", "1", "0", State.PASS),
    "IPv6: its own alone": (V6, "accept_redirects", "0", "1", "0", State.FAIL),
    "IPv6 where it forwards": (V6, "accept_redirects", "0", "1", "1", State.PASS),
    "IPv6 source routes: the smaller": (V6, "accept_source_route", "0", "1", "0", State.PASS),
}


@pytest.mark.parametrize("case", KERNELS)
def test_by_the_rules_of_the_kernel(case: str) -> None:
    start, name, every, own, forwarding, state = KERNELS[case]
    key = f"{start}.all.{name}"
    live = {key: every, f"{start}.eth0.{name}": own, f"{start}.eth0.forwarding": forwarding, f"{start}.lo.{name}": "1"}
    host = survey_of(replace(KERNEL, sysctls=sysctls_of(live, {FILE: f"{key}=0\n{start}.*.{name}=0\n"})))
    verdict = verdict_of(f"kernel.sysctl.{key}", host, sysctls={key: 0})
    assert verdict.state is state, verdict.reason
    assert ("eth0 (1)" in verdict.reason) is (state is State.FAIL)


SEND = f"{V4}.all.send_redirects"

# files; what a boot does with eth0
BOOTS = {
    "the default": (f"{SEND}=0\n{V4}.default.send_redirects=0\n", ""),
    "a default that is lax": (f"{SEND}=0\n{V4}.default.send_redirects=1\n", f"{FILE} sets it to 1 for eth0"),
    "a pattern": (f"{SEND}=0\n{V4}.default.send_redirects=1\n{V4}.*.send_redirects=0\n", ""),
    "an explicit key wins": (
        f"{SEND}=0\n{V4}.eth0.send_redirects=1\n{V4}.*.send_redirects=0\n", f"{FILE} sets it to 1 for eth0",
    ),
    "IPv6 by default alone": (
        f"{V6}.all.accept_redirects=0\n{V6}.default.accept_redirects=0\n", "no file sets accept_redirects for eth0",
    ),
    "IPv6 by a pattern": (f"{V6}.all.accept_redirects=0\n{V6}.*.accept_redirects=0\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", BOOTS)
def test_what_a_boot_does(case: str) -> None:
    text, words = BOOTS[case]
    key = text.partition("=")[0]
    live = {key: "0", key.replace(".all.", ".eth0."): "0"}
    host = survey_of(replace(KERNEL, sysctls=sysctls_of(live, {FILE: text})))
    verdict = verdict_of(f"kernel.sysctl.{key}", host, sysctls={key: 0})
    assert (verdict.state, words in verdict.reason) == (State.FAIL if words else State.PASS, True), verdict.reason


@pytest.mark.parametrize(
    ("declared", "every", "own", "state"),
    [(2, "2", "0", "pass"), (2, "0", "2", "pass"), (1, "1", "2", "fail"), (2, "0", "0", "fail"), (1, "1", "0", "pass")],
)
def test_of_rp_filter_the_greater_counts(declared: int, every: str, own: str, state: str) -> None:
    live = {f"{V4}.all.rp_filter": every, f"{V4}.default.rp_filter": str(declared), f"{V4}.eth0.rp_filter": own}
    text = f"{V4}.all.rp_filter={every}\n{V4}.default.rp_filter={declared}\n{V4}.*.rp_filter={own}\n"
    kernel = replace(KERNEL, sysctls=sysctls_of(live, {FILE: text}))
    assert verdict_of("kernel.rp-filter", survey_of(kernel), rp_filter=declared).state.value == state


STRICT = {"sysctls": {SEND: 0, f"{V4}.default.send_redirects": 0, f"{V6}.all.accept_redirects": 0}, "rp_filter": 1}
LIVE = {
    SEND: "0", f"{V4}.default.send_redirects": "0", f"{V4}.eth0.send_redirects": "1", f"{V4}.eth1.send_redirects": "0",
    f"{V6}.all.accept_redirects": "0", f"{V6}.eth0.accept_redirects": "1", f"{V6}.eth0.forwarding": "0",
    f"{V4}.all.rp_filter": "1", f"{V4}.default.rp_filter": "1", f"{V4}.eth0.rp_filter": "2",
}  # fmt: skip
OTHERS = {
    "/usr/lib/sysctl.d/50-default.conf": f"{V4}.*.rp_filter = 2\n-{V4}.all.rp_filter\n",
    "/etc/sysctl.d/zz-mine.conf": f"{V4}.eth0.send_redirects = 1\n{V4}.e*.send_redirects = 1\n",
}


def test_they_are_set_and_a_boot_sets_them_and_nothing_is_left_to_do() -> None:
    before, policy = replace(KERNEL, sysctls=sysctls_of(LIVE, OTHERS)), policy_of(**STRICT)
    changes = planned(survey_of(before), policy)
    assert written(changes).path > "/etc/sysctl.d/zz-mine.conf"
    lines = written(changes).text.splitlines()
    assert {f"{V4}.*.send_redirects = 0", f"{V4}.eth0.send_redirects = 0", f"{V4}.*.rp_filter = 1"} <= set(lines)
    command = next(change for change in changes if isinstance(change, Command))
    assert "[ ! -e /proc/sys/net/ipv6/conf/eth0/accept_redirects ] || put net/ipv6/conf/eth0/accept_redirects 0" in (
        command.script
    )
    assert "put net/ipv4/conf/eth0/rp_filter 2" in command.undo
    after = survey_of(applied(before, changes))
    assert planned(after, policy) == []
    for id_ in ("kernel.rp-filter", f"kernel.sysctl.{SEND}", f"kernel.sysctl.{V6}.all.accept_redirects"):
        assert verdict_of(id_, after, **STRICT).state is State.PASS


def test_what_all_decides_alone_is_written_for_no_interface() -> None:
    key = f"{V4}.all.accept_source_route"
    kernel = replace(KERNEL, sysctls=sysctls_of({key: "1", f"{V4}.eth0.accept_source_route": "1"}))
    changes = planned(survey_of(kernel), policy_of(sysctls={key: 0}))
    assert written(changes).path == OURS
    assert "*" not in written(changes).text


def test_interfaces_are_told_from_all_and_default_and_by_their_names() -> None:
    lines = [
        "/proc/sys/net/ipv4/conf/all/rp_filter:2",
        "/proc/sys/./net/ipv4/conf/all/rp_filter:2",
        "/proc/sys/./net/ipv4/conf/default/rp_filter:2",
        "/proc/sys/./net/ipv4/conf/eth0.5/rp_filter:0",
        "grep: /proc/sys/./net/ipv6/conf/*/forwarding: No such file or directory",
    ]
    sysctls = parse(Section({"sysctl": Block(2, "\n".join(lines))}))
    assert sysctls.interfaces("ipv4", "rp_filter") == ("eth0/5",)
    assert dict(sysctls.live) == {"net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.eth0/5.rp_filter": "0"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a.*.x", "a.*.x", True), ("a.*.x", "a.e*.x", True), ("a.*.x", "a.*.y", False), ("a.*.x", "*.x", False)],
)
def test_patterns_for_the_same_keys(one: str, other: str, same: bool) -> None:
    assert covers(one, other) is same
