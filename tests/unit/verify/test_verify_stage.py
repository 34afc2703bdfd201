"""What the scenarios leave on a host: nothing, however they end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.verify.probe import AGENTS, HERE, Attempt, agenda, outcomes

# A host on which nothing is mounted, and all folders are made below $there. The stand-in for a launcher comes after it.
HERE_ONLY = """\
mktemp() { command mktemp -d "$there/probe.XXXXXX"; }
mount() { :; }
umount() { :; }
ipcrm() { :; }
chcon() { :; }
"""
LEAVE = 'leave() { echo left > "$there/left"; }\n'
KILL = [Attempt("signal", "call", ("62", "i:PID", "i:0"))]
# An engine that starts the tree's first program, by its path there.
FIRST = """\
alone() {
    first "$tree" && sed -i "s|> /said|> $tree/said|; s|> /done|> $tree/done|" "$tree/sbin/init" && sh "$tree/sbin/init"
    told "$tree"
}
"""

pytestmark = pytest.mark.skipif(not list(Path("/usr/lib").glob("*/perl-base")), reason="there is no perl-base here")


def scenario(there: Path, launcher: str, plain: str = "") -> subprocess.CompletedProcess[str]:
    option, source = AGENTS["perl"]
    given = {"agent": "/usr/bin/perl", "option": option, "source": source.read_text(), "sentinel": "hp-here",
             "memory": "0x0", "outside": agenda(KILL), "plain": plain, "there": str(there)}  # fmt: skip
    names = ("stage.sh", "alone.sh")
    stage, alone = ((HERE / name).read_text() for name in names)
    script = "set -u\n" + HERE_ONLY + stage + launcher + LEAVE + alone
    return subprocess.run(["sh", "-c", script], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **given},
                          capture_output=True, text=True, timeout=60)  # fmt: skip


def left(there: Path) -> list[str]:
    return sorted(path.name for path in there.iterdir())


def test_attempts_are_made_with_the_number_of_the_hosts_process(tmp_path: Path) -> None:
    inside = agenda([Attempt("inside", "call", ("62", "i:PID", "i:0")), Attempt("quote", "exec", ("echo", "it's"))])
    done = scenario(tmp_path, FIRST, inside)
    found = outcomes(done.stdout, done.stderr)
    assert [found[name].worked for name in ("signal", "inside")] == [True, True], done
    assert found["quote"].text.strip() == "it's"
    assert (done.returncode, left(tmp_path)) == (0, ["left"])


def test_the_tree_has_all_that_attempts_need(tmp_path: Path) -> None:
    script = 'alone() { for each in $programs bin/sh usr/bin/id; do [ -x "$tree/$each" ] || return; done; echo all; }\n'
    done = scenario(tmp_path, "programs='usr/bin/perl usr/bin/setpriv usr/bin/cp usr/bin/chmod'\n" + script)
    assert "all" in done.stdout, done


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE])
def test_nothing_is_left_where_the_connection_breaks(tmp_path: Path, number: signal.Signals) -> None:
    done = scenario(tmp_path, f"alone() {{ kill -{number.value} $$; sleep 1; echo never; }}\n")
    assert done.returncode == 143
    assert left(tmp_path) == ["left"]


def test_nothing_is_left_where_no_container_comes_and_the_scenario_says_so(tmp_path: Path) -> None:
    done = scenario(tmp_path, "alone() { echo no such thing >&2; return 255; }\n")
    assert (done.returncode, left(tmp_path)) == (1, ["left"])  # 255 is what ssh says of a host out of reach
    assert "no such thing" in done.stderr
