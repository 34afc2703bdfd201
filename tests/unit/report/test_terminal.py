"""What an operator reads: the table of findings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploys.core.control import Impact, State
from deploys.report import terminal
from deploys.report.report import HostReport, build
from tests.support.report import KERNEL, OS, a_report, a_run, finding


def test_table() -> None:
    same = [
        finding(State.PASS),
        finding(State.WAIVED),
        finding(State.NOT_APPLICABLE),
        finding(State.UNKNOWN, "boat.b", "docker: no answer in time"),
        finding(State.FAIL, "boat.z", "z is set by somebody in /etc/docker/daemon.json", impact=Impact.RESTART),
        finding(State.UNKNOWN, "boat.a", "docker: no answer in time"),
        finding(State.PENDING_REBOOT, "boat.k", "lockdown is not in force", impact=Impact.REBOOT),
    ]
    hosts = [HostReport(name, "ok", None, OS, KERNEL, same) for name in ("web1", "web2")]
    down = HostReport("web3", "unreachable", "connection refused")
    calm = HostReport("web4", "ok", None, OS, KERNEL, [finding(State.PASS)])
    text = terminal.render_table(build(a_run(), [hosts[0], down, calm, hosts[1]]), False, 80)
    assert (
        text
        == """\
2 hosts (Debian GNU/Linux 12 (bookworm), kernel 6.1.0-13-amd64): 1 pass, 1 fail,
  2 unknown, 1 pending-reboot, 1 waived (1 not applicable)
  web1, web2
  fail             boat.z: z is set by somebody in /etc/docker/daemon.json
                   [takes a restart]
  pending-reboot   boat.k: lockdown is not in force [waits for a reboot]
  unknown          boat.a, boat.b: docker: no answer in time

web3: UNREACHABLE
  unreachable      connection refused

web4 (Debian GNU/Linux 12 (bookworm), kernel 6.1.0-13-amd64): 1 pass

2 findings are waived.

drift, policy baseline: 3 ok, 1 unreachable; 3 pass, 2 fail, 4 unknown, 2
pending-reboot, 2 waived (2 not applicable). Exit code 1: no answer from web3.
"""
    )


def test_an_id_is_never_broken() -> None:
    """It is copied from the table, by hand and by double click."""
    ids = [f"kernel.sysctl.net.ipv4.conf.all.{name}-and-the-rest" for name in ("one", "two", "three")]
    reason = "it is /etc/sysctl.d/99-a-name-with-many-hyphens.conf"
    made = a_report(*(finding(State.FAIL, name, reason) for name in ids))
    words = terminal.render_table(made, False, 50).split()
    assert {*(f"{name}," for name in sorted(ids)[:2]), f"{sorted(ids)[2]}:"} <= {*words}
    assert "/etc/sysctl.d/99-a-name-with-many-hyphens.conf" in words


def test_what_comes_next_is_said_where_harden_does_not_do_it() -> None:
    made = a_report(replace(finding(State.FAIL, "boat.a"), next="allow it with --data accept=storm"),
                    replace(finding(State.FAIL, "boat.b"), next="harden does it"))  # fmt: skip
    text = terminal.render_table(made, False, 200)
    assert "boat.a: icc is true [next: allow it with --data accept=storm]\n" in text
    assert "boat.b: icc is true\n" in text


def test_table_of_no_host() -> None:
    assert "no host in the inventory" in terminal.render_table(build(a_run(), []), False, 80)


def test_table_of_a_run_that_leaves_a_reboot() -> None:
    made = a_report(finding(State.PENDING_REBOOT), kind="harden")
    words = "Exit code 0: everything else holds; 1 finding will hold after a restart or reboot."
    assert words in terminal.render_table(made, False, 200)


def test_color_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made = a_report(finding(State.FAIL))
    assert "\x1b" not in terminal.render_table(made, False, 80)
    assert "\x1b[31mfail" in terminal.render_table(made, True, 80)

    class Screen:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.wants_color(Screen())  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.wants_color(Screen())  # type: ignore[arg-type]
