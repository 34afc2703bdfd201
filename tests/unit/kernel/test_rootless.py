"""User namespaces of people: who uses them, and that they are not closed under them without a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.kernel.controls import CONTROLS, subject
from deploys.kernel.rules import KernelRules
from deploys.kernel.sysctl_files import ACCEPT_ROOTLESS, CLONE, NAMESPACES, plan_sysctls
from facts import rootless
from facts.core.reading import Block, Section, Unknown
from facts.kernel.kernel import KernelReading
from tests.support.kernel_host import KERNEL, OURS, survey_of, sysctls_of

RESTRICT = "kernel.apparmor_restrict_unprivileged_userns"
DMESG = "kernel.dmesg_restrict"
ALICE = {"alice": ("conmon", "podman")}


def plan(kernel: KernelReading, sysctls: dict[str, Any], *accept: str, allowed: tuple[str, ...] = ()) -> list[Change]:
    policy = Policy("test", {KernelRules: KernelRules(sysctls=sysctls)}, accept=frozenset(accept))
    survey = survey_of(kernel)
    made = subject(lambda policy: allowed)
    return list(made.plan(Context(survey, policy, {f.control.id: f for f in judge(CONTROLS, survey, policy)})))


def text(changes: list[Change]) -> str:
    """All that would be written or run."""
    return "".join(getattr(change, "text", "") + getattr(change, "script", "") for change in changes)


@pytest.mark.parametrize(("key", "value", "live"), [(CLONE, 0, "1"), (RESTRICT, 1, "0")])
def test_they_are_not_closed_under_those_who_use_them(key: str, value: int, live: str) -> None:
    kernel = replace(KERNEL, sysctls=sysctls_of({key: live, DMESG: "0"}), rootless=ALICE)
    changes = plan(kernel, {key: value, DMESG: 1})
    (blocked,) = (change for change in changes if isinstance(change, Blocked))
    assert "alice (conmon, podman)" in blocked.why
    assert blocked.accepts == (ACCEPT_ROOTLESS,)
    assert key not in text(changes)
    assert DMESG in text(changes), "all else goes on"
    accepted = plan(kernel, {key: value, DMESG: 1}, ACCEPT_ROOTLESS)
    assert not any(isinstance(change, Blocked) for change in accepted)
    assert key in text(accepted)
    assert [type(change) for change in plan(kernel, {key: value})] == [Blocked], "nor an empty file"


def test_nobody_uses_them() -> None:
    changes = plan(replace(KERNEL, sysctls=sysctls_of({CLONE: "1"}), rootless={}), {CLONE: 0}, ACCEPT_ROOTLESS)
    assert [type(change) for change in changes] == [WriteFile, Command]
    assert [change.interrupts for change in changes] == ["", ""]


@pytest.mark.parametrize(("key", "value", "live"), [(CLONE, 0, "1"), (RESTRICT, 1, "0")])
@pytest.mark.parametrize(
    ("running", "named"),
    [({}, "none would start: ops"), (ALICE, "alice (conmon, podman); the policy lets"), (Unknown("denied"), "denied")],
)
def test_they_are_not_closed_to_those_whom_the_policy_allows_them(
    key: str, value: int, live: str, running: Any, named: str
) -> None:
    kernel = replace(KERNEL, sysctls=sysctls_of({key: live, DMESG: "0"}), rootless=running)
    (blocked,) = (
        change for change in plan(kernel, {key: value, DMESG: 1}, allowed=("ops",)) if isinstance(change, Blocked)
    )
    assert named in blocked.why
    assert "run containers without root, and none would start: ops" in blocked.why
    accepted = plan(kernel, {key: value, DMESG: 1}, ACCEPT_ROOTLESS, allowed=("ops",))
    (command,) = (change for change in accepted if isinstance(change, Command))
    assert command.interrupts.startswith("containers and sandboxes in user namespaces no longer start: ")
    assert command.interrupts.endswith("ops")
    assert plan(kernel, {DMESG: 1}, allowed=("ops",))[-1].interrupts == "", "where nothing is closed"


def test_who_uses_them_is_not_known() -> None:
    kernel = replace(KERNEL, sysctls=sysctls_of({CLONE: "1"}), rootless=Unknown("no answer"))
    (blocked,) = plan(kernel, {CLONE: 0})
    assert isinstance(blocked, Blocked)
    assert "no answer" in blocked.why


def test_what_is_closed_stays_so() -> None:
    """Somebody came with rootless containers after the hardening: that is for them to say."""
    closed = sysctls_of({CLONE: "0", DMESG: "0"}, {OURS: f"{CLONE} = 0\n"})
    changes = plan(replace(KERNEL, sysctls=closed, rootless=ALICE), {CLONE: 0, DMESG: 1})
    assert not any(isinstance(change, Blocked) for change in changes)
    assert f"{CLONE} = 0" in text(changes)


def test_what_somebody_opened_again_is_told_and_our_file_left() -> None:
    opened = sysctls_of({CLONE: "1", DMESG: "0"}, {OURS: f"{CLONE} = 0\n"})
    changes = plan(replace(KERNEL, sysctls=opened, rootless=ALICE), {CLONE: 0, DMESG: 1})
    assert any(isinstance(change, Blocked) for change in changes)
    (file,) = (change for change in changes if isinstance(change, WriteFile))
    assert f"{CLONE} = 0" in file.text
    assert CLONE not in "".join(change.script for change in changes if isinstance(change, Command))
    assert State.FAIL.holds is False


def parsed(*lines: str, status: int = 0) -> Any:
    return rootless.parse(Section({"rootless": Block(status, "\n".join(lines) + "\n")}))


def test_reading_who_uses_them() -> None:
    assert parsed() == {}
    assert parsed(
        "process 1000 1 alice podman",
        "process 1000 1000 alice conmon",
        "process 165536 0 165536 nginx",  # of Docker's: its parent is root
        "process 100000 1001 100000 systemd",  # of LXC, begun by a user
        "process 997 1 gitlab conmon",
        "process 998 1 polkitd polkitd",  # systemd's PrivateUsers=
        "process 61200 1 61200 app",
        "socket 1002 0 bob /run/user/1002/podman/podman.sock",
        "nonsense", "process x y z w", "",
    ) == {
        "alice": ("conmon", "podman"), "bob": ("/run/user/1002/podman/podman.sock",), "gitlab": ("conmon",),
        "uid 1001": ("systemd",),
    }  # fmt: skip
    assert isinstance(parsed("readlink: Permission denied", status=1), Unknown)
    assert isinstance(rootless.parse(Section({})), Unknown)


def test_what_another_file_allows_already_is_set_now_and_not_written_once_more() -> None:
    """The subject userns writes the same key: two files with two values of it would never agree."""
    files = {"/etc/sysctl.d/90-hullproof-userns.conf": f"{NAMESPACES} = 10000\n"}
    survey = survey_of(replace(KERNEL, sysctls=sysctls_of({NAMESPACES: "0"}, files)))
    policy = Policy("test", {KernelRules: KernelRules(user_namespaces=True)})
    context = Context(survey, policy, {f.control.id: f for f in judge(CONTROLS, survey, policy)})
    (live,) = plan_sysctls(context)
    assert isinstance(live, Command)
    assert live.what == f"set {NAMESPACES}=10000 (live)"
    assert live.controls == ("kernel.user-namespaces",)
