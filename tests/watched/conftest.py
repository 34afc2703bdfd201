"""A booted controller that reaches itself over sshd on loopback; /etc/hullproof/fleet.py is its inventory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watched.machine import Controller, booted, suite

METRICS = "/var/lib/prometheus/node-exporter"
FLEET = """\
hosts = [("me", {"ssh_hostname": "127.0.0.1", "ssh_user": "root", "ssh_strict_host_key_checking": "yes"})]
"""
PREPARE = f"""
systemctl start ssh
mkdir -p /root/.ssh /etc/hullproof
ssh-keygen -q -t ed25519 -N '' -f /etc/hullproof/ssh_key
cp /etc/hullproof/ssh_key.pub /root/.ssh/authorized_keys
sed 's/^/127.0.0.1 /' /etc/ssh/ssh_host_ed25519_key.pub >/etc/hullproof/known_hosts
cat >/etc/hullproof/fleet.py <<'END'
{FLEET}END
"""


@pytest.fixture(scope="session", autouse=True)
def bootable() -> None:
    if os.geteuid() != 0 or not suite():
        pytest.skip("a controller is built and booted by root, on Debian")


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    log: Path = tmp_path_factory.mktemp("controller") / "console"
    with booted(log) as found:
        found.out(PREPARE)
        yield found
