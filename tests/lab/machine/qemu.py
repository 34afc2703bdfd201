"""The QEMU process of one host: its command line, its monitor, and whether it is alive."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.lab.machine.emulator import firmware, program
from tests.lab.machine.image import LabError, digest, run

MEMORY = "2048"
PROCESSORS = "1"  # emulated ones wait for each other: with two, a fork takes three times as long


def accelerator() -> list[str]:
    """Software emulation unless told otherwise: a /dev/kvm that is there need not be able to run a kernel."""
    if os.environ.get("HULLPROOF_LAB_ACCEL") == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    # la57: five-level page tables only make emulated page walks longer. svm: no host in a host here, and loading KVM
    # costs seconds. erms: the kernel would clear pages byte by byte, each an emulated instruction.
    # The others: no proof stands on them, and without them everything is a fifth quicker.
    off = ("la57", "svm", "erms", "fsrm", "avx", "avx2", "f16c", "fma", "xsave", "pku", "smap", "smep")
    return ["-accel", "tcg,tb-size=512", "-cpu", ",".join(["max", *(f"{feature}=off" for feature in off)])]


def hardware() -> list[str]:
    """What a snapshot depends on: it loads only into the same machine."""
    return [
        *("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-machine", "pc"),
        *accelerator(),
        *("-m", MEMORY, "-smp", PROCESSORS, "-rtc", "base=utc"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
    ]


def hardware_key() -> str:
    """The machine's part in a snapshot's name."""
    version = run([*program("qemu-system-x86_64"), "--version"]).splitlines()[0]
    return digest(version, *hardware())


def argv(name: str, folder: Path, port: int, snapshot: str | None) -> list[str]:
    """The whole command line. `restrict=on`: nothing that a test sends may leave this machine. `cache=unsafe`: what the
    guest flushes is with the kernel here, which outlives a killed QEMU.
    """
    return [
        *(*program("qemu-system-x86_64"), *firmware(), "-name", name, *hardware()),
        *("-drive", f"id=disk,if=none,format=qcow2,cache=unsafe,discard=unmap,file={folder}/disk.qcow2"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        # Relative: the folder's own path may be longer than a socket's name can be.
        *("-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console"),
        *("-qmp", "unix:qmp.sock,server=on,wait=off", "-pidfile", "qemu.pid", "-daemonize"),
        *(["-loadvm", snapshot] if snapshot else []),
    ]


def start(name: str, folder: Path, port: int, snapshot: str | None) -> None:
    """Start the host; returns once its devices exist (and its snapshot is loaded)."""
    said = folder / "qemu.log"
    with said.open("w") as out:
        code = subprocess.call(
            argv(name, folder, port, snapshot), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    if code:
        raise LabError(f"{name}: QEMU did not start (exit {code}): {said.read_text().strip()}")


def live_pid(folder: Path) -> int | None:
    """The host's process, if it runs and is truly this host's: a pid alone may be somebody else's by now."""
    try:
        pid = int((folder / "qemu.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if any(str(folder / "disk.qcow2").encode() in word for word in words) else None


def kill(folder: Path, deadline: float = 20) -> None:
    """Pull the plug: SIGKILL, so that QEMU writes nothing more."""
    pid = live_pid(folder)
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + deadline
    while not ended(pid):
        if time.monotonic() > end:
            raise LabError(f"QEMU process {pid} does not end")
        time.sleep(0.02)


def ended(pid: int) -> bool:
    """Whether the last of its threads has ended: until then nobody else can lock its disk or its pid file."""
    try:
        gone = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
        return gone and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


def monitor(folder: Path, command: str, timeout: float = 120) -> str:
    """One command of QEMU's monitor, over its machine protocol, whose answers have an end."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        descriptor = os.open(folder, os.O_PATH)
        try:
            sock.connect(f"/proc/self/fd/{descriptor}/qmp.sock")
        except OSError as error:
            raise LabError(f"{folder.name}: no monitor, is it running? ({error})") from None
        finally:
            os.close(descriptor)
        with sock.makefile("rw") as stream:
            stream.readline()
            ask(stream, "qmp_capabilities")
            return str(ask(stream, "human-monitor-command", {"command-line": command}))


def ask(stream: Any, command: str, arguments: dict[str, str] | None = None) -> object:
    """Send one request and skip the events before its answer."""
    stream.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "return" in answer:
            return answer["return"]
        if "error" in answer:
            raise LabError(f"monitor: {command}: {answer['error'].get('desc')}")
    raise LabError(f"monitor: the connection ended during {command}")


def checked(folder: Path, command: str) -> None:
    """A monitor command that says nothing when it works."""
    said = monitor(folder, command).strip()
    if said:
        raise LabError(f"{folder.name}: {command}: {said}")
