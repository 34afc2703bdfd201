"""Kernel packages: which are installed, held and on offer, and whether the running kernel is the newest of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from facts.core.numbers import whole_number
from facts.core.reading import Jsonable, Section, Unknown
from facts.core.versions import compare_versions, version_key

# The package manager's indexes only, never the network: `apt-cache`, `dnf -C`. needs-restarting(1) takes long and
# is often missing; what it compares, install times with the boot, is asked of rpm directly.
SCRIPT = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Package(Jsonable):
    """An installed kernel image: `release` is what uname -r says of it."""

    name: str
    version: str
    release: str
    held: bool


@dataclass(frozen=True)
class Reboot(Jsonable):
    """Whether the host needs a reboot to run what is installed, and why."""

    needed: bool
    why: str


@dataclass(frozen=True)
class Running(Jsonable):
    release: str  # uname -r
    build: str  # uname -v
    machine: str  # uname -m
    version: str  # the package version it was built as; "" where the build does not tell


def running(section: Section) -> Running | Unknown:
    text = section.text("uname")
    if isinstance(text, Unknown):
        return text
    words = text.split()
    if len(words) < 3:
        return Unknown("uname printed no release, build and machine")
    release, build, machine = words[0], " ".join(words[1:-1]), words[-1]
    return Running(release, build, machine, built_version(release, build))


def built_version(release: str, build: str) -> str:
    """The package version in `uname -v`; an update that keeps the release (the ABI) changes only this.

    Debian: `#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-…)`; Ubuntu: release `6.8.0-71-generic` with build
    `#71~22.04.1-Ubuntu` is 6.8.0-71.71~22.04.1; RHEL: the release without its architecture."""
    if found := re.search(r"\bDebian (\S+)", build):
        return found[1]
    if found := re.match(r"#(\S+)-Ubuntu\b", build):
        abi = re.match(r"[\d.]+-\d+", release)
        return f"{abi[0]}.{found[1]}" if abi else ""
    if found := re.fullmatch(r"(.+\.el\w+)\.\w+", release):
        return found[1]
    return ""


def flavour(release: str) -> str:
    """What follows the version in a release: `cloud-amd64` of 6.1.0-50-cloud-amd64; "" for RHEL."""
    found = re.search(r"-([a-z].*)", release)
    return found[1] if found else ""


def installed(section: Section) -> tuple[Package, ...] | Unknown:
    """The installed kernel images, oldest first."""
    if "dpkg" in section.blocks:
        return _ordered(_dpkg(section))
    if "rpm" in section.blocks:
        return _ordered(_rpm(section))
    return Unknown("it is not known which kernels are installed: the host has neither dpkg nor rpm")


def _ordered(packages: list[Package] | Unknown) -> tuple[Package, ...] | Unknown:
    if isinstance(packages, Unknown):
        return packages
    return tuple(sorted(packages, key=lambda package: version_key(package.version)))


def _dpkg(section: Section) -> list[Package] | Unknown:
    """Rows `hi |linux-image-6.1.0-50-amd64|6.1.192-2|amd64|…`: first letter h is a hold, second i is installed."""
    block = section.blocks["dpkg"]
    if block.status != 0 and "no packages found" not in block.text:
        return Unknown(f"dpkg: {block.complaint}")
    rows = [line.split("|") for line in block.text.splitlines()]
    images = [(row, release_of(row[1])) for row in rows if len(row) >= 5 and row[0][1:2] == "i"]
    return [Package(row[1], row[2], release, row[0][0] == "h") for row, release in images if release]


def release_of(package: str) -> str:
    """The release that an image package installs; "" for meta and debug packages."""
    found = re.fullmatch(r"linux-image-(?:unsigned-)?(\d\S*?)(?:-unsigned)?", package)
    return found[1] if found and not package.endswith(("-dbg", "-dbgsym")) else ""


def _rpm(section: Section) -> list[Package] | Unknown:
    rows = _rpm_rows(section)
    if not rows:
        return Unknown(f"rpm: {section.blocks['rpm'].complaint}")
    held = locked(section)
    return [Package(name, version, f"{version}.{arch}", held) for name, version, arch, _ in rows if "kernel" in name]


def locked(section: Section) -> bool:
    """Whether a version lock or an exclude keeps dnf from upgrading kernels."""
    locks = section.blocks.get("locks")
    return bool(locks and re.search(r":(?!\s*#).*kernel", locks.text))


def _rpm_rows(section: Section) -> list[list[str]]:
    lines = section.blocks["rpm"].text.splitlines() if "rpm" in section.blocks else []
    return [row for line in lines if len(row := line.split("|")) == 4]


def candidate(section: Section, release: str) -> str | Unknown:
    """The newest version, of the running flavour, that the package manager's own indexes offer."""
    if "rpm" in section.blocks:
        dnf = section.text("dnf")
        if isinstance(dnf, Unknown):
            return Unknown(f"it is not known what the repositories offer: {dnf.unknown}")
        return _newest(row[1] for line in dnf.splitlines() if len(row := line.split("|")) == 3)
    apt = section.blocks.get("apt")
    if apt is None:
        return Unknown("apt has no package lists, or no kernel package is installed")
    return _newest(image.version for image in _apt_images(apt.text, flavour(release)))


@dataclass(frozen=True)
class Image:
    """A kernel image, by the package that is it or asks for it."""

    package: str
    package_version: str
    release: str
    version: str


def _apt_images(text: str, wanted: str) -> Iterable[Image]:
    """From `apt-cache show`: the images of a flavour, and what meta packages depend on."""
    name = version = ""
    for line in text.splitlines():
        field, _, value = line.partition(": ")
        if field == "Package":
            name = value
        elif field == "Version":
            version = value
            if (release := release_of(name)) and flavour(release) == wanted:
                yield Image(name, version, release, version)
        elif field == "Depends" and not release_of(name):
            yield from _image_dependency(name, version, value, wanted)


def _image_dependency(name: str, version: str, depends: str, wanted: str) -> Iterable[Image]:
    """Debian names the version, `linux-image-6.1.0-51-amd64 (= 6.1.193-1)`; Ubuntu's meta package has the image's."""
    for package, exact in re.findall(r"(linux-image-\d[^\s,]*)(?: \(= ([^)\s]+)\))?", depends):
        if flavour(release := release_of(package)) == wanted:
            yield Image(name, version, release, exact or version)


def brought(section: Section, kind: str) -> dict[tuple[str, str], str]:
    """The release that the candidate of each package is or asks for, by the package's name and version."""
    apt = section.blocks.get("apt")
    images = _apt_images(apt.text, kind) if apt else ()
    return {(image.package, image.package_version): image.release for image in images}


def _newest(versions: Iterable[str]) -> str | Unknown:
    newest = max(versions, key=version_key, default=None)
    return newest or Unknown("no kernel of this flavour is in the package manager's indexes")


def reboot(section: Section, now: Running | Unknown, packages: tuple[Package, ...] | Unknown) -> Reboot | Unknown:
    """By comparing the newest installed kernel with the running one; else as the distribution itself asks for it."""
    by_kernel = _by_kernel(now, packages)
    if isinstance(by_kernel, Reboot) and by_kernel.needed:
        return by_kernel
    if "/run/reboot-required" in section.blocks:
        asked = section.blocks.get("/run/reboot-required.pkgs")
        names = ", ".join(sorted(set(asked.text.split()))) if asked and asked.status == 0 else ""
        return Reboot(True, f"the distribution asks for a reboot (/run/reboot-required){names and f' for {names}'}")
    if later := _installed_since_boot(section):
        return Reboot(True, f"{', '.join(later)} was installed after this boot")
    return by_kernel


def _by_kernel(now: Running | Unknown, packages: tuple[Package, ...] | Unknown) -> Reboot | Unknown:
    if isinstance(now, Unknown):
        return now
    if isinstance(packages, Unknown):
        return packages
    same = [package for package in packages if flavour(package.release) == flavour(now.release)]
    if not same:
        return Unknown(f"no installed package has a kernel of the running {now.release}'s flavour")
    newest = same[-1]
    if not now.version:
        return Unknown(f"the running kernel {now.release} ({now.build}) does not tell its package version")
    order = compare_versions(newest.version, now.version)
    if order > 0:
        running, installed = f"{now.release} {now.version}", f"{newest.release} {newest.version}"
        return Reboot(True, f"{running} is running, and the newer {installed} is installed")
    if order < 0:
        return Unknown(f"the running kernel ({now.version}) is newer than any installed one ({newest.version})")
    return Reboot(False, f"the newest installed kernel, {newest.release} {newest.version}, is running")


def _installed_since_boot(section: Section) -> list[str]:
    """needs-restarting's rule: packages that take effect at boot, installed later than the boot."""
    boot = section.blocks.get("btime")
    found = re.search(r"btime (\d+)", boot.text) if boot else None
    if not found:
        return []
    return sorted({row[0] for row in _rpm_rows(section) if (whole_number(row[3]) or 0) > int(found[1])})
