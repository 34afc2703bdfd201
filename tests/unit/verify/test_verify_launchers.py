"""What launchers do on a host as root, and leave there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.verify.probe import HERE

# Stand-ins for programs, by name, which write down how they are called.
TOOLS = {
    "timeout": 'shift 3; exec /usr/bin/timeout -k 1 0.5 "$@"',
    "runuser": 'echo "runuser $*" >> "$log"; [ "$3" = -- ] || exit 1; shift 3; [ "$1" != env ] || exit 1; exec "$@"',
    "chown": 'ls -d "${2%/run}/run" > /dev/null && echo "chown $2" >> "$log"',
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
