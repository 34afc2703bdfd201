"""What puts auditing right. Other people's rules stay, on disk and live: ours carry a key of their own, and only rules
with that key are ever taken away. So not `augenrules --load`, which first deletes every live rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploys.audit.watches import KEY, Wanted, folders_text, rules_text
from deploys.core.change import Blocked, Change, Command, Install, WriteFile
from facts.audit import COMPILED, FOLDER, TMPFILES, AuditReading
from facts.core.reading import known
from facts.core.system import AT_BOOT

SUBJECT = "audit"
RULES = f"{FOLDER}/50-hullproof.rules"
IMMUTABLE = f"{FOLDER}/99-hullproof-immutable.rules"
UNIT = "auditd.service"
PACKAGES = {"debian": "auditd", "rhel": "audit"}
# It runs again after an undo, when the file is gone. augenrules itself does nothing where rules are immutable.
LOAD = f"""\
augenrules >/dev/null || exit 1
case $(auditctl -s) in *"enabled 2"*) exit 0 ;; esac
auditctl -D -k {KEY} >/dev/null || exit 1
[ ! -e {RULES} ] || auditctl -R {RULES} >/dev/null
"""
# Only what is missing: `d` puts mode and owner of what is there back, and who changed those may live by them. An undo
# runs this too, with whatever file was there before.
MAKE_FOLDERS = f"""\
[ -e {TMPFILES} ] || exit 0
awk '$1 == "d" {{ print $2 }}' {TMPFILES} | while read -r folder; do
  [ -e "$folder" ] || systemd-tmpfiles --create --prefix="$folder" {TMPFILES} || exit 1
done
"""
ENABLE = f"systemctl --no-reload unmask {UNIT} && systemctl -q enable {UNIT}"
START = f"systemctl start {UNIT} && auditctl -e 1 >/dev/null"


def run_auditd(reading: AuditReading, family: str) -> Iterator[Change]:
    if known(reading.auditctl) is None:
        if package := PACKAGES.get(family):
            yield Install(SUBJECT, "install auditd", packages=(package,))
            # a policy-rc.d, or Red Hat's presets, may have kept it from being started
            yield Command(SUBJECT, "start auditd and have the kernel audit", script=f"{ENABLE} && {START}", undo="")
        else:
            yield Blocked(SUBJECT, "install auditd", why=f"what it is called on {family} is not known: do it by hand")
        return
    boot, enabled = known(reading.at_boot), known(reading.enabled)
    if boot is None:
        yield Blocked(SUBJECT, "run auditd", why="auditctl is there without its service: install auditd by hand")
        return
    if boot not in AT_BOOT:
        undo = f"systemctl mask {UNIT}" if boot == "masked" else f"systemctl disable {UNIT}"
        yield Command(SUBJECT, f"enable {UNIT} at boot (it is {boot})", undo=undo,
                      script=ENABLE)  # fmt: skip
    if known(reading.active) != "active" or not enabled:
        # auditd refuses to be stopped by systemctl on some distributions: it ends by signal
        back = ["auditctl -e 0 >/dev/null"] if enabled == 0 else []
        back += [f"systemctl kill {UNIT}"] if known(reading.active) != "active" else []
        yield Command(SUBJECT, "start auditd and have the kernel audit", script=START, undo="; ".join([*back, ":"]))


def watch(reading: AuditReading, rows: Sequence[Wanted]) -> Iterator[Change]:
    """Rules of ours for what no rule of others records on disk."""
    what = f"record who touches {len(rows)} paths of the container engines"
    if reading.handmade:
        why = f"{COMPILED} was written by hand and augenrules would replace it: move its rules to a file in {FOLDER}"
        yield Blocked(SUBJECT, what, why=why)
        return
    others = [watch for watch in known(reading.disk) if watch.key != KEY]
    ours = [row for row in rows if not row.covered(others)]
    folders, before = folders_text(ours), _before(reading, TMPFILES)
    if folders and folders != before:
        yield WriteFile(SUBJECT, f"have the folders of the rules there at boot ({TMPFILES})", path=TMPFILES,
                        text=folders, before=before, activate=MAKE_FOLDERS)  # fmt: skip
    text, before = rules_text(ours), _before(reading, RULES)
    if text != before:
        yield WriteFile(SUBJECT, f"{what} ({RULES})", path=RULES, text=text, before=before, mode="0640", activate=LOAD)
    elif known(reading.enabled) != 2:
        yield Command(SUBJECT, f"load {RULES}", script=LOAD, undo="")


def make_immutable(reading: AuditReading) -> Iterator[Change]:
    if known(reading.immutable_on_disk):
        return
    text = "## Written by hullproof: rules cannot be changed before the next boot.\n-e 2\n"
    yield WriteFile(SUBJECT, f"make audit rules immutable from the next boot on ({IMMUTABLE})", path=IMMUTABLE,
                    text=text, before=_before(reading, IMMUTABLE), mode="0640",
                    activate="augenrules >/dev/null")  # fmt: skip


def _before(reading: AuditReading, path: str) -> str | None:
    text = reading.files.get(path)
    return None if text is None else known(text)
