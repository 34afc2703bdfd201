"""How auditing is set up. Rules of others stay, on disk and live: ours carry a key of their own, and only rules with
that key are ever removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploys.audit.watches import WatchedPath, by_path, folders_text, rules_text
from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Install, WriteFile
from deploys.core.same_text import same_text
from facts.audit import COMPILED, FOLDER, TMPFILES, AuditReading
from facts.core.reading import Unknown, known
from facts.core.system import AT_BOOT
from facts.core.trail import RULE_KEY

NAME = "audit"
RULES = f"{FOLDER}/50-hullproof.rules"
IMMUTABLE = f"{FOLDER}/99-hullproof-immutable.rules"
UNIT = "auditd.service"
UNITS = (UNIT, "audit-rules.service")  # later versions load the rules by a unit of their own
PACKAGES = {"debian": "auditd", "rhel": "audit"}
LOAD = f"KEY={RULE_KEY} RULES={RULES}\n{templates.text('audit/load.sh')}"
MAKE_FOLDERS = f"TMPFILES={TMPFILES}\n{templates.text('audit/folders.sh')}"
ENABLE = f"systemctl --no-reload unmask {UNIT} && systemctl -q enable {UNIT}"
START = f"systemctl start {UNIT} && auditctl -e 1 >/dev/null"


def run_auditd(reading: AuditReading, family: str) -> Iterator[Change]:
    start = "start auditd, and switch the kernel's auditing on"
    if known(reading.auditctl) is None:
        if package := PACKAGES.get(family):
            yield Install(NAME, "install auditd", packages=(package,))
            # a policy-rc.d, or Red Hat's presets, may have kept it from being started
            yield Command(NAME, start, script=f"{ENABLE} && {START}", undo="")
        else:
            why = f"hullproof does not know auditd's package on {family}: install it by hand"
            yield Blocked(NAME, "install auditd", why=why)
        return
    boot, enabled = known(reading.at_boot), known(reading.enabled)
    if known(reading.off_on_disk):
        what = "have the next boot keep the kernel's auditing on"
        yield Blocked(NAME, what, why=f"the last -e in {FOLDER} is -e 0", by_hand="remove it, and run augenrules")
    if boot is None:
        yield Blocked(NAME, "start auditd", why=f"auditctl is installed, but {UNIT} is not: install auditd by hand")
        return
    if boot not in AT_BOOT:
        undo = f"systemctl mask {UNIT}" if boot == "masked" else f"systemctl disable {UNIT}"
        yield Command(NAME, f"enable {UNIT} at boot (it is {boot})", undo=undo, script=ENABLE)
    if known(reading.active) != "active" or not enabled:
        # auditd refuses to be stopped by systemctl on some distributions: it ends by signal
        back = ["auditctl -e 0 >/dev/null"] if enabled == 0 else []
        back += [f"systemctl kill {UNIT}"] if known(reading.active) != "active" else []
        yield Command(NAME, start, script=START, undo="; ".join([*back, ":"]))


def watch(reading: AuditReading, rows: Sequence[WatchedPath]) -> Iterator[Change]:
    """Write rules for the paths that no rule of others covers on disk."""
    what = f"add audit rules for {len(rows)} paths of the container engines"
    if reading.handmade:
        why = f"{COMPILED} was written by hand, and augenrules would replace it: move its rules to a file in {FOLDER}"
        yield Blocked(NAME, what, why=why)
        return
    both = [by_path(read) for read in (reading.disk, reading.live) if not isinstance(read, Unknown)]
    if rule := next(filter(None, (row.muted(watches) for row in rows for watches in both)), ""):
        todo = f"remove {rule} from the files in {FOLDER} and from the kernel (auditctl -d), and run harden again"
        yield Blocked(NAME, what, why=f"{rule} comes before them, and of two rules the earlier counts", by_hand=todo)
        return
    others = by_path(watch for watch in known(reading.disk) if watch.key != RULE_KEY)
    ours = [row for row in rows if not row.covered(others)]
    folders, before = folders_text(ours), _before(reading, TMPFILES)
    if folders and not same_text(before, folders):
        make = f"have systemd-tmpfiles create the folders that these rules name, at boot ({TMPFILES})"
        yield WriteFile(NAME, make, path=TMPFILES, text=folders, before=before, activate=MAKE_FOLDERS)
    text, before = rules_text(ours), _before(reading, RULES)
    if not same_text(before, text):
        yield WriteFile(NAME, f"{what} ({RULES})", path=RULES, text=text, before=before, mode="0640", activate=LOAD)
    elif known(reading.enabled) != 2:
        yield Command(NAME, f"load the audit rules of {RULES}", script=LOAD, undo="")


def make_immutable(reading: AuditReading) -> Iterator[Change]:
    if known(reading.immutable_on_disk):
        return
    yield WriteFile(
        NAME,
        f"make audit rules immutable from the next boot on ({IMMUTABLE})",
        path=IMMUTABLE,
        text="## Written by hullproof: audit rules cannot be changed before the next boot.\n-e 2\n",
        before=_before(reading, IMMUTABLE),
        mode="0640",
        activate="augenrules >/dev/null",
    )


def _before(reading: AuditReading, path: str) -> str | None:
    text = reading.files.get(path)
    return None if text is None else known(text)
