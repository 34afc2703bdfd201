"""One running lab host and what a test does to it."""

import json
import random
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.lab.machine import qemu
from tests.lab.machine.image import LabError, cache_dir, key_path, lock, log

READY = "ready"
# Hosts belong to the checkout that started them: the cache is shared, `--all` must not mean other people's.
CHECKOUT = str(Path(__file__).resolve().parents[3])
# Below the range from which the kernel picks the ports of outgoing connections.
PORTS = range(20000, 30000)


def run_dir() -> Path:
    """The folder with one folder per host."""
    path = cache_dir() / "run"
    path.mkdir(exist_ok=True)
    return path


def names() -> list[str]:
    """Every host that was brought up and not taken down, running or not, whoever's it is."""
    return sorted(path.parent.name for path in run_dir().glob("*/vm.json"))


class Vm:
    """A host of the lab. Its state is in its folder, so another process can attach to it by name."""

    def __init__(self, name: str, distribution: str, variant: str, port: int) -> None:
        self.name = name
        self.distribution = distribution
        self.variant = variant
        self.port = port
        self.folder = run_dir() / name
        self.key = key_path()
        self.checkout = CHECKOUT
        self.one_connection = False  # for all commands, where the host goes down by our hand alone: a login is dear

    @classmethod
    def create(cls, distribution: str, variant: str, name: str | None) -> "Vm":
        """Reserve a name and a port; the host does not run yet."""
        with lock("run"):
            if name is not None and (run_dir() / name).exists():
                raise LabError(f"there is a host {name!r} already: `down {name}` first, or choose another name")
            vm = cls(name or free_name(f"{distribution}-{variant}"), distribution, variant, free_port())
            vm.folder.mkdir()
            vm.remember()
        return vm

    @classmethod
    def attach(cls, name: str) -> "Vm":
        """Find a host that another process brought up."""
        try:
            known = json.loads((run_dir() / name / "vm.json").read_text())
        except OSError:
            raise LabError(f"no host {name!r}; there are: {', '.join(names()) or 'none'}") from None
        vm = cls(known["name"], known["distribution"], known["variant"], known["port"])
        vm.checkout = known.get("checkout", "")
        return vm

    def remember(self) -> None:
        """Write down what `attach` needs."""
        known = {
            "name": self.name,
            "distribution": self.distribution,
            "variant": self.variant,
            "port": self.port,
            "checkout": CHECKOUT,
        }
        (self.folder / "vm.json").write_text(json.dumps(known) + "\n")

    def __enter__(self) -> "Vm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def __repr__(self) -> str:
        return f"Vm({self.name!r}, {self.distribution}-{self.variant}, port {self.port})"

    # Reaching it

    def ssh_argv(self, user: str) -> list[str]:
        """The ssh command for this host, deaf to the settings of whoever runs it."""
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "ConnectTimeout": "30",
            "ServerAliveInterval": "15",
            # The newest default costs an emulated processor most of a second.
            "KexAlgorithms": "curve25519-sha256",
        }
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "none", *flags, "-i", str(self.key), "-p", str(self.port), f"{user}@127.0.0.1"]

    def ssh(
        self,
        cmd: str,
        *,
        user: str = "root",
        check: bool = True,
        timeout: float = 120,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the host; what fails shows both streams."""
        shared = ("-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-o", f"ControlPath={user}.ssh")
        program, *words = self.ssh_argv(user)
        done = subprocess.run(
            [program, *(shared if self.one_connection else ()), *words, cmd],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            cwd=self.folder,  # a socket's name has to be short
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        if check and done.returncode:
            raise LabError(f"{self.name}: {cmd!r} exited {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        return done

    def hang_up(self) -> None:
        """End the connections that are kept: the host that they lead to is about to be gone."""
        for socket_ in self.folder.glob("*.ssh"):
            argv = ["ssh", "-F", "none", "-O", "exit", "-o", f"ControlPath={socket_.name}", "any"]
            subprocess.run(argv, cwd=self.folder, capture_output=True)

    def put(self, local: Path | str, remote: str) -> None:
        """Copy one file into the host, with its executable bits."""
        mode = f"{Path(local).stat().st_mode & 0o777:o}"
        where = shlex.quote(remote)
        with Path(local).open("rb") as source:
            argv = [*self.ssh_argv("root"), f"cat > {where} && chmod {mode} {where}"]
            done = subprocess.run(argv, stdin=source, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise LabError(f"{self.name}: cannot write {remote}: {done.stderr.strip()}")

    def inventory(self, user: str = "root") -> Path:
        """A pyinfra inventory of this one host."""
        data: dict[str, object] = {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": self.port,
            "ssh_user": user,
            "ssh_key": str(self.key),
            # pyinfra gives up after 10 s: an emulated host under load takes as long right after `daemon-reload`.
            "ssh_connect_retries": 2,
            "ssh_strict_host_key_checking": "no",
            "ssh_known_hosts_file": str(self.folder / "known_hosts"),
        }
        if user != "root":
            data["_sudo"] = True
        path = self.folder / ("inventory.py" if user == "root" else f"inventory_{user}.py")
        path.write_text(f"hosts = [\n    ({self.name!r}, {data!r}),\n]\n")
        return path

    def wait_ssh(self, timeout: float = 240) -> None:
        """Wait until the host answers; the end of its console is in the message when it does not."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.answers("true"):
                return
            if not self.running():
                break
            time.sleep(0.3)
        raise self.silent(f"no answer over ssh within {timeout:.0f} s")

    def answers(self, cmd: str) -> str | None:
        """The output of a command if the host can be reached just now.

        Its banner is asked for first, briefly: QEMU accepts connections long before a booting host does, and
        an ssh that waits in one of those learns too late that the host came up.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                if not sock.recv(4):
                    return None
            done = self.ssh(f"{cmd} && echo .", check=False, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def silent(self, what: str) -> LabError:
        """The error of a host that does not answer, with the end of its serial console."""
        try:
            text = (self.folder / "console.log").read_text(errors="replace")
        except OSError:
            text = "(nothing)"
        return LabError(f"{self.name}: {what}; its console:\n" + "\n".join(text.splitlines()[-25:]))

    # Power

    def running(self) -> bool:
        """Whether its QEMU runs."""
        return qemu.live_pid(self.folder) is not None

    def boot(self, timeout: float = 300) -> None:
        """Switch on: a cold start through GRUB from whatever the disk holds."""
        qemu.start(self.name, self.folder, self.port, None)
        self.wait_ssh(timeout)

    def resume(self, tag: str = READY) -> None:
        """Switch on from a snapshot instead of booting."""
        qemu.start(self.name, self.folder, self.port, tag)
        self.set_clock()

    def power_cut(self) -> None:
        """Pull the plug: what the guest has not flushed is lost, as it would be."""
        self.hang_up()
        qemu.kill(self.folder)

    def reboot(self, timeout: float = 900) -> None:
        """Ask the guest to reboot and wait until a new boot answers and has started its services."""
        before = self.boot_id()
        self.ssh("systemctl reboot", check=False, timeout=60)
        self.hang_up()
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            now = self.answers("cat /proc/sys/kernel/random/boot_id")
            if now and now.split()[0] != before:
                self.ssh("systemctl is-system-running --wait", check=False, timeout=timeout)
                return
            time.sleep(0.5)
        raise self.silent(f"no new boot within {timeout:.0f} s")

    def boot_id(self) -> str:
        """The kernel's name for this boot."""
        return self.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip()

    def cable(self, *, plugged: bool) -> None:
        """Pull the network cable, or put it back: connections stay open, and nothing comes through."""
        qemu.checked(self.folder, f"set_link net {'on' if plugged else 'off'}")

    def down(self) -> None:
        """End the host and remove its disk. Only its own process is ever ended."""
        self.hang_up()
        qemu.kill(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Snapshots

    def save(self, tag: str) -> None:
        """Keep memory and disk as they are now under a tag."""
        qemu.checked(self.folder, f"savevm {tag}")

    def load(self, tag: str) -> None:
        """Go back to a tag; a host that is off is switched on in that state."""
        self.hang_up()
        if not self.running():
            return self.resume(tag)
        qemu.checked(self.folder, f"loadvm {tag}")
        self.set_clock()
        return None

    def set_clock(self, timeout: float = 120) -> None:
        """The guest's clock stood still while it was saved: put it right, and see that the host answers."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.answers(f"date -s @{time.time():.2f} > /dev/null"):
                return
            if not self.running():
                break
            time.sleep(0.2)
        raise self.silent("no answer after the snapshot was loaded")


def free_name(stem: str) -> str:
    """The stem, or the stem with the first number that is free."""
    if not (run_dir() / stem).exists():
        return stem
    return next(f"{stem}-{n}" for n in range(2, 1000) if not (run_dir() / f"{stem}-{n}").exists())


def free_port() -> int:
    """A port that nobody listens on and no other host of the lab has reserved, on or off."""
    taken = {Vm.attach(name).port for name in names()}
    for port in random.sample(PORTS, 200):
        with socket.socket() as sock:
            if port not in taken and sock.connect_ex(("127.0.0.1", port)):
                return port
    raise LabError("no free port found")


def down_all() -> None:
    """Take down every host that this checkout started, and say whose stay."""
    for name in names():
        vm = Vm.attach(name)
        if vm.checkout == CHECKOUT:
            vm.down()
            log(f"{name}: down")
        else:
            log(f"{name}: left alone, it belongs to {vm.checkout or 'another checkout'}")
