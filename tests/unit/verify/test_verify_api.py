"""Where the proofs look for an engine's API."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.verify.probe import outcomes

VERIFY = Path(__file__).resolve().parents[2] / "verify"
# What ss(8) and systemctl(1) print: Podman's service of root's (9) and of a user's (10), and Docker's daemon.
FAKE = r"""
ss() { case $1 in
*x*) printf '%s\n' 'u_str LISTEN 0 4096 /srv/own.sock 1 * 0 users:(("podman",pid=9,fd=3))' \
  'u_str LISTEN 0 4096 /run/user/1000/podman/podman.sock 1 * 0 users:(("podman",pid=10,fd=3))' \
  'u_str LISTEN 0 4096 /run/docker.sock 1 * 0 users:(("dockerd",pid=11,fd=3),("systemd",pid=1,fd=4))' ;;
*) printf '%s\n' 'LISTEN 0      4096               *:8080            *:*    users:(("podman",pid=9,fd=7))' \
  'LISTEN 0      4096       127.0.0.1:8081      0.0.0.0:*    users:(("podman",pid=10,fd=7))' \
  'LISTEN 0      4096         0.0.0.0:2375      0.0.0.0:*    users:(("dockerd",pid=11,fd=7))' ;;
esac; }
systemctl() { printf 'Listen=%s\n' '/run/podman/podman.sock (Stream)' '[::]:8888 (Stream)'; }
stat() { case $3 in /proc/10) echo 1000 ;; *) echo 0 ;; esac; }
"""


@pytest.mark.parametrize(
    ("engine", "sockets", "listeners"),
    [
        ("podman", {"/run/podman/podman.sock", "/srv/own.sock"}, {"127.0.0.1:8080", "[::1]:8888"}),
        ("docker", {"/run/docker.sock"}, {"127.0.0.1:2375"}),
    ],
)
def test_sockets_are_those_that_root_s_engine_listens_on(engine: str, sockets: set[str], listeners: set[str]) -> None:
    script = (VERIFY / "api.sh").read_text()
    reached = script[script.index("reached()") : script.index("# shellcheck disable=SC2016")]
    launcher = (VERIFY / f"api/{engine}.sh").read_text()
    for ask, expected in (("sockets", sockets), ("listeners | reached", listeners)):
        done = subprocess.run(["sh", "-c", f"{launcher}\n{FAKE}\n{reached}\n{ask}"], capture_output=True, text=True)
        assert set(done.stdout.split()) - {"/run/containerd/containerd.sock"} == expected, done.stderr


def test_what_is_asked_for_is_said_before_the_agent_tries_it() -> None:
    launcher = "sockets() { echo '/srv/my & own.sock'; }\nlisteners() { echo '[::]:8888'; }\n"
    given = {"PATH": "/usr/bin:/bin", "agent": "true", "option": "", "source": "", "as_nobody": ""}
    script = f"set -u\n{launcher}{(VERIFY / 'api.sh').read_text()}"
    done = subprocess.run(["sh", "-c", script], env=given, capture_output=True, text=True)
    asked = {"asked:listing", "asked:unix:/srv/my & own.sock", "asked:tcp:[::1]:8888", "asked:tls:[::1]:8888"}
    assert set(outcomes(done.stdout)) == asked, done
