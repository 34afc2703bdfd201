"""What the scripts give that list the containers and guests of engines without a list: against real processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from facts import monitors, processes
from facts.containers import Containers
from facts.core.frame import PRELUDE, read_frame
from facts.core.reading import Block, Section, Unknown
from facts.emulated import UNREAD
from facts.guests import Guest
from facts.monitors import Monitor

FACTS = Path(processes.__file__).parent


@contextmanager
def started(title: str) -> Iterator[tuple[int, int]]:
    """A process that calls itself so, and its child: their pids."""
    child = "sleep 60 & echo $! >&2; read x; kill $!"
    argv = ["bash", "-c", 'exec -a "$0" bash -c "$1"', title, child]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            yield process.pid, int(process.stderr.readline())
        finally:
            process.communicate("\n")


def found_by_script(child: int, ours: str = "") -> dict[int, Monitor]:
    script = f"N=n\n{PRELUDE}\nfirsts=' {child}' ours='{ours}'\n{monitors.SCRIPT}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    text = f"@hullproof n\n@n section x\n{done.stdout.decode(errors='replace')}\n@n end x 0\n@n done"
    [section] = read_frame(text.split("\n")).values()
    assert isinstance(section, Section)
    return monitors.read_monitors(section)


def test_the_script_reads_what_has_started_a_container() -> None:
    with started("[lxc monitor] /var/lib/lxc a\n/proc/1/cmdline:[lxc monitor] /x b") as (pid, child):
        assert found_by_script(child) == {pid: Monitor("lxc", os.getuid(), "a\n/proc/1/cmdline:[lxc monitor] /x b")}
        assert found_by_script(child, ours=f" {child}") == {}, "a file of root's names it"


OTHER_ROOT = """\
mount -t tmpfs none AT && cd AT && for each in bin lib lib64 usr; do
  [ ! -d /$each ] || { mkdir $each && mount --rbind /$each $each; }
done
exec chroot AT """


@pytest.mark.parametrize("options", [["--mount", "--pid", "--fork"], ["--mount"]], ids=["process namespace", "root"])
def test_the_script_believes_no_process_in_a_container(options: list[str], tmp_path: Path) -> None:
    enter = "" if "--pid" in options else OTHER_ROOT.replace("AT", str(tmp_path))
    named = """/bin/bash -c 'exec -a "[lxc monitor] /var/lib/lxc web" /bin/bash -c "sleep 60 & read x; kill \\$!"'"""
    argv = ["unshare", "--map-root-user", *options, "bash", "-c", enter + named]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, child = _below(process.pid)
            if not child:
                pytest.skip("a test may make no namespaces here")
            assert found_by_script(child) == {}
        finally:
            process.communicate("\n")


def _below(pid: int) -> tuple[int, int]:
    """The process that was given the name, and its child; 0 for what does not come."""
    for _ in range(100):
        here, chain = pid, [pid]
        while children := _children(here):
            here = int(children[0])
            chain.append(here)
        if len(chain) > 1 and Path(f"/proc/{chain[-2]}/cmdline").read_bytes().startswith(b"[lxc monitor]"):
            return chain[-2], chain[-1]
        subprocess.run(["sleep", "0.05"])
    return 0, 0


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def guests(at: Path, machines: str = "", before: str = ":", emulators: str = "") -> dict[str, Block]:
    """The blocks of guests where libvirt's files lie at `at`."""
    script = (FACTS / "engines/libvirt/list.sh").read_text().replace("/run/libvirt/qemu", str(at))
    script += f"emulators='{emulators}'\n{(FACTS / 'guests.sh').read_text()}"
    script = f"N=n\n{PRELUDE}\nengine() {{ :; }}\n{before}\nmachines='{machines}'\n{script}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    text = f"@hullproof n\n@n section x\n{done.stdout.replace(str(at), '/run/libvirt/qemu')}\n@n end x 0\n@n done"
    [section] = read_frame(text.split("\n")).values()
    assert isinstance(section, Section)
    return section.blocks


def found_guests(blocks: dict[str, Block]) -> Any:
    return Containers.parse(Section({"uid": Block(0, "0"), "engines": Block(0, ""), **blocks})).guests


def test_guests_are_found_whatever_they_are_called_and_what_hides_from_the_files_too(tmp_path: Path) -> None:
    for name, pid in (("a guest", "1"), ("*", "x"), ("driver", "1"), ("gone", "4194304")):
        (tmp_path / f"{name}.pid").write_text(pid)
        if name != "driver":
            (tmp_path / f"{name}.xml").touch()
    machines = ("/run/systemd/machines/unit:x:SERVICE=libvirt-qemu\n/run/systemd/machines/web:SERVICE=systemd-nspawn\n"
                "/run/systemd/machines/web:LEADER=5\n/run/systemd/machines/q:SERVICE=libvirt-qemu\n"
                f"/run/systemd/machines/q:LEADER={os.getpid()}")  # fmt: skip
    blocks = guests(tmp_path, machines)
    found = found_guests(blocks)
    assert {guest.shown for guest in found} == {"a guest", "gone", f"process {os.getpid()}"}
    assert all(isinstance(guest.label, Unknown) for guest in found), "none of these is an emulator"
    assert guests(tmp_path / "none") == {}, "and without guests nothing is read"


def test_an_emulator_that_has_its_readers_wait_costs_the_guests_alone(tmp_path: Path) -> None:
    """The folder is not root's: between two looks at it a file may have become a pipe without an end."""
    (tmp_path / "a.pid").write_text("1")
    (tmp_path / "a.xml").touch()
    late = guests(tmp_path, before="timeout() { return 124; }")
    assert isinstance(found_guests(late), Unknown)


def test_a_guests_emulator_says_its_label_its_user_and_its_filter() -> None:
    held = "/proc/7/status:Name:\tqemu-kvm\n/proc/7/status:Uid:\t107\t107\t107\t107\n/proc/7/status:Seccomp:\t2\n"
    blocks = {"guests": Block(0, "/run/libvirt/qemu/a b.pid:7\n"), "guests.status": Block(0, held),
              "guests.label": Block(0, "/proc/7/attr/current:system_u:system_r:svirt_t:s0:c1,c2\0\n")}  # fmt: skip
    assert found_guests(blocks) == (Guest("a b", 7, "system_u:system_r:svirt_t:s0:c1,c2", 107, 2, UNREAD),)


def emulators(said: str) -> str:
    """What unlisted.sh makes of what find(1) says."""
    script = (FACTS / "unlisted.sh").read_text().replace("2>/dev/null", "")
    script = f"find() {{ case $2 in -maxdepth) printf x ;; *) {said} ;; esac; }}\nrow() {{ :; }}\n{script}"
    script = f'N=n\n{PRELUDE}\nfirsts=\n{script}\nprintf %s "$emulators"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("qemu-system-x86_64", True), ("qemu-kvm", True), ("kvm", True), ("qemu-ga", False), ("qemu-img", False),
     ("qemu-system-a\n1", True)],
)  # fmt: skip
def test_an_emulator_is_known_by_its_program_whatever_it_calls_itself(name: str, is_one: bool, tmp_path: Path) -> None:
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen(["web", "60"], executable=program) as process:
        try:
            found = emulators('command find "$@"').split("\n")
            assert (str(process.pid) in found) is is_one
            assert all(re.fullmatch("[0-9]*", pid) for pid in found), "a name gives no line of its own"
            program.unlink()
            assert (str(process.pid) in emulators('command find "$@"').split("\n")) is is_one
        finally:
            process.kill()


def test_more_processes_than_one_command_names_are_not_taken_for_none() -> None:
    assert "unlisted.unable" in emulators("return 126")
    assert "unlisted.unable" not in emulators("return 1")


def test_an_emulator_without_libvirt_is_a_guest_unless_a_container_has_it(tmp_path: Path) -> None:
    blocks = guests(tmp_path / "none", emulators=f"{os.getpid()}\n4194304")
    (guest,) = found_guests(blocks)
    assert (guest.shown, guest.uid) == (f"process {os.getpid()} (user {os.getuid()})", os.getuid())
    assert guest.seccomp in (0, 2), "and what has ended is none"
    within = Block(0, blocks["guests.status"].text.replace("NSpid:", "NSpid:\t7"))
    assert found_guests(blocks | {"guests.status": within}) == ()
    assert isinstance(found_guests(blocks | {"unlisted.unable": Block(1, "")}), Unknown)


def test_what_is_not_there_is_not_asked_for(tmp_path: Path) -> None:
    """On a host without these engines their lists start no process."""
    for name in ("lxc", "nspawn", "libvirt", "containerd", "rkt"):
        script = (FACTS / "engines" / name / "list.sh").read_text()
        for path in ("/run", "/usr", "/var", "/etc", "/opt", "/snap"):
            script = script.replace(f" {path}/", f" {tmp_path}{path}/")
        if name == "libvirt":
            script += f"emulators=\n{(FACTS / 'guests.sh').read_text()}"
        alone = f"have() {{ false; }}\nengine() {{ :; }}\nPATH=/none\nmachines=\n{script}"
        done = subprocess.run(["/bin/sh", "-c", alone], capture_output=True, text=True)
        assert done.stdout + done.stderr == "", name
