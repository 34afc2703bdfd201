"""Attempts made on a host or in a container of ours, and what came of them.

A scenario is one sh script, run once per host: all of its attempts in one go. What makes an attempt is `attempt.pl`
(perl-base is essential on Debian) or, where there is no perl, `attempt.py`. In a container both come from the host's
own /usr, bound read-only into an empty image: nothing is pulled and nothing is compiled.
"""

from __future__ import annotations

import errno as errors
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from testinfra.backend.base import CommandResult
from testinfra.host import Host

from deploys.core.policy import Policy
from deploys.core.policy_file import load_policy
from deploys.subjects import SUBJECTS
from tests.verify.hosts import InventoryError

SECONDS = 600  # the longest that one scenario may take, on the slowest host
GRACE = 120  # seconds that it then has to remove what it made
NOBODY = 65534  # uid and gid of nobody: the kernel's overflow id, the same on every distribution
AS_NOBODY = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
ORDINARY = 1000  # a user in a container: one of the first 1,024, as a user namespace may have no more
# How each is called; each has a launcher, engines/NAME.sh.
ENGINES = {
    "docker": "Docker",
    "podman": "Podman",
    "podman-user": "Podman",
    "lxc": "LXC",
    "nspawn": "systemd-nspawn",
    "libvirt": "libvirt driver for LXC",
    "containerd": "containerd",
}
# "20.10.24+dfsg1 ", or behind a program's own name: "ctr github.com/containerd/containerd 1.7.24~ds1".
VERSION = re.compile(r"(systemd |ctr \S+ v?)?(?P<version>[0-9]+(\.[0-9]+)*)([^0-9.].*)?")
DENIED = frozenset({errors.EPERM, errors.EACCES, errors.EROFS})

HERE = Path(__file__).parent
AGENTS = {"perl": ("-e", HERE / "attempt.pl"), "python3": ("-c", HERE / "attempt.py")}

START = """
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
"""

ABOUT = (
    START
    + """
echo "machine $(uname -m)"
for tool in /usr/bin/perl /usr/bin/python3 /usr/libexec/platform-python; do
    [ -x "$tool" ] && echo "agent $tool"
done
ls -d /usr/lib/*/perl-base > /dev/null 2>&1 && echo "copies perl-base"
says() { # ENGINE COMMAND…: its version
    name=$1
    shift
    echo "$name $(timeout 30 "$@" 2>&1 | tr '\\n' ' ')"
}
if command -v docker > /dev/null; then
    says docker docker version -f '{{.Server.Version}}'
elif command -v dockerd > /dev/null; then
    echo "docker there is a dockerd here, but no docker command"
fi
command -v podman > /dev/null && says podman podman version -f '{{.Client.Version}}'
command -v lxc-execute > /dev/null && says lxc lxc-start --version
[ -d /run/systemd/system ] && command -v systemd-nspawn > /dev/null && says nspawn systemd-nspawn --version
for driver in /usr/lib*/libvirt/connection-driver /usr/lib/*/libvirt/connection-driver; do
    [ -e "$driver/libvirt_driver_lxc.so" ] && command -v virsh > /dev/null && says libvirt virsh --version
done
[ -S /run/containerd/containerd.sock ] && command -v ctr > /dev/null && says containerd ctr --version
:
"""
)


class CannotTell(Exception):
    """The proof cannot be made on this host; the reason is the message. Never a pass."""


class NotProved(Exception):
    """The attempt could not be made though it should have been: nothing is shown, and that is a failure."""


@dataclass(frozen=True)
class Attempt:
    """One thing to try. `verb` and `arguments` as in attempt.pl; a number may be given by machine."""

    name: str
    verb: str
    arguments: tuple[str, ...]

    def line(self) -> str:
        return "\t".join((self.name, self.verb, *self.arguments))


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: `errno` is 0 where it worked, `value` what the call gave, `text` what could be read."""

    name: str
    value: int
    errno: int
    text: str = ""

    @property
    def worked(self) -> bool:
        return self.errno == 0 and self.value >= 0

    @property
    def killed(self) -> bool:
        return self.errno == 0 and self.value == -1

    @property
    def denied(self) -> bool:
        return self.errno in DENIED or self.killed

    def __str__(self) -> str:
        if self.errno:
            return f"{errors.errorcode.get(self.errno, self.errno)} ({os.strerror(self.errno)})"
        said = self.text.strip()
        return said if self.killed else f"it worked, and gave {said!r}" if said else f"it worked, and gave {self.value}"


def agenda(attempts: Iterable[Attempt]) -> str:
    """The agent's argument. ValueError where two attempts have one name: what came of the first would be lost."""
    made = list(attempts)
    if len({attempt.name for attempt in made}) < len(made):
        raise ValueError(f"two attempts of one name: {sorted(attempt.name for attempt in made)}")
    return "\n".join(attempt.line() for attempt in made)


class Outcomes(dict[str, Outcome]):
    """What came of a scenario's attempts, by name. One of which nothing was said is not proved."""

    complaint: str = ""  # the end of what the script said on stderr

    def __missing__(self, name: str) -> Outcome:
        raise NotProved(f"the probe said nothing of {name}. {self.complaint}".strip())


def outcomes(text: str, complaint: str = "") -> Outcomes:
    """The agent's lines; anything else in the text is passed over."""
    found = Outcomes()
    found.complaint = printable(complaint[-800:]).strip()
    for line in text.splitlines():
        fields = line.split("\t", 3)
        if len(fields) == 4 and fields[1].lstrip("-").isdigit() and fields[2].isdigit():
            found[fields[0]] = Outcome(fields[0], int(fields[1]), int(fields[2]), printable(fields[3][:400]))
    return found


def printable(text: str) -> str:
    """A host's text without line ends and terminal controls."""
    return "".join(c if c.isprintable() else " " for c in text)


@dataclass(frozen=True)
class About:
    """What the probes need to know of a host. `engines`: by name, what each says of its version."""

    machine: str
    agents: tuple[str, ...]
    engines: Mapping[str, str]
    copies: bool = False  # whether what attempts need can be copied into a container: perl-base


def about(text: str) -> About:
    """What the ABOUT script printed."""
    rows = [line.split(" ", 1) for line in text.splitlines() if " " in line]
    facts: Mapping[str, str] = dict(rows)
    agents = tuple(value for key, value in rows if key == "agent")
    engines = {name: facts[name] for name in ENGINES if name in facts}
    return About(facts.get("machine", ""), agents, engines, "copies" in facts)


class Prober:
    """The scenarios of one host, each run once and remembered: also how it failed."""

    def __init__(self, connect: Callable[[], Host], policy: str = "baseline") -> None:
        self._connect = connect
        self._policy = policy
        self._told: dict[str, CommandResult | NotProved] = {}

    @cached_property
    def host(self) -> Host:
        return self._connect()

    @cached_property
    def policy(self) -> Policy:
        """What is declared for the host."""
        return load_policy(self._policy, SUBJECTS)

    @property
    def about(self) -> About:
        return about(self._once(ABOUT).stdout)

    def run(self, scenario: str, *before: str, **given: str) -> Outcomes:
        """What came of a scenario, a script beside this file, with shell variables `given` and other scripts `before`
        it. Raises NotProved where the host is out of reach or the script failed."""
        variables = "".join(f"{name}={shlex.quote(value)}\n" for name, value in {**self.agent, **given}.items())
        done = self._once(START + variables + "".join((HERE / name).read_text() for name in (*before, scenario)))
        return outcomes(done.stdout, done.stderr)

    def _once(self, script: str) -> CommandResult:
        if script not in self._told:
            try:
                self._told[script] = self._run(script)
            except NotProved as error:
                self._told[script] = error
        told = self._told[script]
        if isinstance(told, NotProved):
            raise told
        return told

    def _run(self, script: str) -> CommandResult:
        try:
            done = self.host.run(f"timeout -k {GRACE} {SECONDS} /bin/sh -c %s", script)
        except (RuntimeError, OSError, InventoryError) as error:
            result = error.args[0] if error.args else error
            raise NotProved(f"the host is out of reach: {printable(str(getattr(result, 'stderr', result)))}") from None
        if done.rc == 124:  # timeout(1)
            raise NotProved(f"the probe was not done after {SECONDS} seconds")
        if done.rc:
            said = printable((done.stderr or done.stdout)[-800:]).strip()
            raise NotProved(f"the probe ended with status {done.rc}: {said}")
        return done

    @property
    def agent(self) -> dict[str, str]:
        """The agent's command: "$agent" "$option" "$source" and then its agenda."""
        for path in self.about.agents:
            option, source = AGENTS["perl" if path.endswith("perl") else "python3"]
            return {"agent": path, "option": option, "source": source.read_text()}
        raise CannotTell("cannot tell: neither perl nor python3")

    def number(self, x86_64: int, aarch64: int) -> str:
        """A system call's number on this machine."""
        numbers = {"x86_64": x86_64, "aarch64": aarch64}
        if self.about.machine not in numbers:
            raise CannotTell(f"cannot tell: the system call numbers of {self.about.machine} are not known")
        return str(numbers[self.about.machine])

    def version(self, engine: str) -> tuple[int, ...]:
        """The engine's version, (20, 10, 24). Raises CannotTell without it, NotProved where it does not answer."""
        said = self.about.engines.get(engine.removesuffix("-user"))
        if said is None:
            raise CannotTell(f"no {ENGINES[engine]} on this host")
        number = VERSION.fullmatch(said)
        if not number:
            raise NotProved(f"{ENGINES[engine]} does not answer: {said}")
        return tuple(int(part) for part in number["version"].split("."))
