"""What an operator reads: the table of findings and the plan."""

from __future__ import annotations

import pytest

from deploys.engine import plan_view, terminal
from deploys.engine.change import Activate, Blocked, Command, MergeJson, RemoveFile, Service, WriteFile
from deploys.engine.control import Impact, State
from deploys.engine.report import HostReport, build
from tests.unit.test_report import KERNEL, OS, a_report, a_run, finding


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

drift, policy baseline: 3 ok, 1 unreachable; 3 pass, 2 fail, 4 unknown, 2
pending-reboot, 2 waived (2 not applicable). Exit code 1: no answer from web3.
"""
    )


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


DOCKER = Service("docker", "systemctl restart docker", "docker info", "", interrupts="Docker restarts: web, db stop")
CHANGES = [
    WriteFile("kernel", "write our sysctls", path="/etc/x", text="a = 2\nb = 1\n", before="a = 1\x1b[2J\nb = 1\n"),
    Blocked("userns", "map container users away from root", why="3 images\x1b would vanish: accept userns-remap"),
    MergeJson("docker", "set icc", path="/etc/docker/daemon.json", before=None, put={"icc": False}, service=DOCKER),
    RemoveFile("seccomp", "take away the profile", path="/etc/p.json", before="{}\n"),
    Command("kernel", "load it", script="sysctl -p", undo="", interrupts="nothing much"),
    Activate("docker", "take up what is on disk", service=DOCKER),
]


def test_plan() -> None:
    assert (
        plan_view.render_plan("web1", CHANGES, False, False)
        == """\
web1: 5 changes
   1. kernel: write our sysctls
   2. docker: set icc
      ! interrupts: Docker restarts: web, db stop
   3. seccomp: take away the profile
   4. kernel: load it
      ! interrupts: nothing much
   5. docker: take up what is on disk
      ! interrupts: Docker restarts: web, db stop
  not done, and how to allow it:
    - userns: map container users away from root
      3 images would vanish: accept userns-remap
"""
    )


def test_plan_with_diff() -> None:
    text = plan_view.render_plan("web1", CHANGES[:1], False, True)
    assert (
        text
        == """\
web1: 1 change
   1. kernel: write our sysctls
      --- /etc/x
      +++ /etc/x
      @@ -1,2 +1,2 @@
      -a = 1
      +a = 2
       b = 1
"""
    )
    text = plan_view.render_plan("web1", CHANGES[2:4], False, True)
    assert "--- /dev/null\n      +++ /etc/docker/daemon.json\n" in text
    assert '+  "icc": false' in text.replace("    ", "  ")
    assert "--- /etc/p.json\n      +++ /dev/null\n" in text
    assert "\x1b[32m+a = 2" in plan_view.render_plan("web1", CHANGES[:1], True, True)


def test_plan_of_nothing() -> None:
    assert plan_view.render_plan("web1", [], False, True) == "web1: no changes\n"
