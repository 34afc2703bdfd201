"""From no SELinux to enforcing: each run takes the next safe stage, and the finding names the stage after it.

    packages, permissive on disk, every file labelled, command line -> reboot -> observe -> enforce live -> on disk

One reboot is enough, since all files are labelled before it. The host enforces only after its denials were observed,
and goes back by itself, without a controller, if that locks us out; permissive stays on disk until a fresh connection
has succeeded under enforcing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from shlex import quote

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, Install, Obstacle, WriteFile
from deploys.core.control import some
from deploys.kernel.boot_parameters import given
from deploys.kernel.grub import MENU, drop_in
from deploys.lsm.controls import BootObstacle, boot_obstacle
from deploys.lsm.denials import explain, list_kinds, unknown_before, way_out
from facts.core.numbers import utc
from facts.core.reading import Unknown, known
from facts.core.reverted import Reverted
from facts.core.system import System
from facts.denials import Denial, DenialsReading, Gap
from facts.kernel.boot import DROP_INS, Boot
from facts.selinux import CONFIG, OBSERVED, SELinuxReading

NAME = "selinux"
ACCEPT_DENIALS = "selinux-denials"  # accepts that SELinux enforces in spite of the denials that were observed
ACCEPT_RETRY = "reverted-selinux"  # accepts another try with a policy under which the host has gone back
DROP_IN = f"{DROP_INS}99-hullproof-selinux.cfg"
WORDS = "selinux=1 security=selinux"
PACKAGES = {
    "debian": ("selinux-policy-default", "policycoreutils", "auditd"),
    "rhel": ("selinux-policy-targeted", "policycoreutils", "container-selinux", "audit"),
}
HEALTH_CHECK = "/etc/hullproof/selinux-gate.sh"
TYPES = {"debian": "default", "rhel": "targeted"}
UNLABELLED = ("unlabeled_t", "default_t", "file_t")


class Step(StrEnum):
    """What the next run does about SELinux."""

    PACKAGES = "packages"  # and all of PREPARE
    PREPARE = "prepare"
    REBOOT = "reboot"
    OBSERVE = "observe"
    WAIT = "wait"  # the denials are being observed
    ENFORCE = "enforce"
    KEEP = "keep"  # it enforces live; write that to disk


STAGES = (Step.PREPARE, Step.REBOOT, Step.OBSERVE, Step.ENFORCE, Step.KEEP)
SAME_STAGE = {Step.PACKAGES: Step.PREPARE, Step.WAIT: Step.OBSERVE}


@dataclass(frozen=True)
class Stage:
    """How far a host is. `booleans`: the policy's. `denials` and `reverted` hold enforcing back; a `gap` in the record
    of denials extends the observation `until` later."""

    step: Step
    until: int = 0
    denials: tuple[Denial, ...] = ()
    booleans: Collection[str] = ()
    reverted: Reverted | None = None
    gap: Gap | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """What has to be accepted by name before SELinux enforces, where nothing else is left to wait for."""
        asked = {ACCEPT_DENIALS: self.denials, ACCEPT_RETRY: self.reverted}
        return tuple(name for name, found in asked.items() if found and self.step is Step.ENFORCE)

    @property
    def place(self) -> str:
        """`stage 1 of 5, one reboot to come`."""
        number = STAGES.index(Step.OBSERVE if self.needs else SAME_STAGE.get(self.step, self.step)) + 1
        reboots = "one reboot" if number <= STAGES.index(Step.REBOOT) + 1 else "no reboot"
        return f"stage {number} of {len(STAGES)}, {reboots} to come"

    def say(self) -> str:
        """What the next run does, or why it does not enforce."""
        return f"{'. '.join(filter(None, [self._went_back(), self._next()]))} ({self.place})"

    def obstacle(self) -> Obstacle:
        """Why the next run does not enforce."""
        by_hand = ""
        if ACCEPT_DENIALS in self.needs:
            by_hand = (
                "change the policy or the labels: hullproof observes a changed policy again, and changed labels if you "
                f"remove {OBSERVED}"
            )
        elif self.needs:
            by_hand = "find out why the host went back: hullproof tries a changed policy again"
        return Obstacle(why=self.say(), by_hand=by_hand, accepts=self.needs)

    def _went_back(self) -> str:
        if self.reverted is None:
            return ""
        why = self.reverted.why or "no connection to the host succeeded any more"
        return f"The host went back to permissive by itself at {self.reverted.time}: {why}"

    def _rows(self) -> str:
        return list_kinds([f"{explain(denial)}: {way_out(denial, self.booleans)}" for denial in self.denials])

    def _next(self) -> str:
        match self.step:
            case Step.PACKAGES:
                return "Next, harden installs the policy, labels all files and sets the boot parameters"
            case Step.PREPARE:
                return "Next, harden labels all files and sets the boot parameters"
            case Step.REBOOT:
                return "Next, reboot the host, into permissive: a kernel starts SELinux only when it boots"
            case Step.OBSERVE:
                return "Next, harden begins to observe what enforcing would deny"
            case Step.WAIT:
                return self._observing()
            case Step.ENFORCE if self.denials:
                return f"SELinux stays permissive, since enforcing would have caused these denials: {self._rows()}"
            case Step.ENFORCE if self.reverted:
                return "SELinux stays permissive"
            case Step.ENFORCE:
                return "Next, harden enforces live, and the host goes back by itself unless a fresh connection succeeds"
            case Step.KEEP:
                return "Next, harden writes enforcing to disk"

    def _observing(self) -> str:
        longer = f", since {unknown_before(self.gap)}" if self.gap else ""
        until = f"Denials are observed until {utc(self.until):%Y-%m-%d %H:%M} UTC{longer}"
        return f"{until}; so far {self._rows() or 'there are none'}"


def next_stage(
    reading: SELinuxReading, obstacle: BootObstacle | None, denials: DenialsReading, clock: int, hours: int
) -> Stage:
    """How far the host is; `obstacle` is what keeps SELinux off on the next boot's command line."""
    mode = known(reading.mode)
    if mode == "enforcing":
        return Stage(Step.KEEP)
    if not known(reading.policies) or not known(reading.setfiles):
        return Stage(Step.PACKAGES)
    if mode == "disabled" or not known(reading.policy_loaded):  # RHEL 9 runs without a policy where it is disabled
        ready = known(reading.config_mode) == "permissive" and known(reading.labelled) and not obstacle
        return Stage(Step.REBOOT if ready else Step.PREPARE)
    changed = reading.policy_changed or 0  # denials under an earlier policy tell nothing about this one
    reverted = known(reading.reverted)
    if reverted and reverted.clock < changed:
        reverted = None
    since = known(reading.observed_since)
    if since is None:
        return Stage(Step.OBSERVE, reverted=reverted)
    seen = tuple(_in_the_way(denials, max(denials.booted, changed), since, known(reading.permissive)))
    gap = denials.gap(max(since, changed))
    until = (gap.until if gap else max(since, changed)) + hours * 3600
    step = Step.WAIT if clock < until else Step.ENFORCE
    return Stage(step, until, denials=seen, booleans=tuple(reading.booleans), reverted=reverted, gap=gap)


def _in_the_way(denials: DenialsReading, since: int, labelled: int, tolerated: Collection[str]) -> Iterator[Denial]:
    """What enforcing would have denied, during the boot too, since the next boot enforces. `labelled`: when files
    without a label got theirs, so that earlier denials about them no longer count. `tolerated` domains stay
    permissive."""
    for bare, rows in ((False, denials.since(since)), (True, denials.since(max(since, labelled)))):
        for row in rows:
            if row.module == "selinux" and row.subject not in tolerated and (row.target in UNLABELLED) is bare:
                yield row


def step(context: Context, reading: SELinuxReading, boot: Boot, now: Stage) -> Iterator[Change]:
    family = context.survey[System].family
    if now.step in (Step.PACKAGES, Step.PREPARE):
        yield from _prepare(reading, boot, family, now)
    elif now.step is Step.OBSERVE:
        script = f"MARK={OBSERVED}\n{_template('observe.sh')}"
        what = "label files that were created since, and begin to observe what enforcing would deny"
        yield Command(NAME, what, script=script, undo=f"rm -f {OBSERVED}")
    elif now.step is Step.ENFORCE and all(context.accepts(name) for name in now.needs):
        yield _enforce(reading)
    elif now.step in (Step.WAIT, Step.ENFORCE):
        yield now.obstacle().block(NAME, "enforce SELinux")
    elif now.step is Step.KEEP:
        yield from _keep(reading, boot, family)


def _prepare(reading: SELinuxReading, boot: Boot, family: str, now: Stage) -> Iterator[Change]:
    """Permissive is on disk, and every file is labelled, before a boot can start SELinux."""
    parameters = _parameters(boot, family)
    if isinstance(parameters, Blocked):
        yield parameters
        return
    if now.step is Step.PACKAGES:
        if family not in PACKAGES:
            why = f"hullproof does not know SELinux's packages on {family}: install its policy by hand"
            yield Blocked(NAME, "install SELinux's policy", why=why)
            return
        yield Install(NAME, f"install SELinux's policy and tools ({now.place})", packages=PACKAGES[family])
    if known(reading.policy_loaded):
        return  # SELinux runs, without its tools
    kind = known(reading.type) or TYPES.get(family, "targeted")
    written = known(reading.config) is not None or now.step is Step.PREPARE
    if known(reading.config_mode) != "permissive" and written:
        yield _config(reading, "permissive", kind)
    label = f"TYPE={quote(kind)} unshare --mount sh -c {quote(_template('relabel.sh'))}"
    what = f"label every file of the host, which takes minutes and confines nothing yet ({now.place})"
    yield Command(NAME, what, script=label, undo=_template("unlabel.sh"))
    if parameters:
        yield parameters


def _parameters(boot: Boot, family: str) -> Change | None:
    """What puts SELinux on the next boot's command line; None where it is there already."""
    what = f"add {WORDS} to the boot parameters: the next boot runs with SELinux, and without AppArmor"
    if isinstance(boot.configured, Unknown):
        return Blocked(NAME, what, why=boot.configured.unknown)
    obstacle = boot_obstacle("selinux", boot.configured, family)
    if obstacle is None:
        return None
    if obstacle.name == "lsm":
        why = f"the command line has {obstacle}, and the kernel ignores security= then: add selinux to that list"
        return Blocked(NAME, what, why=why)
    if boot.loader == "bls":
        # grubby --args replaces the value that a name had before
        old = [word for name in ("selinux", "enforcing", "security") if (word := given(boot.configured, name))]
        undo = f"grubby --update-kernel=ALL --remove-args={quote(WORDS)}"
        undo += f" && grubby --update-kernel=ALL --args={quote(' '.join(old))}" if old else ""
        script = f"grubby --update-kernel=ALL --remove-args='selinux enforcing' --args={quote(WORDS)}"
        return Command(NAME, what, script=script, undo=undo)
    before = boot.defaults.get(DROP_IN)
    if boot.loader == "grub" and before is None and obstacle.name != "enforcing":
        return WriteFile(NAME, what, path=DROP_IN, text=drop_in(WORDS), before=None, service=MENU)
    why = f"the command line has {obstacle}, which hullproof did not write: change it where it comes from"
    return Blocked(NAME, what, why=why)


def _config(reading: SELinuxReading, mode: str, kind: str) -> WriteFile:
    before = known(reading.config)
    text = before if before is not None else f"SELINUX={mode}\nSELINUXTYPE={kind}\n"
    line = re.compile(r"^[ \t]*SELINUX[ \t]*=.*$", re.MULTILINE)
    text = line.sub(f"SELINUX={mode}", text) if line.search(text) else f"{text}SELINUX={mode}\n"
    mode_, owner = ("", "") if before is not None else ("0644", "root:root")
    what = f"set SELINUX={mode} for the next boot ({CONFIG})"
    return WriteFile(NAME, what, path=CONFIG, text=text, before=before, mode=mode_, owner=owner, shared="lines")


def _enforce(reading: SELinuxReading) -> Command:
    """A container may not write to the pipes of a login session, by its category, and no policy audits that denial."""
    mute = sorted({row.container for row in reading.podman if ":unconfined_t:" in row.monitor})
    lost = f"the output of Podman's containers {some(mute)} is lost, since a login session started them, not systemd"
    return Command(
        NAME,
        "enforce SELinux live (the host goes back by itself unless a fresh connection succeeds)",
        script="echo 1 >/sys/fs/selinux/enforce",
        undo="echo 0 >/sys/fs/selinux/enforce",
        interrupts=lost if mute else "",
        commit_confirmed=True,
    )


def _keep(reading: SELinuxReading, boot: Boot, family: str) -> Iterator[Change]:
    """SELinux enforces and we have connected: now a boot may enforce too, with a health check and way back of its
    own."""
    parameters = _parameters(boot, family)
    config = known(reading.config_mode) != "enforcing"
    if config or not isinstance(parameters, Blocked | None):
        yield _health_check()
    if config:
        yield _config(reading, "enforcing", known(reading.type) or TYPES.get(family, "targeted"))
    if parameters:
        yield parameters


def _health_check() -> Command:
    packed = base64.b64encode((templates.text("engines/kept.sh") + _template("gate.sh")).encode()).decode()
    what = "install a boot health check: the first boot in enforcing goes back to permissive unless sshd answers and "
    write = f"mkdir -p {Path(HEALTH_CHECK).parent} && printf %s {packed} | base64 -d >{HEALTH_CHECK}"
    return Command(
        NAME,
        f"{what}the container engines run as they do now, and what of theirs a boot starts",
        script=f"{write} && sh {HEALTH_CHECK} arm",
        undo=f"[ ! -e {HEALTH_CHECK} ] || sh {HEALTH_CHECK} disarm",
    )


def _template(name: str) -> str:
    return templates.text(f"selinux/{name}")
