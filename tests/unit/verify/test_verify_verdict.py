"""From what an attempt printed to a verdict."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.verify import verdict
from tests.verify.probe import AGENTS, Attempt, CannotTell, NotProved, Outcome, Prober, about, agenda, outcomes
from tests.verify.verdict import Verdict


def failed(number: int) -> Outcome:
    return Outcome("x", -1, number)


def printed(text: str, value: int = 0) -> Outcome:
    return Outcome("x", value, 0, text)


WORKED = Outcome("x", 0, 0)
KILLED = Outcome("x", -1, 0, "killed by signal 31")


CAME, STOPPED, NONE = (Outcome("b", value, number, "x") for value, number in ((0, 0), (-1, 1), (-1, errno.ENOENT)))


@pytest.mark.parametrize(
    ("own", "others", "holds"),
    [
        (CAME, [STOPPED], True),
        (CAME, [STOPPED, CAME], False),
        (CAME, [NONE], None),
        (CAME, [NONE, STOPPED], True),
        (CAME, [], None),
        (STOPPED, [STOPPED], None),  # nothing comes anywhere: nothing is shown
    ],
)
def test_frames_stopped(own: Outcome, others: list[Outcome], holds: bool | None) -> None:
    found = {str(number): outcome for number, outcome in enumerate([own, *others])}
    assert verdict.frames_stopped(found).holds is holds


INIT = printed("system_u:system_r:init_t:s0")


@pytest.mark.parametrize(
    ("read", "own", "first", "holds"),
    [
        (failed(errno.EACCES), WORKED, INIT, True),
        (WORKED, WORKED, INIT, False),
        (failed(errno.EACCES), failed(errno.EACCES), INIT, None),  # it reads nothing at all
        (WORKED, WORKED, printed("unconfined"), None),  # AppArmor
        (WORKED, WORKED, printed("kernel"), None),  # SELinux without a policy: what apparmor=0 leaves on Debian
        (WORKED, WORKED, failed(errno.EINVAL), None),
    ],
)
def test_kept_apart(read: Outcome, own: Outcome, first: Outcome, holds: bool | None) -> None:
    assert verdict.kept_apart(read, own, first).holds is holds


@pytest.mark.parametrize(
    ("inside", "outside", "holds"),
    [
        (Outcome("x", 0, 0, ""), Outcome("x", 0, 0, "seen"), True),
        (Outcome("x", 0, 0, "seen "), Outcome("x", 0, 0, "seen"), False),
        (Outcome("x", -1, errno.ENOENT, "exec"), Outcome("x", 0, 0, "seen"), None),
        (Outcome("x", 127, 0, "sh: not found"), Outcome("x", 0, 0, "seen"), None),  # it did not look
        (Outcome("x", 0, 0, ""), Outcome("x", 127, 0, "sh: not found"), None),
        (Outcome("x", -1, errno.ENOENT), Outcome("x", 7, 0), True),
        (Outcome("x", 7, 0), Outcome("x", 7, 0), False),
        (Outcome("x", -1, errno.EACCES), Outcome("x", 7, 0), False),
        (Outcome("x", -1, errno.EPERM), Outcome("x", 7, 0), None),
        (Outcome("x", -1, errno.ENOENT), Outcome("x", -1, errno.ENOSYS), None),
    ],
)
def test_what_is_the_hosts_is_not_seen_in_a_container(inside: Outcome, outside: Outcome, holds: bool | None) -> None:
    assert verdict.unseen(inside, outside).holds is holds


@pytest.mark.parametrize(
    ("inside", "outside", "holds"),
    [
        (failed(errno.ESRCH), WORKED, True),
        (failed(errno.EPERM), WORKED, True),
        (failed(errno.EACCES), WORKED, True),  # AppArmor
        (WORKED, WORKED, False),
        (failed(errno.EINVAL), WORKED, False),
        (failed(errno.ESRCH), failed(errno.ESRCH), None),  # it has ended: nothing is shown
    ],
)
def test_a_signal_reaches_no_process_of_the_hosts(inside: Outcome, outside: Outcome, holds: bool | None) -> None:
    assert verdict.unsignalled(inside, outside).holds is holds


@pytest.mark.parametrize(
    ("inside", "outside", "holds"),
    [
        (failed(errno.EPERM), failed(errno.EFAULT), True),
        (failed(errno.EACCES), WORKED, True),
        (KILLED, WORKED, True),
        (WORKED, WORKED, False),
        (failed(errno.EINVAL), failed(errno.EINVAL), False),
        (failed(errno.EFAULT), failed(errno.EFAULT), False),
        (failed(errno.ENOKEY), failed(errno.ENOKEY), False),
        (failed(errno.ENOSYS), failed(errno.ENOSYS), None),
        (failed(errno.ENOSYS), failed(errno.EINVAL), True),  # the filter says ENOSYS, the kernel has the call
        (failed(errno.EPERM), failed(errno.ENOSYS), None),
    ],
)
def test_call_denied(inside: Outcome, outside: Outcome, holds: bool | None) -> None:
    assert verdict.call_denied(inside, outside).holds is holds


@pytest.mark.parametrize(
    ("inside", "disabled", "holds"),
    [
        (failed(errno.EPERM), printed("0 "), True),
        (failed(errno.EPERM), printed("1 "), None),  # with a filter or without one
        (failed(errno.EPERM), failed(errno.EACCES), None),
        (failed(errno.EPERM), failed(errno.ENOENT), True),  # before Linux 6.6
        (failed(errno.ENOSYS), printed("2 "), True),  # which the sysctl does not say
        (failed(errno.EFAULT), printed("1 "), False),
    ],
)
def test_a_call_that_a_sysctl_refuses_shows_nothing_of_a_filter(
    inside: Outcome, disabled: Outcome, holds: bool | None
) -> None:
    assert verdict.call_denied(inside, failed(errno.EFAULT), disabled).holds is holds


@pytest.mark.parametrize(
    ("outcome", "holds"),
    [
        (failed(errno.EAGAIN), True),
        (Outcome("x", -1, 0, "killed by signal 9"), True),
        (Outcome("x", 301, 0), False),
        (failed(errno.ETIMEDOUT), None),
    ],
)
def test_bounded(outcome: Outcome, holds: bool | None) -> None:
    assert verdict.bounded(outcome).holds is holds


@pytest.mark.parametrize(
    ("outcome", "holds"),
    [
        (failed(errno.EPERM), True),
        (failed(errno.EACCES), True),
        (failed(errno.EROFS), True),
        (WORKED, False),
        (failed(errno.EINVAL), False),
        (failed(errno.ENOENT), None),
        (failed(errno.ENOSYS), None),
    ],
)
def test_denied(outcome: Outcome, holds: bool | None) -> None:
    assert verdict.denied(outcome).holds is holds


@pytest.mark.parametrize(
    ("forged", "heard", "holds"),
    [
        (Outcome("forged", 0, 0), "own", True),
        (Outcome("forged", 0, 0), "forged own", False),
        (Outcome("forged", 0, 0), "", None),  # nothing came at all: nobody could tell
        (Outcome("forged", -1, errno.EPERM), "own", None),  # it may not forge, whatever the network does
        (Outcome("forged", 0, 0), "forged", False),
    ],
)
def test_forgery_stopped(forged: Outcome, heard: str, holds: bool | None) -> None:
    assert verdict.forgery_stopped({"forged": forged, "ear": Outcome("ear", 0, 0, heard)}).holds is holds


@pytest.mark.parametrize(
    ("inside", "outside", "holds"),
    [
        (WORKED, WORKED, False),
        (failed(errno.ECONNREFUSED), WORKED, False),
        (failed(errno.ETIMEDOUT), WORKED, True),
        (failed(errno.EHOSTUNREACH), WORKED, True),
        (failed(errno.ETIMEDOUT), failed(errno.ETIMEDOUT), None),
        (failed(errno.ETIMEDOUT), failed(errno.ECONNREFUSED), None),
    ],
)
def test_unreached(inside: Outcome, outside: Outcome, holds: bool | None) -> None:
    assert verdict.unreached(inside, outside).holds is holds


@pytest.mark.parametrize(
    ("judge", "outcome", "holds"),
    [
        (verdict.root_is_mapped, printed("         0          0 4294967295 "), False),
        (verdict.root_is_mapped, printed("         0     231072      65536 "), True),
        (verdict.root_is_mapped, printed("1 0 1 0 231072 1 "), True),
        (verdict.root_is_mapped, printed(""), None),
        (verdict.root_is_mapped, failed(errno.EACCES), None),
        (verdict.setuid_gains_nothing, printed("0 "), False),
        (verdict.setuid_gains_nothing, printed("1000 "), True),
        (verdict.setuid_gains_nothing, printed("/bin/sh: cp: not found", 127), None),
        (verdict.pointers_hidden, printed("ffffffff81000000 T _text"), False),
        (verdict.pointers_hidden, printed("", 1), True),
        (verdict.pointers_hidden, printed("grep: /proc/kallsyms: Permission denied", 2), True),
        (verdict.pointers_hidden, failed(errno.ENOENT), None),
        (verdict.pointers_hidden, printed("", 127), None),
    ],
)
def test_readings(judge: Callable[[Outcome], Verdict], outcome: Outcome, holds: bool | None) -> None:
    assert judge(outcome).holds is holds


SS = {"listing": printed("/usr/bin/ss")}
TLS_ANSWER = printed("HTTP/1.0 400 Bad Request  Client sent an HTTP request to an HTTPS server.")


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (SS, True),
        ({"listing": printed("", 127)}, None),
        ({**SS, "tcp:127.0.0.1:2375": printed("HTTP/1.0 200 OK")}, False),
        ({**SS, "tcp:127.0.0.1:2375": failed(errno.ECONNREFUSED)}, True),
        ({**SS, "tcp:127.0.0.1:2375": failed(errno.EADDRNOTAVAIL)}, None),
        ({**SS, "tcp:127.0.0.1:2375": KILLED}, None),
        ({**SS, "asked:tcp:a:1": WORKED, "asked:tls:a:1": WORKED}, None),  # the agent died
        ({**SS, "asked:tcp:a:1": WORKED, "asked:tcp:b:1": WORKED, "tcp:b:1": failed(errno.ECONNREFUSED)}, None),
        ({**SS, "asked:tcp:a:1": WORKED, "asked:tcp:b:1": WORKED, "tcp:b:1": WORKED}, False),
        ({**SS, "asked:tcp:a:1": WORKED, "tcp:a:1": failed(errno.ECONNREFUSED), "asked:unix:/b": WORKED}, True),
        ({**SS, "tcp:a:1": TLS_ANSWER, "tls:a:1": printed("curl: (56) alert certificate required", 56)}, True),
        ({**SS, "tcp:a:1": TLS_ANSWER, "tls:a:1": printed("HTTP/1.1 200 OK")}, False),
        ({**SS, "tcp:a:1": TLS_ANSWER, "tls:a:1": printed("", 127)}, None),
        ({**SS, "tcp:a:1": TLS_ANSWER, "tls:a:1": printed("", 127), "tcp:b:1": WORKED}, False),
    ],
)
def test_listeners_held(found: dict[str, Outcome], holds: bool | None) -> None:
    assert verdict.listeners_held(found, "dockerd").holds is holds


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        ({"unix:/run/docker.sock": failed(errno.EACCES)}, True),
        ({"unix:/run/docker.sock": failed(errno.EACCES), "unix:/run/x.sock": WORKED}, False),
        ({"unix:/run/docker.sock": failed(errno.EACCES), "unix:/run/x.sock": failed(errno.ENOENT)}, True),
        ({"unix:/run/docker.sock": failed(errno.ECONNREFUSED)}, False),
        ({"asked:unix:/a": WORKED, "asked:unix:/b": WORKED, "unix:/b": failed(errno.EACCES)}, None),
        ({"asked:unix:/a": WORKED, "asked:unix:/b": WORKED, "unix:/b": WORKED}, False),
        ({}, None),
    ],
)
def test_sockets_held(found: dict[str, Outcome], holds: bool | None) -> None:
    assert verdict.sockets_held(found).holds is holds


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        ({"unix:/a": failed(errno.ENOENT), "unix:/b": failed(errno.EACCES), "tcp:a:1": WORKED}, True),
        ({"unix:/a": failed(errno.ECONNREFUSED)}, True),
        ({"asked:unix:/a": WORKED, "asked:unix:/b": WORKED, "unix:/b": failed(errno.ENOENT)}, None),
        ({"unix:/a": failed(errno.ENOENT), "unix:/b": WORKED}, False),
        ({"unix:/a": failed(errno.EINVAL)}, None),
        ({}, None),
    ],
)
def test_unanswered(found: dict[str, Outcome], holds: bool | None) -> None:
    assert verdict.unanswered(found).holds is holds


def test_outcomes_pass_over_what_is_not_theirs() -> None:
    found = outcomes("WARNING: no swap limit\nread\t5\t0\troot\x1b[31m\nkill\t-1\t1\t\nbad\tx\ty\tz\nshort\t1\n")
    assert set(found) == {"read", "kill"}
    assert found["read"].text == "root [31m"
    assert str(found["kill"]) == "EPERM (Operation not permitted)"
    with pytest.raises(NotProved, match="nothing of missing"):
        found["missing"]


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("20.10.24+dfsg1 ", (20, 10, 24)),
        ("26.1.5+dfsg1", (26, 1, 5)),
        ("28.2.2", (28, 2, 2)),
        ("27.0.0~rc1", (27, 0, 0)),
    ],
)
def test_version_of_docker(said: str, version: tuple[int, ...]) -> None:
    assert prober(f"machine x86_64\nagent /usr/bin/perl\ndocker {said}\n").version("docker") == version


def prober(said: str) -> Prober:
    """A prober of a host that has already said what it is."""

    class Told(Prober):
        about = about(said)

    return Told(lambda: pytest.fail("no connection wanted"))


def test_no_docker_is_not_a_pass() -> None:
    with pytest.raises(CannotTell, match="no Docker"):
        prober("machine x86_64\n").version("docker")


@pytest.mark.parametrize("said", ["Cannot connect to the Docker daemon", "there is a dockerd, but no docker command"])
def test_a_silent_daemon_is_a_failure(said: str) -> None:
    with pytest.raises(NotProved, match=said):
        prober(f"machine x86_64\ndocker {said}\n").version("docker")


def test_neither_perl_nor_python() -> None:
    with pytest.raises(CannotTell, match="neither perl nor python3"):
        _ = prober("machine x86_64\n").agent


def test_unknown_machine() -> None:
    assert prober("machine aarch64\n").number(1, 2) == "2"
    with pytest.raises(CannotTell, match="riscv64"):
        prober("machine riscv64\n").number(1, 2)


AGENDA = "\n".join(
    attempt.line()
    for attempt in [
        Attempt("there", "read", ("/etc/hostname",)),
        Attempt("missing", "read", ("/nonexistent",)),
        Attempt("nowhere", "rewrite", ("/nonexistent",)),
        Attempt("socket", "connect", ("/nonexistent.sock", "-", "GET / HTTP/1.0")),
        Attempt("command", "exec", ("sh", "-c", "echo done; exit 3")),
        Attempt("ended", "exec", ("sh", "-c", "kill -9 $$")),
        Attempt("absent", "exec", ("/nonexistent",)),
        Attempt("number", "call", ("999999", "i:0", "s:text", "x:00ff")),
        Attempt("forks", "forks", ("3",)),
        Attempt("fill", "fill", ("4096",)),
        Attempt("signal", "exec", ("sh", "-c", "kill -9 $PPID")),
    ]
)


@pytest.mark.parametrize("agent", ["perl", "python3"])
def test_agents_say_the_same(agent: str) -> None:
    option, source = AGENTS[agent]
    command = [sys.executable if agent == "python3" else agent, option, source.read_text(), AGENDA]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = outcomes(done.stdout)
    assert (found["there"].value, found["there"].errno) == (0, 0)
    assert [found[name].errno for name in ("missing", "nowhere", "socket", "absent")] == [errno.ENOENT] * 4
    assert (found["command"].value, found["command"].text.strip()) == (3, "done")
    assert (found["ended"].value, found["ended"].errno) == (128 + 9, 0)  # as a shell says it
    assert found["number"].errno == errno.ENOSYS
    assert (found["forks"].value, found["fill"].value) == (3, 4096)
    assert found["signal"].killed
    assert "signal 9" in str(found["signal"])


@pytest.mark.parametrize(
    ("sent", "entry", "heard", "holds"),
    [
        (WORKED, "02:42:ac:11:00:02 02:42:ac:11:00:02", "own", True),
        (WORKED, "02:42:ac:11:00:03 02:42:ac:11:00:02", "own", False),
        (WORKED, "02:42:ac:11:00:02 02:42:ac:11:00:03 02:42:ac:11:00:02", "own", False),  # for a moment
        (WORKED, "", "own", None),
        (WORKED, "02:42:ac:11:00:02 02:42:ac:11:00:02", "", None),  # nobody heard anything of it
        (WORKED, " 02:42:ac:11:00:02", "own", None),  # the host speaks to nobody there
        (failed(errno.EPERM), "02:42:ac:11:00:02 02:42:ac:11:00:02", "own", None),
    ],
)
def test_neighbour_kept(sent: Outcome, entry: str, heard: str, holds: bool | None) -> None:
    found = {"masquerade": sent, "neighbour": Outcome("neighbour", 0, 0, entry), "ear": Outcome("ear", 0, 0, heard)}
    assert verdict.neighbour_kept(found).holds is holds


def test_no_attempt_takes_the_place_of_another() -> None:
    assert agenda([Attempt("a", "read", ("/x",)), Attempt("b", "read", ("/y",))]) == "a\tread\t/x\nb\tread\t/y"
    with pytest.raises(ValueError, match="two attempts of one name"):
        agenda([Attempt("a", "read", ("/x",)), Attempt("a", "read", ("/y",))])
