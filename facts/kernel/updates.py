"""Kernel updates: the kernels on offer, interrupted installations, the space in /boot, and the last boot on trial."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from facts.core.reading import Jsonable, Section, Unknown
from facts.core.versions import compare_versions, version_key
from facts.kernel.packages import brought, flavour, locked, release_of

STATE = "/var/lib/hullproof/boot"
TRIAL = "/etc/hullproof/trial"
GATE_SCRIPT = "/etc/hullproof/kernel-trial.sh"
GATE_UNIT = "/etc/systemd/system/hullproof-boot-gate.service"
GATE_WANTED = "/etc/systemd/system/sysinit.target.wants/hullproof-boot-gate.service"
GATE_FILES = (GATE_SCRIPT, GATE_UNIT, GATE_WANTED)

# Where DKMS puts the modules it builds: on Debian; on RHEL; and RHEL's links to fitting modules of another kernel.
BUILT_FOLDERS = ("updates/dkms", "extra", "weak-updates")

# Runs after the script of facts.kernel.packages: `names` are the installed image packages, `release` the running one.
SCRIPT = f"""
[ -n "${{names:-}}" ] && run policy apt-cache policy $names
have rpm && have dnf &&
  run dnf-security dnf -C -q repoquery --security --qf '%{{name}}|%{{version}}-%{{release}}|%{{arch}}\\n' kernel-core
run lists stat -c '%Y %n' {STATE}/lists /var/lib/apt/periodic/update-success-stamp /var/lib/apt/lists \
  /var/cache/dnf/last_makecache
run room df -Pk /boot
run sizes stat -c '%s %n' /boot/vmlinuz-$release /boot/initrd.img-$release /boot/initramfs-$release.img
run built ls -d {" ".join(f"/lib/modules/*/{folder}/*.ko*" for folder in BUILT_FOLDERS)}
have needrestart && run needrestart timeout 10 needrestart -b -k -r l
for f in {STATE}/last {STATE}/rejected {STATE}/unrefreshed {TRIAL}/release \
  {GATE_SCRIPT} {GATE_UNIT} {GATE_WANTED}; do
  [ -e $f ] && show $f
done
"""


@dataclass(frozen=True)
class Offer(Jsonable):
    """An installed package that brings kernels of the running one's flavour, and the versions on offer."""

    package: str
    installed: str
    candidate: str  # the version that an upgrade would install, with pins taken into account and holds not
    newest: str  # the highest version on offer; above `candidate` where a pin excludes it
    security: bool  # whether a version newer than the installed one comes from a security archive
    held: bool
    release: str = ""  # what `uname -r` says of the candidate; "" where it is not known
    sourced: bool = True  # whether any package source has the package, in whatever version

    @property
    def newer(self) -> bool:
        return compare_versions(self.candidate, self.installed) > 0

    @property
    def pinned(self) -> bool:
        return compare_versions(self.newest, self.installed) > 0 and not self.newer


class NeedRestart(StrEnum):
    """What needrestart(1) says of the kernel (NEEDRESTART-KSTA)."""

    SILENT = ""  # it is not installed, or has no opinion
    NO_REBOOT = "no reboot is needed"
    NEWER_BUILD = "a reboot is needed (same release, newer build)"
    NEWER_RELEASE = "a reboot is needed"

    @property
    def wants_reboot(self) -> bool:
        return self in (NeedRestart.NEWER_BUILD, NeedRestart.NEWER_RELEASE)


@dataclass(frozen=True)
class Trial(Jsonable):
    """The result of the last boot of a kernel on trial."""

    release: str
    version: str
    result: str  # confirmed, returned, not-tried
    gate: str  # the check that failed
    why: str
    time: str
    boot_id: str  # of the boot before it


@dataclass(frozen=True)
class Updates(Jsonable):
    offers: tuple[Offer, ...] | Unknown
    lists: int | Unknown  # when the package lists were last refreshed; seconds since the epoch
    unrefreshed: str  # when and why our own last refresh of them failed; "" where it did not
    half: tuple[str, ...]  # image packages that were not installed to the end
    free: int | Unknown  # kB in /boot
    needed: int | Unknown  # kB that the running kernel takes in /boot
    built: Mapping[str, tuple[str, ...]] | Unknown  # the modules that DKMS has built, by the release that they are for
    needrestart: NeedRestart
    on_trial: str  # the release that is booted on trial: at the next boot, or now
    last: Trial | None
    rejected: tuple[str, ...]  # "RELEASE VERSION" of kernels that failed their boot health check
    gate: Mapping[str, str | Unknown | None]  # the boot health check's files; None: not there


NOT_ASKED = Unknown("not asked")
NONE = Updates(
    offers=NOT_ASKED,
    lists=NOT_ASKED,
    unrefreshed="",
    half=(),
    free=NOT_ASKED,
    needed=NOT_ASKED,
    built=NOT_ASKED,
    needrestart=NeedRestart.SILENT,
    on_trial="",
    last=None,
    rejected=(),
    gate={},
)


def parse(section: Section, release: str) -> Updates:
    return Updates(
        offers=_offers(section, flavour(release)),
        lists=_lists(section),
        unrefreshed=_line(section, f"{STATE}/unrefreshed"),
        half=_half(section),
        free=_free(section),
        needed=_needed(section),
        built=_built(section),
        needrestart=_needrestart(section),
        on_trial=_line(section, f"{TRIAL}/release"),
        last=_last(section),
        rejected=_rejected(section),
        gate={path: section.file(path) if path in section.blocks else None for path in GATE_FILES},
    )


def _line(section: Section, name: str) -> str:
    text = section.text(name)
    return "" if isinstance(text, Unknown) else text.strip().split("\n")[0]


def _rejected(section: Section) -> tuple[str, ...]:
    text = section.text(f"{STATE}/rejected")
    return () if isinstance(text, Unknown) else tuple(line.strip() for line in text.splitlines() if line.strip())


def _last(section: Section) -> Trial | None:
    text = section.text(f"{STATE}/last")
    if isinstance(text, Unknown):
        return None
    fields = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    names = ("release", "version", "result", "gate", "why", "time", "boot_id")
    return Trial(*(fields.get(name, "").strip() for name in names)) if fields.get("result") else None


def _offers(section: Section, kind: str) -> tuple[Offer, ...] | Unknown:
    if "rpm" in section.blocks:
        return _dnf_offers(section)
    text = section.text("policy")
    if isinstance(text, Unknown):
        return Unknown(f"it is not known which kernels apt offers: {text.unknown}")
    ours, releases = _packages(section, kind), brought(section, kind)
    tables = (_table(part, ours) for part in re.split(r"\n(?=\S)", text))
    return tuple(
        replace(offer, release=releases.get((offer.package, offer.candidate), "")) for offer in tables if offer
    )


def _packages(section: Section, kind: str) -> dict[str, bool]:
    """Installed image packages of this flavour, meta packages by what they depend on: name -> held."""
    block = section.blocks.get("dpkg")
    rows = [line.split("|") for line in block.text.splitlines()] if block else []
    found: dict[str, bool] = {}
    for row in rows:
        if len(row) < 5 or row[0][1:2] not in "iUF":
            continue
        images = (
            [release_of(row[1])] if release_of(row[1]) else re.findall(r"linux-image-(?:unsigned-)?(\d\S*)", row[4])
        )
        if any(flavour(image.rstrip(",")) == kind for image in images):
            found[row[1]] = row[0][0] == "h"
    return found


def _table(text: str, ours: dict[str, bool]) -> Offer | None:
    """One package of `apt-cache policy`: Installed, Candidate, and versions with the sources of each."""
    lines = text.splitlines()
    name = lines[0].rstrip(":") if lines else ""
    fields = dict(re.findall(r"^ +(Installed|Candidate): (\S+)$", text, re.MULTILINE))
    if name not in ours or len(fields) != 2:
        return None
    sources: dict[str, list[str]] = {}
    version = ""
    for line in lines:
        if found := re.match(r" (?:\*\*\*|   ) (\S+) -?\d+$", line):
            version = found[1]
        elif (found := re.match(r" {8,}+-?\d+ (\S+ \S+)", line)) and version:
            sources.setdefault(version, []).append(found[1])
    installed = fields["Installed"]
    newer = [found for found in sources if compare_versions(found, installed) > 0]
    newest = max([installed, *newer], key=version_key)
    secure = any(_is_security(source) for found in newer for source in sources[found])
    return Offer(name, installed, fields["Candidate"], newest, secure, ours[name], sourced=bool(sources))


def _is_security(source: str) -> bool:
    """`http://mirror.example/debian-security bookworm-security/main`, `http://…/ubuntu noble-security/main`."""
    return source.split()[-1].partition("/")[0].endswith("-security")


def _dnf_offers(section: Section) -> tuple[Offer, ...] | Unknown:
    dnf, rows = section.text("dnf"), section.blocks["rpm"].text.splitlines()
    if isinstance(dnf, Unknown):
        return Unknown(f"it is not known which kernels dnf offers: {dnf.unknown}")
    installed = [row.split("|")[1:3] for row in rows if row.startswith("kernel-core|") and row.count("|") == 3]
    if not installed:
        return ()
    security = section.text("dnf-security")
    versions, fixes = (
        [] if isinstance(text, Unknown) else [row.split("|")[1:] for row in text.splitlines() if row.count("|") == 2]
        for text in (dnf, security)
    )
    newest = max((version for version, _ in installed), key=version_key)
    best, arch = max([*installed, *versions], key=lambda row: version_key(row[0]))
    secure = any(compare_versions(fix, newest) > 0 for fix, _ in fixes)
    return (Offer("kernel-core", newest, best, best, secure, locked(section), f"{best}.{arch}", bool(versions)),)


def _half(section: Section) -> tuple[str, ...]:
    """dpkg's second letter: U unpacked, F half configured, H half installed, W and t wait for triggers."""
    block = section.blocks.get("dpkg")
    rows = [line.split("|") for line in block.text.splitlines()] if block and block.status == 0 else []
    return tuple(sorted(row[1] for row in rows if len(row) >= 5 and row[0][1:2] in tuple("UFHWt")))


def _numbers(section: Section, name: str) -> list[int]:
    """The number at the start of each line; files that are not there are complaints of stat(1), which have none."""
    block = section.blocks.get(name)
    return [int(number) for number in re.findall(r"^(\d+) /", block.text, re.MULTILINE)] if block else []


def _lists(section: Section) -> int | Unknown:
    times = _numbers(section, "lists")
    return max(times) if times else Unknown("it is not known when the package lists were last refreshed")


def _needed(section: Section) -> int | Unknown:
    sizes = _numbers(section, "sizes")
    return sum(sizes) // 1024 if sizes else Unknown("the running kernel has no files in /boot")


def _free(section: Section) -> int | Unknown:
    text = section.text("room")
    found = None if isinstance(text, Unknown) else re.search(r"\n\S+ +\d+ +\d+ +(\d+) ", text)
    return int(found[1]) if found else Unknown("it is not known how much space /boot has")


def _built(section: Section) -> dict[str, tuple[str, ...]] | Unknown:
    """ls(1) ends with 2 where one of the folders is not there, as at least one of them never is."""
    block = section.block("built")
    if isinstance(block, Unknown):
        return block
    lines = block.text.splitlines()
    if block.status > 2 or any(line.startswith("ls: ") and "No such file" not in line for line in lines):
        return Unknown(f"it is not known which modules DKMS has built: {block.complaint}")
    found: dict[str, set[str]] = {}
    for line in lines:
        if match := re.fullmatch(r"/lib/modules/([^/]+)/(?:[^/]+/)+([^/]+?)\.ko(\.\w+)?", line):
            found.setdefault(match[1], set()).add(match[2])
    return {release: tuple(sorted(names)) for release, names in sorted(found.items())}


_OPINIONS = {"1": NeedRestart.NO_REBOOT, "2": NeedRestart.NEWER_BUILD, "3": NeedRestart.NEWER_RELEASE}


def _needrestart(section: Section) -> NeedRestart:
    text = section.text("needrestart")
    found = None if isinstance(text, Unknown) else re.search(r"^NEEDRESTART-KSTA: (\d)", text, re.MULTILINE)
    return _OPINIONS.get(found[1], NeedRestart.SILENT) if found else NeedRestart.SILENT
