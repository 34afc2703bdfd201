"""The plan as an operator reads it, before anything is done."""

from __future__ import annotations

from collections.abc import Sequence

from deploys.core.change import Activate, Blocked, Change, Command, Install, MergeJson, RemoveFile, Service, WriteFile
from deploys.run.plan_view import PlanView
from deploys.run.steps import arrange

DOCKER = Service("docker", "systemctl restart docker", "docker info", "", interrupts="Docker restarts: web, db stop")
PATH = "/etc/docker/daemon.json"
CHANGES = [
    Activate("seccomp", "take up what is on disk", service=DOCKER, controls=("seccomp.default-profile",)),
    MergeJson("docker", "set icc", path=PATH, before=None, put={"icc": False}, service=DOCKER,
              interrupts=DOCKER.interrupts, controls=("docker.icc",)),
    RemoveFile("seccomp", "take away the profile", path="/etc/p.json", before="{}\n"),
    WriteFile("kernel", "write our sysctls", path="/etc/x", text="a = 2\nb = 1\n", before="a = 1\x1b[2J\nb = 1\n",
              controls=("kernel.sysctl.a", "kernel.sysctl.b")),
    Blocked("userns", "map container users away from root", why="3 images\x1b would vanish", accepts=("userns-remap",),
            controls=("userns.docker-remap",)),
    MergeJson("userns", "map users", path=PATH, before=None, put={"userns-remap": "x"}, service=DOCKER,
              controls=("userns.docker-remap",)),
    Command("kernel", "load it", script="sysctl -p", undo="", interrupts="nothing much"),
    Install("audit", "install auditd", packages=("auditd",), controls=("audit.running",)),
]  # fmt: skip


def shown(changes: Sequence[Change], *unknown: str, color: bool = False, diff: bool = False, width: int = 80) -> str:
    steps = arrange(changes, ["kernel", "seccomp", "userns", "docker"])
    blocked = [change for change in changes if isinstance(change, Blocked)]
    return PlanView(color, diff, width).render("web1", steps=steps, blocked=blocked, unknown=unknown)


def test_it_is_shown_in_the_order_in_which_it_is_executed_and_with_its_controls() -> None:
    assert (
        shown(CHANGES, "lsm.module", "audit.denials")
        == """\
web1: 6 changes
   1. packages: install auditd [audit.running]
   2. kernel: write our sysctls [kernel.sysctl.a, kernel.sysctl.b]
   3. kernel: load it
      ! interrupts: nothing much
   4. seccomp: take away the profile
   5. docker: write /etc/docker/daemon.json: set icc; map users [docker.icc,
      userns.docker-remap]
   6. restart docker with the new settings: take up what is on disk
      [seccomp.default-profile, docker.icc, userns.docker-remap]
      ! interrupts: Docker restarts: web, db stop
  Blocked, and how to allow it:
    - userns: map container users away from root [userns.docker-remap]
      3 images would vanish. Allow it with --data accept=userns-remap
  2 findings are unknown: lsm.module, audit.denials, so nothing is planned for
      them
"""
    )


def test_what_may_cut_us_off_says_how_it_is_reverted() -> None:
    go = Command("kernel", "go", script="", undo="", commit_confirmed=True, interrupts="the network")
    assert shown([go, Command("kernel", "look", script="", undo="")], width=100) == (
        "web1: 2 changes\n"
        "   1. kernel: go\n"
        "      ! interrupts: the network\n"
        "      commit-confirmed: the host reverts it by itself unless a fresh connection confirms it\n"
        "   2. kernel: look\n"
    )


def test_one_file_is_one_diff_as_it_will_be_written() -> None:
    text = shown(CHANGES, diff=True)
    assert text.count("+++ /etc/docker/daemon.json") == 1
    assert '"icc": false,\n      +  "userns-remap": "x"' in text
    assert "--- /dev/null\n      +++ /etc/docker/daemon.json\n" in text
    assert "--- /etc/p.json\n      +++ /dev/null\n" in text
    assert "      -a = 1\n      +a = 2\n       b = 1\n" in text, "without the host's escape sequences"
    assert "\x1b[32m+a = 2" in shown(CHANGES, color=True, diff=True)


def test_lines_wrap_and_ids_never_break() -> None:
    ids = tuple(f"kernel.sysctl.net.ipv4.conf.default.accept-source-route-{number}" for number in range(60))
    text = shown([Command("kernel", "set it", script="", undo="", controls=ids)], *ids, width=60)
    assert all(f"{name}," in text.split() for name in ids[:-1]), "twice: as planned and as unknown"
    assert max(map(len, text.splitlines())) <= 70, "an id alone may be wider than the terminal"
    assert max(map(len, shown(CHANGES, width=0).splitlines())) <= 50, "a terminal of which the width is not known"


def test_one_unknown_finding_and_nothing_to_do() -> None:
    assert shown([], "lsm.module", diff=True) == (
        "web1: no changes\n  1 finding is unknown: lsm.module, so nothing is planned for it\n"
    )
