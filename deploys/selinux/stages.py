"""From nothing to enforcing: each run takes the next safe stage, and the finding says which one comes after.

    packages, permissive on disk, every file labelled, command line -> reboot -> observe -> enforce live -> on disk

One reboot: the files are labelled before it, so that what boots finds its labels. The evidence comes before the
enforcing, which is armed with a way back that needs no controller; permissive stays on disk until a fresh connection
was made under it.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, Install, WriteFile, mending
from deploys.core.control import some
from deploys.engines.docker.daemon import daemon_json
from deploys.engines.restart import options
from deploys.kernel.boot_parameters import given
from deploys.kernel.grub import MENU, drop_in
from deploys.lsm.controls import barred
from deploys.lsm.denials import explain, list_kinds, unknown_before, way_out
from facts.core.numbers import utc
from facts.core.reading import Unknown, known
from facts.core.reverted import Reverted
from facts.core.system import System
from facts.denials import Denial, DenialsReading, Gap
from facts.engines.docker.docker import Container, Docker
from facts.kernel.boot import DROP_INS, Boot
from facts.selinux import CONFIG, OBSERVED, Labelled, SELinuxReading

SUBJECT = "selinux"
LABELS, CONFINED = "selinux.docker-labels", "selinux.containers-confined"
ACCEPT = "selinux-denials"
RETRY = "reverted-selinux"
DROP_IN = f"{DROP_INS}99-hullproof-selinux.cfg"
WORDS = "selinux=1 security=selinux"
PACKAGES = {
    "debian": ("selinux-policy-default", "policycoreutils", "auditd"),
    "rhel": ("selinux-policy-targeted", "policycoreutils", "container-selinux", "audit"),
}
STAGES = ("prepare", "reboot", "observe", "enforce", "keep")
SAME = {"packages": "prepare", "wait": "observe"}
GATE = "/etc/hullproof/selinux-gate.sh"
TYPES = {"debian": "default", "rhel": "targeted"}
UNLABELLED = ("unlabeled_t", "default_t", "file_t")
MOST_JOINED = 20  # containers that each join another one
DOMAINS = ("container_t", "svirt_lxc_net_t", "container_kvm_t", "container_init_t")


@dataclass(frozen=True)
class Stage:
    """What comes next: packages or prepare, reboot, observe or wait, enforce, keep. `booleans`: the policy's.
    `denials` and `reverted` hold enforcing back; a `gap` in what is known of them lets it be watched longer."""

    name: str
    until: int = 0
    denials: tuple[Denial, ...] = ()
    booleans: Collection[str] = ()
    reverted: Reverted | None = None
    gap: Gap | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """What has to be accepted by name before it enforces."""
        return (ACCEPT,) * bool(self.denials) + (RETRY,) * bool(self.reverted)

    @property
    def place(self) -> str:
        """`stage 1 of 5, one reboot is to come`."""
        held = self.name == "enforce" and self.needs
        number = STAGES.index("observe" if held else SAME.get(self.name, self.name)) + 1
        reboots = "one reboot" if number <= STAGES.index("reboot") + 1 else "no reboot"
        return f"stage {number} of {len(STAGES)}, {reboots} is to come"

    def say(self) -> str:
        """What the next run, or the operator, has to do."""
        return f"{'. '.join(filter(None, [self._taken_back(), self._next()]))} ({self.place})"

    def _why_held(self) -> str:
        return (
            f"It stays permissive, since enforcing would have refused: {self._rows()}. Mend that: a changed policy is "
            f"watched anew, and labels are when {OBSERVED} is removed. Or enforce it all the same with accept={ACCEPT}"
        )

    def _taken_back(self) -> str:
        if self.reverted is None:
            return ""
        why = self.reverted.why or "nobody could come in any more"
        return (
            f"The host itself took enforcing back at {self.reverted.time}: {why}. Find out why; a changed policy is "
            f"tried anew, the same one with accept={RETRY}"
        )

    def _rows(self) -> str:
        return list_kinds([f"{explain(denial)}: {way_out(denial, self.booleans)}" for denial in self.denials])

    def _next(self) -> str:
        until = utc(self.until)
        rows = self._rows() or "there are none"
        return {
            "packages": "Next: the policy is installed, all files are labelled, so that one reboot is enough, and the "
                        "boot parameters set",
            "prepare": "Next: all files are labelled, so that one reboot is enough, and the boot parameters set",
            "reboot": "Next: a reboot, into permissive: a kernel takes SELinux up only when it boots",
            "observe": "Next: its denials are watched",
            "wait": f"Its denials are watched until {until:%Y-%m-%d %H:%M} UTC"
                    f"{f', since {unknown_before(self.gap)}' if self.gap else ''}; so far {rows}",
            "enforce": self._why_held() if self.denials else
                       "Next: it enforces live, and goes back by itself unless a fresh connection succeeds",
            "keep": "Next: enforcing is written to disk",
        }[self.name]  # fmt: skip


def stage(reading: SELinuxReading, bar: str | None, denials: DenialsReading, clock: int, hours: int) -> Stage:
    """What comes next; `bar` is what keeps it off on the next boot's command line."""
    mode = known(reading.mode)
    if mode == "enforcing":
        return Stage("keep")
    if not known(reading.policies) or not known(reading.setfiles):
        return Stage("packages")
    if mode == "disabled" or not known(reading.policy_loaded):  # RHEL 9 runs without a policy where it is disabled
        ready = known(reading.config_mode) == "permissive" and known(reading.labelled) and not bar
        return Stage("reboot" if ready else "prepare")
    changed = reading.policy_changed or 0  # what another policy refused says nothing of this one
    reverted = known(reading.reverted)
    if reverted and reverted.clock < changed:
        reverted = None
    since = known(reading.observed_since)
    if since is None:
        return Stage("observe", reverted=reverted)
    seen = tuple(_in_the_way(denials, max(denials.booted, changed), since, known(reading.permissive)))
    gap = denials.gap(max(since, changed))
    until = (gap.until if gap else max(since, changed)) + hours * 3600
    return Stage("wait" if clock < until else "enforce", until, seen, tuple(reading.booleans), reverted, gap)


def _in_the_way(denials: DenialsReading, since: int, labelled: int, tolerated: Collection[str]) -> Iterator[Denial]:
    """What enforcing would have refused, in this boot too: the next one is to enforce. `labelled`: when files without
    a label got theirs, and are in nobody's way any more. `tolerated` domains stay permissive."""
    for bare, rows in ((False, denials.since(since)), (True, denials.since(max(since, labelled)))):
        for row in rows:
            if row.module == "selinux" and row.subject not in tolerated and (row.target in UNLABELLED) is bare:
                yield row


def step(context: Context, reading: SELinuxReading, boot: Boot, now: Stage) -> Iterator[Change]:
    family = context.survey[System].family
    if now.name in ("packages", "prepare"):
        yield from _prepare(reading, boot, family, now)
    elif now.name == "observe":
        script = f"MARK={OBSERVED}\n{_template('observe.sh')}"
        yield Command(SUBJECT, "label what was made since, and begin to watch what enforcing would refuse",
                      script=script, undo=f"rm -f {OBSERVED}")  # fmt: skip
    elif now.name == "enforce" and all(context.accepts(name) for name in now.needs):
        yield _enforce(reading)
    elif now.name in ("wait", "enforce"):
        yield Blocked(SUBJECT, "enforce SELinux", why=now.say())
    elif now.name == "keep":
        yield from _keep(reading, boot, family)


def _prepare(reading: SELinuxReading, boot: Boot, family: str, now: Stage) -> Iterator[Change]:
    """Permissive is on disk, and every file labelled, before anything lets SELinux boot."""
    parameters = _parameters(boot, family)
    if isinstance(parameters, Blocked):
        yield parameters
        return
    if now.name == "packages":
        if family not in PACKAGES:
            yield Blocked(SUBJECT, "install SELinux's policy", why=f"its packages on {family} are not known")
            return
        yield Install(SUBJECT, f"install SELinux's policy and tools ({now.place})", packages=PACKAGES[family])
    if known(reading.policy_loaded):
        return  # it runs, without its tools
    kind = known(reading.type) or TYPES.get(family, "targeted")
    if known(reading.config_mode) != "permissive" and (known(reading.config) is not None or now.name == "prepare"):
        yield _config(reading, "permissive", kind)
    label = f"TYPE={quote(kind)} unshare --mount sh -c {quote(_template('relabel.sh'))}"
    what = f"label every file of the host; this takes minutes, and confines nothing yet ({now.place})"
    yield Command(SUBJECT, what, script=label, undo=_template("unlabel.sh"))
    if parameters:
        yield parameters


def _parameters(boot: Boot, family: str) -> Change | None:
    """What takes SELinux onto the next boot's command line; None where it is there."""
    what = f"add {WORDS} to the boot parameters: the next boot runs with SELinux, and without AppArmor"
    if isinstance(boot.configured, Unknown):
        return Blocked(SUBJECT, what, why=boot.configured.unknown)
    bar = barred("selinux", boot.configured, family)
    if bar is None:
        return None
    if bar.startswith("lsm="):
        return Blocked(SUBJECT, what, why=f"{bar} is given, which passes over security=: add selinux to it")
    if boot.loader == "bls":
        # grubby --args takes the place of what a name was given before
        old = [word for name in ("selinux", "enforcing", "security") if (word := given(boot.configured, name))]
        undo = f"grubby --update-kernel=ALL --remove-args={quote(WORDS)}"
        undo += f" && grubby --update-kernel=ALL --args={quote(' '.join(old))}" if old else ""
        script = f"grubby --update-kernel=ALL --remove-args='selinux enforcing' --args={quote(WORDS)}"
        return Command(SUBJECT, what, script=script, undo=undo)
    before = boot.defaults.get(DROP_IN)
    if boot.loader == "grub" and before is None and bar != "enforcing=0":
        return WriteFile(SUBJECT, what, path=DROP_IN, text=drop_in(WORDS), before=None, service=MENU)
    return Blocked(
        SUBJECT, what, why=f"the command line has {bar}, which is not ours to change: change it where it is given"
    )


def _config(reading: SELinuxReading, mode: str, kind: str) -> WriteFile:
    before = known(reading.config)
    text = before if before is not None else f"SELINUX={mode}\nSELINUXTYPE={kind}\n"
    line = re.compile(r"^[ \t]*SELINUX[ \t]*=.*$", re.MULTILINE)
    text = line.sub(f"SELINUX={mode}", text) if line.search(text) else f"{text}SELINUX={mode}\n"
    mode_, owner = ("", "") if before is not None else ("0644", "root:root")
    return WriteFile(SUBJECT, f"have the next boot be {mode} ({CONFIG})", path=CONFIG, text=text, before=before,
                     mode=mode_, owner=owner, shared="lines")  # fmt: skip


def _enforce(reading: SELinuxReading) -> Command:
    """No container may write to a login's pipes, by its category, and no policy records that refusal."""
    mute = sorted({row.container for row in reading.podman if ":unconfined_t:" in row.monitor})
    lost = f"what Podman's containers {some(mute)} print is lost, since a login started them and not systemd"
    what = "enforce SELinux live (the host goes back by itself unless a fresh connection succeeds)"
    return Command(SUBJECT, what, script="echo 1 >/sys/fs/selinux/enforce", undo="echo 0 >/sys/fs/selinux/enforce",
                   interrupts=lost if mute else "", commit_confirmed=True)  # fmt: skip


def _keep(reading: SELinuxReading, boot: Boot, family: str) -> Iterator[Change]:
    """It enforces, and we have come in: now it may be there after a boot, which has a way back of its own."""
    parameters = _parameters(boot, family)
    config = known(reading.config_mode) != "enforcing"
    if config or not isinstance(parameters, Blocked | None):
        yield _gate()
    if config:
        yield _config(reading, "enforcing", known(reading.type) or TYPES.get(family, "targeted"))
    if parameters:
        yield parameters


def _gate() -> Command:
    packed = base64.b64encode(_template("gate.sh").encode()).decode()
    what = "have the first boot in enforcing go back to permissive unless sshd answers and Docker runs as now"
    write = f"mkdir -p {Path(GATE).parent} && printf %s {packed} | base64 -d >{GATE}"
    return Command(SUBJECT, what, script=f"{write} && sh {GATE} arm", undo=f"[ ! -e {GATE} ] || sh {GATE} disarm")


def label_containers(context: Context, reading: SELinuxReading) -> Iterator[Change]:
    docker = context.survey[Docker]
    if known(reading.mode) == "disabled":
        why = "SELinux has to run first (selinux.enforcing)"
        yield Blocked(SUBJECT, "label containers", why=why, controls=context.which(LABELS, CONFINED))
    if not docker.installed or known(reading.mode) == "disabled" or not known(reading.container_domains):
        return
    if context.failing(LABELS):
        what = "containers get a label of their own, and those made from now on do not start without SELinux"
        yield from mending([LABELS], [daemon_json(context, SUBJECT, what, {"selinux-enabled": True})])


def unlabelled(container: Container) -> str | None:
    if isinstance(container.process, Unknown) or level(container.process.label):
        return None
    if container.privileged or "disable" in options(container, "label"):
        return f"{container.name} was started without a label"
    label = container.process.label or "nothing"
    return f"{container.name} runs as {label}: Docker gives a label when a container is made; make it anew"


def shared(containers: Sequence[Container], podman: Sequence[Labelled]) -> list[str]:
    """Who shares a category with whom. A pod's containers do, and those that share their processes or memory."""
    users: dict[str, dict[str, str]] = {}
    leader = _leaders(containers)
    for container in containers:
        if not isinstance(container.process, Unknown) and (own := level(container.process.label)):
            given = any(option.startswith("level:") for option in options(container, "label"))
            name = f"{container.name} (started with label=level:…)" if given else container.name
            users.setdefault(own, {}).setdefault(leader[container.id], name)
    for row in podman:
        if own := level(row.label):
            users.setdefault(own, {}).setdefault(row.pod or row.container, f"Podman's {row.container}")
    return [f"{' and '.join(who.values())} share the category {own}" for own, who in users.items() if len(who) > 1]


def _leaders(containers: Sequence[Container]) -> dict[str, str]:
    """By container, the one whose processes or memory it was started to share: Docker gives both one label."""
    named = {name: container.id for container in reversed(containers) for name in (container.id, container.name)}
    ids = sorted(container.id for container in containers)
    joins = {container.id: _joined(container, named, ids) for container in containers}
    found: dict[str, str] = {}
    for own in joins:
        way = [own]
        while (following := found.get(way[-1]) or joins[way[-1]]) and following not in way and len(way) < MOST_JOINED:
            way.append(following)
        found |= dict.fromkeys(way, way[-1])
    return found


def _joined(container: Container, named: dict[str, str], ids: Sequence[str]) -> str:
    """The id that `container:NAME` or the beginning of an id means; "" where it shares nobody's."""
    for mode in (container.pid_mode, container.ipc_mode):
        if other := mode.partition("container:")[2]:
            place = bisect_left(ids, other)
            beginning = ids[place] if place < len(ids) and ids[place].startswith(other) else ""
            if found := named.get(other, beginning):
                return found
    return ""


def level(label: str) -> str:
    """`c1,c2` of a label such as system_u:system_r:container_t:s0:c1,c2; "" of one that is no container's own."""
    match = re.fullmatch(r"[^:]*:[^:]*:([^:]*):s0:(c\d+(?:,c\d+)+)", label)
    return match[2] if match and match[1] in DOMAINS else ""


def _template(name: str) -> str:
    return templates.text(f"selinux/{name}")
