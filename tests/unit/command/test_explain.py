"""`hullproof explain`: all that is known of a control, within 80 columns, for a person or a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploys.core.control import State
from deploys.report.report import HostReport, build
from deploys.subjects import SUBJECTS
from hullproof.command import main
from tests.support.entry_points import ROOT
from tests.support.report import a_run, finding

CONTROLS = [control for subject in SUBJECTS for control in subject.controls]


def explain(*words: str | Path, columns: int = 80, **env: str) -> Result:
    return CliRunner(env={"COLUMNS": str(columns), **env}).invoke(main, ["explain", *map(str, words)])


def flat(result: Result) -> str:
    return " ".join(result.output.split())


def test_a_control_whole() -> None:
    told = explain("userns.docker-remap")
    assert told.exit_code == 0
    assert told.output.startswith("""\
userns.docker-remap (high)

Demands       Root in a Docker container has no rights on the host
                (userns-remap).
Why           Without userns-remap,""")
    said = flat(told)
    assert "Wanted by userns.docker_remap baseline: true strict: true" in said
    assert "Attacked by root in a container is root on the host root in a container reads" in said
    assert "May wait for userns-remap, where images" in said
    assert "By hand set userns-remap in /etc/docker/daemon.json" in said
    assert "State" not in said


def test_every_control_is_told_within_the_width_and_without_colour() -> None:
    for control in CONTROLS:
        told = explain(control.id)
        assert told.exit_code == 0, control.id
        assert [line for line in told.output.splitlines() if len(line) > 80] == [], control.id
        assert "\x1b" not in told.output
        assert control.references == () or control.references[0] in told.output
        assert "\nAttacked by   " in told.output, control.id


def test_what_has_no_proof_says_why() -> None:
    assert "Attacked by no proof: the daemon itself reports the setting" in flat(explain("docker.live-restore"))


def test_an_entry_of_many_is_named_with_its_own_value() -> None:
    said = flat(explain("kernel.sysctl.kernel.sysrq", "--policy", "strict"))
    assert "Wanted by kernel.sysctls: kernel.sysrq strict: 0" in said
    assert "baseline" not in said
    assert "Wanted by no key: it is judged whatever" in flat(explain("docker.daemon-json"))


def test_a_subject_lists_its_controls() -> None:
    told = explain("files")
    assert [line.split()[:2] for line in told.output.splitlines()] == [["files.own", "high"], ["files.engines", "high"]]
    assert explain("rkt").output.startswith("rkt.ended  high  Nothing of rkt is left")
    assert all(len(line) <= 80 for line in explain("kernel").output.splitlines())


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "docker.live-restor",
            'no control or subject is called "docker.live-restor"; near that are docker.live-restore',
        ),
        ("live-restore", "near that are docker.live-restore"),
        ("dcker", "near that are docker"),
        ("\x1b[31mzzz", 'called "zzz"'),
        ("", 'called ""'),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(word: str, said: str) -> None:
    told = explain(word)
    assert (told.exit_code, told.output.count("\n")) == (1, 1)
    assert said in told.output


def test_an_old_name_says_the_new_one() -> None:
    told = explain("apparmor.containers-confined")
    assert told.exit_code == 0
    assert told.stderr == "apparmor.containers-confined is called containers.confined now.\n"
    assert told.stdout.startswith("containers.confined (high)\n")
    assert "Earlier it was called" in flat(told)
    assert explain("Docker.Live-Restore").stdout.startswith("docker.live-restore (")


def test_hosts_of_an_inventory_are_told_by_their_policies(tmp_path: Path) -> None:
    (tmp_path / "own.yml").write_text(
        "extends: strict\nuserns: {docker_remap: null}\nwaivers:\n"
        "  - {control: userns.docker-remap, reason: old, owner: ops, until: 2020-01-01}\n"
    )
    inventory = tmp_path / "inventory.py"
    inventory.write_text(
        f"hosts = [('a', {{'policy': {str(tmp_path / 'own.yml')!r}, 'accept': 'userns-remap'}}), 'b', 'c']\n"
    )
    told = explain("userns.docker-remap", "--inventory", inventory, columns=200)
    own = str(tmp_path / "own.yml")
    said = flat(told)
    assert told.exit_code == 0
    assert f"userns.docker_remap {own}, on a: not demanded baseline, on b, c: true" in said
    assert f"{own}, on a: waived by ops until 2020-01-01, which is past: old" in said
    assert f"Accepted: {own}, on a" in said
    assert "strict, on a: true strict, on b, c: true" in flat(
        explain("userns.docker-remap", "--inventory", inventory, "--policy", "strict", columns=200)
    )


def test_an_inventory_with_a_policy_that_is_refused_ends_with_1_and_tells_the_rest(tmp_path: Path) -> None:
    (tmp_path / "inventory.py").write_text("hosts = [('a', {'policy': 'strcit'}), 'b']\n")
    told = explain("files.own", "--inventory", tmp_path / "inventory.py")
    assert told.exit_code == 1
    assert 'strcit, on a: the policy was refused: no policy "strcit"; did you mean "strict"?' in flat(told)
    assert "baseline, on b: true" in flat(told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--inventory", "/nosuch/inventory.py"], "/nosuch/inventory.py: no such file"),
        (["--policy", "nosuch"], 'no policy "nosuch"'),
        (["--report", "/nosuch"], "/nosuch: no such file"),
    ],
)
def test_bad_input_is_refused(words: list[str], said: str) -> None:
    told = explain("files.own", *words)
    assert (told.exit_code, told.output.count("\n")) == (1, 1)
    assert said in told.output


def test_the_state_on_hosts_of_a_report(tmp_path: Path) -> None:
    report: dict[str, Any] = build(
        a_run(),
        [
            HostReport("a", "ok", findings=[finding(State.FAIL, "containers.confined", "web is unconfined")]),
            HostReport("b", "ok", findings=[finding(State.FAIL, "apparmor.containers-confined", "web is unconfined")]),
            HostReport("c", "ok", findings=[finding(State.PASS, "files.own")]),
        ],
    )
    (tmp_path / "report.json").write_text(json.dumps(report))
    said = flat(explain("containers.confined", "--report", tmp_path))
    assert "State in drift of 2026-01-02T03:04:09+00:00, policy baseline:" in said
    assert "fail on a, b: web is unconfined" in said
    assert "not judged on c" in said


def terminal(*words: str, **env: str) -> str:
    """What the command prints on a terminal."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "hullproof", "explain", *words]
    subprocess.run(command, stdout=slave, stderr=slave, env=os.environ | {"COLUMNS": "80"} | env, cwd=ROOT)
    os.close(slave)
    said = os.read(master, 65536)  # the terminal has room for all of it
    os.close(master)
    return said.decode()


def test_colours_are_for_terminals_without_no_color() -> None:
    assert "\x1b[1mfiles.own\x1b[0m (high)" in terminal("files.own", NO_COLOR="")
    assert "\x1b" not in terminal("files.own", NO_COLOR="1")


def test_a_reader_that_stops_reading_gets_no_traceback() -> None:
    command = f"{sys.executable} -m hullproof explain kernel | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout.startswith("kernel.sysctl.")
