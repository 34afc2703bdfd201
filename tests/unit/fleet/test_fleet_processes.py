"""`hullproof drift --workers` as an operator types it, and how an inventory is listed and cut down: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hullproof.fleet.part import python
from hullproof.fleet.run import FleetError, listing
from tests.support.entry_points import ROOT, report

# Nothing listens on the discard port of loopback: refused at once.
CLOSED = '{"ssh_hostname": "127.0.0.1", "ssh_port": 9, "ssh_strict_host_key_checking": "no"}'


def hullproof(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hullproof", *words], cwd=cwd, text=True, capture_output=True, stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_two_processes_make_one_report(tmp_path: Path) -> None:
    (tmp_path / "hosts.py").write_text(
        f"first = ['@local', ('x[1]', {CLOSED})]\nsecond = [('first', {CLOSED}), 'x[1]']\n"
    )
    done = hullproof("drift", "hosts.py", "--workers", "2", "--report", "out", "--exclude", "second", cwd=tmp_path)
    assert list(report(tmp_path / "out")["hosts"]) == ["@local"], done.stderr
    done = hullproof("drift", "hosts.py", "--workers", "2", "--report", "out", cwd=tmp_path)
    made = report(tmp_path / "out")
    assert {name: host["status"] for name, host in made["hosts"].items()} == {
        "@local": "ok", "x[1]": "unreachable", "first": "unreachable"
    }  # fmt: skip
    assert "refused" in made["hosts"]["first"]["error"]
    assert done.returncode == made["exit_code"] == 1
    assert done.stdout.count("Exit code") == 1, "one table"
    assert {part["id"] for part in made["run"]["parts"]} == {made["run"]["id"]}, "one run in the hosts' journals"
    assert [part["hosts"] for part in made["run"]["parts"]] in (
        [["@local"], ["x[1]", "first"]],
        [["x[1]", "first"], ["@local"]],
    )


def test_journals_are_read_on_all_hosts_and_an_earlier_report_stays(tmp_path: Path) -> None:
    (tmp_path / "hosts.py").write_text(f"canary = [('first', {CLOSED})]\nhosts = ['@local']\n")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "report.json").write_text("of a drift")
    done = hullproof("runs", "hosts.py", "--workers", "2", cwd=tmp_path)
    assert "runs: 1 ok, 1 unreachable. Exit code 1: no answer from first." in done.stdout, done.stderr
    assert "report:" not in done.stdout
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["report.json"]
    assert (tmp_path / "reports" / "report.json").read_text() == "of a drift"


@pytest.mark.parametrize(
    ("inventory", "words", "said"),
    [
        ("hosts = ['a', 'b', 'a']", [], "a is in hosts twice"),
        ("hosts = [", [], "cannot be read: SyntaxError"),
        ("import sys; sys.exit('gone')", [], "cannot be read: SystemExit: gone"),
        ("hosts = ['a']", ["--data", "polcy=x"], "--data polcy: there is no such option; did you mean policy?"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", [], "hosts.py could not be listed. Exit code 1."),
        ("hosts = ['a']", ["--json"], "--json does not go with --workers"),
        ("hosts = []", [], "no host in the inventory, or none in --limit"),
        ("hosts = ['a']", ["--limit", "nope"], "no host in the inventory, or none in --limit"),
    ],
)
def test_what_makes_no_sense_ends_with_1(tmp_path: Path, inventory: str, words: list[str], said: str) -> None:
    (tmp_path / "hosts.py").write_text(inventory)
    done = hullproof("drift", "hosts.py", "--workers", "2", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_what_changes_is_not_asked_about_by_several_processes(tmp_path: Path) -> None:
    done = hullproof("harden", "@local", "--workers", "2", cwd=tmp_path)
    assert done.returncode == 1
    assert "see the plan with --dry, then add -y" in done.stderr


def region(tmp_path: Path, inventory: str, **group_data: str) -> dict[str, str]:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "hosts.py").write_text(inventory)
    for group, value in group_data.items():
        (tmp_path / "group_data" / f"{group}.py").write_text(f"region = {value!r}\n")
    return {host.name: host.region for host in listing(str(tmp_path / "hosts.py"), [], by_region=True).hosts}


@pytest.mark.parametrize(
    ("inventory", "groups", "want"),
    [
        ("web = ['a']", {"web": "eu"}, {"a": "eu"}),
        ("web = ['a', 'b']\nalso = [('a', {'region': 'us'})]", {"web": "eu"}, {"a": "us", "b": "eu"}),
        ("web = ['a']", {"web": "eu", "all": "us"}, {"a": "eu"}),
        ("web = ['a']", {}, {"a": ""}),
    ],
)
def test_a_region_is_what_pyinfras_data_say(
    tmp_path: Path, inventory: str, groups: dict[str, str], want: dict[str, str]
) -> None:
    assert region(tmp_path, inventory, **groups) == want


@pytest.mark.parametrize(
    ("inventory", "groups", "said"),
    [
        (
            "web = ['a']\nalso = ['a']",
            {"web": "eu", "also": "us"},
            r"a is in two regions: eu \(by web\) and us \(by also\)",
        ),
        ("web = [('a', {'region': 'x'})]\nalso = [('a', {'region': 'y'})]", {}, r"x \(by web\) and y \(by also\)"),
        ("web = [('a', {'region': 'x y'})]", {}, "a: region is 'x y': want letters"),
        ("web = [('a', {'region': 3})]", {}, "a: region is 3: want letters"),
    ],
)
def test_a_host_is_in_one_region(tmp_path: Path, inventory: str, groups: dict[str, str], said: str) -> None:
    with pytest.raises(FleetError, match=said):
        region(tmp_path, inventory, **groups)


def test_group_data_see_the_whole_inventory_and_the_run_its_part_alone(tmp_path: Path) -> None:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "hosts.py").write_text("web = ['a', '@local']\ndns = ['b', 'a']\n")
    (tmp_path / "group_data" / "all.py").write_text(
        "from pyinfra import inventory\nservers = sorted(host.name for host in inventory.get_group('dns'))\n"
    )
    code = textwrap.dedent(f"""
        import pyinfra_cli, json
        from pyinfra.api.state import State
        from pyinfra.context import ctx_state
        from pyinfra_cli.inventory import make_inventory
        from hullproof.fleet.inventory import cut_down
        state = State(); state.cwd = {str(tmp_path)!r}; ctx_state.set(state)
        cut_down(frozenset(["a", "@local"]))
        made = make_inventory({str(tmp_path / "hosts.py")!r}, {{}}, {str(tmp_path)!r})
        groups = {{name: [host.name for host in group] for name, group in made.groups.items()}}
        print(json.dumps([[host.name for host in made], groups, made.get_host("a").data.servers]))
    """)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    hosts, groups, servers = json.loads(done.stdout)
    assert hosts == ["a", "@local"]
    assert groups | {"web": hosts, "dns": ["a"], "hosts": hosts} == groups
    assert servers == ["a", "b"]


WAITS = """
import json, os, signal, sys
def end(number, frame):
    open(os.environ["HULLPROOF_RECEIPT"], "w").write(json.dumps({"run": "r1", "exit_code": 1, "report": None}))
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
os.write(1, b"waits\\n")  # as a whole: two of these write at once
while True: signal.pause()
"""
THREE_PARTS_BY_TWO = f"""
import sys
from hullproof.fleet import __main__, part, parts, run
run.split = lambda hosts, slots, stopped: parts.split(hosts, {{"": 3}}, stopped)
part.LAUNCH = [sys.executable, "-c", {WAITS!r}]
sys.exit(__main__.main("drift", "a,b,c", ["--data", "report=" + sys.argv[1]], workers=2))
"""


def test_a_signal_ends_the_parts_that_run_and_keeps_others_from_beginning(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", THREE_PARTS_BY_TWO, str(tmp_path)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    assert [process.stdout.readline() for _ in range(2)] == ["waits\n"] * 2
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    assert process.returncode == 1
    assert "waits" not in out
    errors = [host["error"] for host in report(tmp_path)["hosts"].values()]
    assert sum("the run was ended (SIGTERM) before it came to this host" in error for error in errors) == 1


CHILD = """
import signal, sys
sys.argv = [""]
from hullproof.fleet import launch
launch.pyinfra = lambda: (print("on", flush=True), signal.pause())
launch.main()
"""
PARENT = f"""
import json, os, subprocess, sys
open(sys.argv[1], "w").write(json.dumps({{"hosts": [], "parent": os.getpid()}}))
subprocess.Popen([sys.executable, "-c", {CHILD!r}], env=os.environ | {{"HULLPROOF_PART": sys.argv[1]}})
sys.stdin.read()
"""


def test_a_part_ends_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "part.json")], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "on\n"
    process.kill()
    assert process.stdout.read() == "", "the part holds this pipe until it has ended"


def test_the_process_of_a_fleet_has_pythons_own_threads() -> None:
    """Dask and what starts processes at once need them; pyinfra's command line has gevent replace them."""
    code = "import hullproof.fleet.__main__, gevent.monkey as m; print(m.is_anything_patched())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout == "False\n"


def test_a_module_of_ours_runs_whatever_the_folder_at_hand_holds(tmp_path: Path) -> None:
    (tmp_path / "hullproof").mkdir()
    (tmp_path / "hullproof" / "__init__.py").write_text("raise ImportError('the wrong package')")
    done = subprocess.run(
        [*python("hullproof.fleet.listing"), "out", "x,y"], cwd=tmp_path, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert [name for name, *_ in json.loads((tmp_path / "out").read_text())["hosts"]] == ["x", "y"]
