"""How Docker takes up its files: the service's scripts, run against a docker and a systemctl that only pretend."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "docker"

# State lies in files: `active`, `live` (live-restore), `reloads` (what a reload makes of it), and one per container.
STUBS = {
    "systemctl": r"""
echo "systemctl $*" >>log
case "$1" in
  is-active) cat active ;;
  reload) cp reloads live ;;
  restart) echo active >active; if [ "$(cat live)" != true ]; then for c in c.*; do echo 'false 143' >"$c"; done; fi
    cp file live; [ ! -e breaks ] ;;
esac
""",
    "docker": r"""
case "$1 $2" in
  'info -f') cat live ;;
  'ps -q') [ "$(cat active)" = active ] && [ ! -e hangs ] || exit 1; grep -l '^true' c.* 2>/dev/null | sed 's/^c\.//' ;;
  'container inspect') for id; do :; done; cat "c.$id" 2>/dev/null ;;
  start\ *) echo "start $2" >>log; [ ! -e "refuses.$2" ] && echo 'true 0' >"c.$2" ;;
  stop\ *) shift; echo "stop $*" >>log; for id; do echo 'false 0' >"c.$id"; done ;;
esac
""",
    "timeout": 'shift; exec "$@"',
    "sleep": ":",
}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    files = {"active": "active", "live": "false", "reloads": "true", "file": "true", "log": ""}
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n" if text else "")
    return tmp_path


def sh(host: Path, script: str, stop: int = 0) -> int:
    environment = {"PATH": f"{host}:{os.environ['PATH']}", "HULLPROOF_RUN": str(host)}
    text = f"STOP={stop}\n{(TEMPLATES / script).read_text()}"
    return subprocess.run(["sh", "-c", text], cwd=host, env=environment, check=False).returncode


def said(host: Path) -> list[str]:
    """What was done, without the questions."""
    asked = ("systemctl is-active", "systemctl daemon-reload", "systemctl reset-failed")
    return [line for line in (host / "log").read_text().splitlines() if not line.startswith(asked)]


def contain(host: Path, *names: str) -> None:
    for name in names:
        (host / f"c.{name}").write_text("true 0\n")


def test_without_containers_it_restarts(host: Path) -> None:
    assert sh(host, "activate.sh") == 0
    assert said(host) == ["systemctl restart docker.service"]
    assert sh(host, "healthy.sh") == 0


def test_live_restore_comes_first_and_containers_live_on(host: Path) -> None:
    contain(host, "a", "b")
    assert sh(host, "activate.sh") == 0
    assert said(host) == ["systemctl reload docker.service", "systemctl restart docker.service"]
    assert sh(host, "healthy.sh") == 0
    assert not (host / "hullproof-docker-ran").exists()


def test_without_live_restore_nothing_is_stopped(host: Path) -> None:
    contain(host, "a")
    (host / "reloads").write_text("false\n")
    assert sh(host, "activate.sh") == 1
    assert said(host) == ["systemctl reload docker.service"]
    assert (host / "c.a").read_text() == "true 0\n"
    assert sh(host, "healthy.sh") == 0, "Docker runs as before"


def test_accepted_containers_are_stopped_and_started_again(host: Path) -> None:
    contain(host, "a", "b")
    assert sh(host, "activate.sh", stop=1) == 0
    assert said(host) == ["stop a b", "systemctl restart docker.service", "start a", "start b"]
    assert sh(host, "healthy.sh") == 0


def test_a_container_that_does_not_come_back_is_a_failure(host: Path) -> None:
    contain(host, "a", "b")
    (host / "refuses.a").touch()
    assert sh(host, "activate.sh", stop=1) == 1
    assert (host / "c.b").read_text() == "true 0\n", "the others are started all the same"


def test_undone_live_restore_starts_again_what_it_stopped(host: Path) -> None:
    contain(host, "a")
    (host / "live").write_text("true\n")
    (host / "file").write_text("false\n")
    (host / "systemctl").write_text((host / "systemctl").read_text().replace('"$(cat live)"', '"$(cat file)"'))
    assert sh(host, "activate.sh") == 0
    assert said(host) == ["systemctl restart docker.service", "start a"]


def test_what_ended_by_itself_meanwhile_stays_ended(host: Path) -> None:
    contain(host, "a")
    (host / "live").write_text("true\n")
    (host / "hullproof-docker-ran").write_text("b\ngone\n")
    (host / "c.b").write_text("false 0\n")
    assert sh(host, "activate.sh") == 0
    assert said(host) == ["systemctl restart docker.service"]
    assert sh(host, "healthy.sh") == 0


def test_a_second_attempt_remembers_what_ran(host: Path) -> None:
    """The daemon did not come up with the new file: the old one is put back, and its containers run again."""
    contain(host, "a")
    (host / "breaks").touch()
    assert sh(host, "activate.sh", stop=1) == 1
    (host / "breaks").unlink()
    assert sh(host, "activate.sh", stop=1) == 0
    assert said(host)[-1] == "start a"


def test_a_crashed_container_is_not_well(host: Path) -> None:
    (host / "hullproof-docker-ran").write_text("a\n")
    (host / "c.a").write_text("false 1\n")
    assert sh(host, "healthy.sh") == 1
    assert (host / "hullproof-docker-ran").exists()


def test_a_docker_that_does_not_answer_is_not_restarted(host: Path) -> None:
    contain(host, "a")
    (host / "hangs").touch()
    assert sh(host, "activate.sh") == 1
    assert said(host) == []
    (host / "hullproof-docker-ran").write_text("a\n")
    sh(host, "activate.sh")
    assert "systemctl restart docker.service" in said(host), "a second attempt has to"


def test_a_docker_that_nobody_started_stays_so(host: Path) -> None:
    (host / "active").write_text("inactive\n")
    assert sh(host, "activate.sh") == 0
    assert said(host) == []
    assert sh(host, "healthy.sh") == 0
