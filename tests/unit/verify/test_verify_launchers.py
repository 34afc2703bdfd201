"""What launchers do on a host as root, and leave there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.verify.probe import HERE

# Stand-ins for programs, by name, which write down how they are called.
TOOLS = {
    "timeout": 'shift 3; exec /usr/bin/timeout -k 1 0.5 "$@"',
    "runuser": 'echo "runuser $*" >> "$log"; [ "$3" = -- ] || exit 1; shift 3; [ "$1" != env ] || exit 1; exec "$@"',
    "chown": 'ls -d "${2%/run}/run" > /dev/null && echo "chown $2" >> "$log"',
    "systemctl": '[ "$1 $2" != "-q is-active" ] || exec "$networkd"',
    "networkctl": 'echo "networkctl $*" >> "$log"',
    "ps": 'echo "  $age"',
    "umount": ":",
}


def launcher(there: Path, name: str, run: str, **given: str) -> subprocess.CompletedProcess[str]:
    """What is below /run, /proc and /var/lib is below `there`."""
    tools = there / "tools"
    tools.mkdir(exist_ok=True)
    for tool, text in TOOLS.items():
        (tools / tool).write_text(f"#!/bin/sh\n{text}\n")
        (tools / tool).chmod(0o755)
    text = (HERE / "engines" / f"{name}.sh").read_text()
    for folder in ("/run/systemd", "/proc/sys", "/var/lib/machines"):
        text = text.replace(folder, f"{there}{folder}")
    values = {"PATH": f"{tools}:/usr/bin:/bin", "log": str(there / "log"), "store": str(there), "probe": "probe"}
    return subprocess.run(["sh", "-c", f"set -u\n{text}\n{run}"], env={**values, **given}, capture_output=True,
                          text=True, timeout=20)  # fmt: skip


def log(there: Path) -> list[str]:
    return (there / "log").read_text().splitlines()


def test_root_makes_nothing_in_a_folder_that_is_the_users(tmp_path: Path) -> None:
    launcher(tmp_path, "podman-user", "tree=/nowhere; alone", user="root")
    assert [line for line in log(tmp_path) if "chown" in line] == [
        f"chown {tmp_path}/user/run",
        f"chown {tmp_path}/user",
    ]


def pause(there: Path) -> Path:
    folder = there / "user/run/libpod/tmp"
    folder.mkdir(parents=True)
    return folder / "pause.pid"


def test_what_holds_a_users_namespaces_open_is_killed_as_the_user(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as held:
        pause(tmp_path).write_text(str(held.pid))
        launcher(tmp_path, "podman-user", "leave", user="root")
        assert held.wait(5) == -9
    assert log(tmp_path)[-1].startswith("runuser -u root -- sh -c")
    assert str(held.pid) not in "".join(log(tmp_path))


def test_a_fifo_of_the_users_does_not_keep_the_scenario_from_its_end(tmp_path: Path) -> None:
    path = pause(tmp_path)
    subprocess.run(["mkfifo", str(path)], check=True)
    done = launcher(tmp_path, "podman-user", "leave; echo left", user="root")
    assert done.stdout == "left\n"


def nspawn(there: Path, *machines: str, networkd: bool = True, forwarding: str = "0", age: int = 60) -> str:
    """A host whose systemd-networkd has a file that was written just now, and runs for `age` seconds."""
    for folder in ("machines", "nspawn/locks", "network"):
        (there / "run/systemd" / folder).mkdir(parents=True)
    for folder in ("proc/sys/net/ipv4", "var/lib/machines", "tree"):
        (there / folder).mkdir(parents=True)
    for name in machines:
        (there / "run/systemd/machines" / name).write_text("")
    (there / "run/systemd/network/20-lan.network").write_text("")
    (there / "proc/sys/net/ipv4/ip_forward").write_text(f"{forwarding}\n")
    run = f"first() {{ :; }}; told() {{ echo said; }}; tree={there}/tree kept=/kept; alone"
    return launcher(there, "nspawn", run, networkd=f"/bin/{str(networkd).lower()}", age=str(age)).stdout


def below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_machine_is_given_its_file_where_no_other_runs(tmp_path: Path) -> None:
    assert nspawn(tmp_path, networkd=False) == "said\n"
    text = (tmp_path / "run/systemd/nspawn/probe.nspawn").read_text()
    assert text == "[Files]\nBindReadOnly=/kept:/kept\n"


def test_beside_others_nothing_is_written_where_their_filters_are_known_by(tmp_path: Path) -> None:
    assert nspawn(tmp_path, "db", networkd=False) == "said\n"
    assert below(tmp_path / "run/systemd/nspawn") == ["locks"]


def test_a_link_of_the_proofs_is_none_of_networkds(tmp_path: Path) -> None:
    assert nspawn(tmp_path, age=-60) == "said\n"
    path = tmp_path / "run/systemd/network/10-hullproof-probe.network"
    assert path.read_text() == "[Match]\nName=ve-hullpr*\n[Link]\nUnmanaged=yes\n"
    assert path.stat().st_mode & 0o777 == 0o644
    launcher(tmp_path, "nspawn", "leave", networkd="/bin/true")
    assert below(tmp_path / "run/systemd/network") == ["20-lan.network"]
    assert log(tmp_path) == ["networkctl reload"] * 2


@pytest.mark.parametrize(
    ("networkd", "forwarding", "said"),
    [(False, "0", "said\n"), (True, "1", "said\n"), (True, "0", "forwarding\t-1\t1\tnone\n")],
)
def test_networkd_reads_no_change_that_others_have_made(
    tmp_path: Path, networkd: bool, forwarding: str, said: str
) -> None:
    assert nspawn(tmp_path, networkd=networkd, forwarding=forwarding) == said
    assert below(tmp_path / "run/systemd/network") == ["20-lan.network"]
    assert not (tmp_path / "log").exists()
    assert (tmp_path / "var/lib/machines/probe").exists() == (said == "said\n")


def test_of_a_machine_no_lock_is_left(tmp_path: Path) -> None:
    machine, locks = tmp_path / "var/lib/machines/probe", tmp_path / "run/systemd/nspawn/locks"
    machine.mkdir(parents=True)
    locks.mkdir(parents=True)
    found = machine.stat()
    for name in (f"inode-{found.st_dev}:{found.st_ino}", "inode-1:2"):
        (locks / name).write_text("")
    launcher(tmp_path, "nspawn", "leave", networkd="/bin/false")
    assert below(locks) == ["inode-1:2"]
    assert not machine.exists()
