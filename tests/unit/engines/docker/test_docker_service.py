"""How Docker takes up its files: the service's scripts, run against a docker and a systemctl that only pretend."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploys.core import templates

GIVES, LACKS = '{"live-restore": true}', '{"log-level": "info"}'

# State lies in files: `active`, `live` (live-restore), daemon.json, and one per container. As dockerd does it: a reload
# changes live-restore only where the file names it; containers outlive a restart where it is on before and after.
STUBS = {
    "systemctl": r"""
echo "systemctl $*" >>log
case "$1" in
  is-active) cat active ;;
  cat) [ ! -e unitless ] ;;
  stop) echo inactive >active ;;
  reload) cat daemon.json >>reloaded; [ -e deaf ] || case $(cat daemon.json) in
      *'"live-restore": true'*) echo true >live ;;
      *'"live-restore": false'*) echo false >live ;;
    esac ;;
  restart) after=false; ! grep -qs '"live-restore": true' daemon.json || after=true
    [ "$(cat live) $after" = 'true true' ] || for c in c.*; do [ ! -e "$c" ] || echo 'false 143' >"$c"; done
    echo active >active; echo $after >live; [ ! -e breaks ] || { echo failed >active; exit 1; } ;;
esac
""",
    "docker": r"""
case "$1 $2" in
  'info -f') [ ! -e hangs ] || exit 1; cat live ;;
  'inspect -f') shift 3; for id; do [ ! -e "rm.$id" ] || echo "/$id"; done ;;
  'ps -q') [ "$(cat active)" = active ] && [ ! -e hangs ] || exit 1; grep -l '^true' c.* 2>/dev/null | sed 's/^c\.//' ;;
  'container inspect') for id; do :; done; case $4 in *Name*) echo "/$id" ;; *) cat "c.$id" 2>/dev/null ;; esac ;;
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
    files = {"active": "active", "live": "false", "daemon.json": GIVES, "log": "", "entry/note": ""}
    (tmp_path / "entry").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n" if text else "")
    return tmp_path


def run(
    host: Path, script: str, stop: int = 0, undo: int = 0, accept: str = "", root: str | None = None
) -> tuple[int, str]:
    entry = host / "entry"
    environment = {
        "PATH": f"{host}:{os.environ['PATH']}", "HULLPROOF_RUN": str(host), "ACCEPT": accept,
        "HULLPROOF_DAEMON_JSON": f"{host}/daemon.json",
        "HULLPROOF_DOCKER_ROOT": f"{host}/root" if root is None else root,
        "ENTRY": str(entry), "NOTE": f"{entry}/note",
    }  # fmt: skip
    text = f"STOP={stop} UNDO={undo}\n{(templates.FOLDER / 'engines/docker' / script).read_text()}"
    done = subprocess.run(["sh", "-c", text], cwd=host, env=environment, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout


def sh(host: Path, script: str, stop: int = 0, undo: int = 0) -> int:
    return run(host, script, stop, undo)[0]


def settled(host: Path) -> Path:
    return host / "hullproof-docker-settled"


def said(host: Path) -> list[str]:
    """What was done, without the questions."""
    asked = (
        "systemctl is-active",
        "systemctl daemon-reload",
        "systemctl reset-failed",
        "systemctl show",
        "systemctl cat",
    )
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
    (host / "deaf").touch()
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


@pytest.mark.parametrize(
    "text", [LACKS, '{"live-restore": false, "a": 1}', "{}", " \n", '{\n\t"a": {}\n}', None, "{ }"]
)
def test_undone_live_restore_is_taken_away_last_and_stops_nothing(host: Path, text: str | None) -> None:
    contain(host, "a")
    (host / "live").write_text("true\n")
    file = host / "daemon.json"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
        file.chmod(0o640)
    assert sh(host, "activate.sh", undo=1) == 0
    assert said(host) == ["systemctl restart docker.service", "systemctl reload docker.service"]
    assert (host / "c.a").read_text() == "true 0\n"
    assert (host / "live").read_text() == "false\n"
    assert json.loads((host / "reloaded").read_text())["live-restore"] is False
    assert (file.read_text() if file.exists() else None) == text
    assert text is None or file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in (host / "entry").iterdir()) == ["note"]
    assert not list(host.glob("*.hullproof-new"))


@pytest.mark.parametrize("text", [LACKS, None])
def test_an_undo_that_was_cut_off_goes_on_with_the_file_as_it_is_to_be(host: Path, text: str | None) -> None:
    contain(host, "a")
    (host / "live").write_text("true\n")
    file = host / "daemon.json"
    file.unlink()
    if text:
        file.write_text(text)
    (host / "systemctl").write_text((host / "systemctl").read_text().replace("restart)", "restart) kill -9 $PPID;"))
    assert sh(host, "activate.sh", undo=1) != 0
    assert '"live-restore": true' in file.read_text()
    assert not settled(host).exists()
    (host / "systemctl").write_text((host / "systemctl").read_text().replace("restart) kill -9 $PPID;", "restart)"))
    assert sh(host, "activate.sh", undo=1) == 0
    assert (file.read_text() if file.exists() else None) == text
    assert settled(host).exists() is (text is not None)
    assert text is None or settled(host).read_text() == f"{int(file.stat().st_ctime)}\n"
    assert (host / "c.a").read_text() == "true 0\n"


def test_an_undo_that_was_cut_off_leaves_what_somebody_wrote_since(host: Path) -> None:
    (host / "entry" / "kept").write_text(LACKS)
    (host / "daemon.json").write_text('{"live-restore": true, "dns": ["10.0.0.1"]}')
    assert sh(host, "activate.sh", undo=1) == 0
    assert "dns" in (host / "daemon.json").read_text()
    assert not settled(host).exists(), "that is not what Docker runs with"


def test_an_undo_without_live_restore_does_not_restart_under_containers(host: Path) -> None:
    contain(host, "a")
    (host / "daemon.json").write_text(LACKS)
    status, words = run(host, "activate.sh", undo=1)
    assert (status, said(host)) == (3, [])
    assert "a restart would stop containers, because live-restore is off" in words


def test_files_that_lack_live_restore_are_not_taken_up_under_containers(host: Path) -> None:
    contain(host, "a")
    (host / "live").write_text("true\n")
    (host / "daemon.json").write_text(LACKS)
    assert sh(host, "activate.sh") == 3
    assert said(host) == []


@pytest.mark.parametrize("undo", [0, 1])
def test_what_was_started_with_rm_is_looked_at_when_it_happens(host: Path, undo: int) -> None:
    contain(host, "a", "b")
    (host / "rm.b").touch()
    status, words = run(host, "activate.sh", stop=1, undo=undo)
    assert (status, said(host)) == (3, [])
    assert "/b" in words
    assert not (host / "hullproof-docker-ran").exists()


def test_a_container_that_does_not_start_again_does_not_hold_up_an_undo(host: Path) -> None:
    contain(host, "a", "b")
    (host / "refuses.a").touch()
    assert sh(host, "activate.sh", stop=1, undo=1) == 0
    assert (host / "c.b").read_text() == "true 0\n"
    assert (host / "entry" / "note").read_text() == "these containers did not start again: /a\n"
    assert not (host / "hullproof-docker-ran").exists()


def test_a_daemon_that_does_not_come_up_with_new_files_gets_the_old_ones_back_and_no_container_stops(
    host: Path,
) -> None:
    """The plan's word is that containers keep running: so they do where the old file lacks live-restore."""
    contain(host, "a")
    (host / "breaks").touch()
    assert sh(host, "activate.sh") == 1
    assert said(host)[-1] == "systemctl stop docker.socket docker.service", "or systemd starts it, with the wrong file"
    assert (host / "c.a").read_text() == "true 0\n"
    (host / "breaks").unlink()
    (host / "daemon.json").write_text(LACKS)
    assert sh(host, "activate.sh", undo=1) == 0
    assert (host / "c.a").read_text() == "true 0\n"
    assert (host / "daemon.json").read_text() == LACKS
    assert (host / "live").read_text() == "false\n"


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
    assert sh(host, "activate.sh", stop=1, undo=1) == 0
    assert said(host)[-1] == "start a"


def test_a_crashed_container_is_not_well(host: Path) -> None:
    (host / "hullproof-docker-ran").write_text("a\n")
    (host / "c.a").write_text("false 1\n")
    assert sh(host, "healthy.sh") == 1
    assert (host / "hullproof-docker-ran").exists()


def test_a_docker_that_does_not_answer_is_not_restarted(host: Path) -> None:
    contain(host, "a")
    (host / "hangs").touch()
    assert sh(host, "activate.sh") == 3
    assert said(host) == []
    (host / "hullproof-docker-ran").write_text("a\n")
    (host / "active").write_text("failed\n")
    sh(host, "activate.sh", undo=1)
    assert "systemctl restart docker.service" in said(host), "a second attempt has to"


def test_a_docker_that_nobody_started_stays_so(host: Path) -> None:
    (host / "active").write_text("inactive\n")
    assert sh(host, "activate.sh") == 0
    assert said(host) == []
    assert sh(host, "healthy.sh") == 0


def test_docker_that_was_started_is_stopped_again(host: Path) -> None:
    assert run(host, "stop.sh")[0] == 0
    assert said(host) == ["systemctl stop docker.service"]


def test_docker_is_not_stopped_under_containers_unasked(host: Path) -> None:
    contain(host, "a")
    status, words = run(host, "stop.sh")
    assert (status, said(host)) == (1, [])
    assert "accept=container-restart" in words
    (host / "rm.a").touch()
    assert run(host, "stop.sh", accept="container-restart")[0] == 1
    (host / "rm.a").unlink()
    assert run(host, "stop.sh", accept="container-restart")[0] == 0
    assert said(host) == ["stop a", "systemctl stop docker.service"]


@pytest.mark.parametrize(
    "held",
    ["volumes/data", "containers/abc", "image/overlay2/imagedb/content/sha256/abc", "100000.100000/volumes/data"],
)
def test_an_engine_that_holds_anything_stays_unless_that_was_accepted(host: Path, held: str) -> None:
    (host / "root" / held).mkdir(parents=True)
    engine = templates.text("engines/docker/stop.sh")
    (host / "engine.sh").write_text(f"ENGINE=1\n{engine}")
    status, words = run(host, str(host / "engine.sh"))
    assert (status, said(host)) == (1, [])
    assert "accept=remove-engine" in words
    assert run(host, str(host / "engine.sh"), accept="remove-engine")[0] == 0
    assert said(host) == ["systemctl disable --now docker.socket docker.service"]
    assert (host / "root" / held).exists()


def test_an_engine_that_holds_nothing_goes(host: Path) -> None:
    for folder in ("volumes", "containers", "image/overlay2/imagedb/content/sha256", "network/files"):
        (host / "root" / folder).mkdir(parents=True)
    (host / "root" / "volumes" / "metadata.db").touch()
    (host / "engine.sh").write_text(f"ENGINE=1\n{templates.text('engines/docker/stop.sh')}")
    assert run(host, str(host / "engine.sh"))[0] == 0


@pytest.mark.parametrize("engine", [0, 1])
def test_a_docker_that_does_not_answer_is_not_stopped_unasked(host: Path, engine: int) -> None:
    contain(host, "a")
    (host / "hangs").touch()
    (host / "stops.sh").write_text(f"ENGINE={engine}\n{templates.text('engines/docker/stop.sh')}")
    status, words = run(host, str(host / "stops.sh"))
    assert (status, said(host)) == (1, [])
    name = "remove-engine" if engine else "container-restart"
    assert "does not answer" in words
    assert f"accept={name}" in words
    assert run(host, str(host / "stops.sh"), accept=name)[0] == 0
    assert len(said(host)) == 1
    (host / "active").write_text("inactive\n")
    assert run(host, str(host / "stops.sh"))[0] == 0, "a Docker that does not run has no containers to answer for"


def test_what_an_engine_holds_is_looked_for_where_its_file_has_it(host: Path) -> None:
    """It does not answer, so that it cannot say where that is."""
    (host / "srv" / "volumes" / "data").mkdir(parents=True)
    (host / "hangs").touch()
    (host / "active").write_text("inactive\n")
    (host / "daemon.json").write_text(f'{{\n  "data-root":\n  "{host}/srv",\n  "icc": false\n}}\n')
    (host / "engine.sh").write_text(f"ENGINE=1\n{templates.text('engines/docker/stop.sh')}")
    status, words = run(host, str(host / "engine.sh"), root="")
    assert (status, said(host)) == (1, [])
    assert f"{host}/srv/volumes/data" in words


def test_an_engine_whose_unit_was_never_unpacked_is_not_stopped(host: Path) -> None:
    """Its installation was cut off."""
    (host / "unitless").touch()
    (host / "active").write_text("inactive\n")
    (host / "engine.sh").write_text(f"ENGINE=1\n{templates.text('engines/docker/stop.sh')}")
    assert run(host, str(host / "engine.sh"))[0] == 0
    assert said(host) == []
