"""AppArmor: whether the kernel runs it, whether the host can load profiles, and which profile is in which mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from facts import profiles
from facts.core.fact import SectionFact
from facts.core.json_text import load
from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown, known
from facts.selinux import parameters

ENABLED = "/sys/module/apparmor/parameters/enabled"
LOADED = "/sys/kernel/security/apparmor/profiles"
FOLDER = "/etc/apparmor.d"
POLICY = "/sys/kernel/security/apparmor/policy/profiles"
CACHE = "/var/cache/apparmor"
UNIT_DROP_IN = "/etc/systemd/system/docker.service.d/50-hullproof-apparmor.conf"
# Profiles that hullproof writes, and their files.
OURS = {"hullproof-container": f"{FOLDER}/hullproof-container", "docker-default": f"{FOLDER}/hullproof-docker-default"}
# Files in the folder that apparmor.service skips (rc.apparmor.functions, skip_profile).
SKIPPED = re.compile(r"(~|\.(dpkg-(new|old|dist|bak|remove)|rpm(new|save)|orig|rej|pac(new|save)))$")
PARAMETERS = ("apparmor", "security", "lsm")


@dataclass(frozen=True)
class Profile(Jsonable):
    """A profile as a file declares it: `flags=(complain)`, `flags=(unconfined)`, `attach_disconnected` …"""

    name: str
    file: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Running(Jsonable):
    executable: str
    profile: str


@dataclass(frozen=True)
class AppArmorReading(Jsonable):
    """See apparmor(7), apparmor.d(5), aa-status(8)."""

    enabled: bool | Unknown | None  # in the running kernel; None: the kernel was built without AppArmor
    parser: str | Unknown | None  # apparmor_parser's path; without it no profile gets into the kernel
    package: str | Unknown | None  # version of package apparmor; None: not installed
    service: str | Unknown | None  # apparmor.service: enabled, disabled, masked …; None: no such unit
    command_line: dict[str, str] | Unknown  # of apparmor, security and lsm those given to the running kernel
    profiles: dict[str, str] | Unknown  # loaded: name to enforce, complain, kill, unconfined, prompt
    declared: tuple[Profile, ...] | Unknown  # in /etc/apparmor.d
    unconfined: tuple[Running, ...] | Unknown  # running without the profile that is loaded for their executable
    disabled: tuple[str, ...]  # file names in /etc/apparmor.d/disable
    force_complain: tuple[str, ...]  # file names in /etc/apparmor.d/force-complain
    files: dict[str, str | Unknown]  # path to text: our own files and those that declare a profile in complain
    current: dict[str, bool | Unknown]  # of OURS with a file: whether the kernel has loaded what it compiles to
    allowed: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of docker-default: see facts.profiles
    replaced: int | None = None  # when docker-default was loaded or replaced; None where the kernel does not tell

    def observed_since(self, name: str) -> int | None:
        """When the observation of this profile began, as hullproof noted in its file, in seconds since the epoch; None
        where the file has no such note."""
        text = self.files.get(OURS[name])
        match = re.search(r"^# observed since (\d+)", text, re.MULTILINE) if isinstance(text, str) else None
        return whole_number(match[1]) if match else None

    @property
    def by_design(self) -> frozenset[str]:
        """Profiles that their files declare as unconfined: they only name a program, and are not a defect."""
        declared = () if isinstance(self.declared, Unknown) else self.declared
        return frozenset(profile.name for profile in declared if "unconfined" in profile.flags)

    @property
    def of_others(self) -> tuple[Profile, ...]:
        """Profiles that the next boot loads, without ours, and without names that contain a variable or are of a policy
        namespace (`:NAMESPACE:NAME`): these confine what runs in it, and the kernel's list may have others of it."""
        idle = {f"{FOLDER}/{name}" for name in self.disabled} | set(OURS.values())
        return tuple(p for p in known(self.declared) if p.file not in idle and "@{" not in p.name and p.name[0] != ":")

    @property
    def not_loaded(self) -> tuple[Profile, ...]:
        """Those of them that the kernel has not loaded."""
        loaded = known(self.profiles)
        return tuple(profile for profile in self.of_others if profile.name not in loaded)


class AppArmor(SectionFact[AppArmorReading]):
    """AppArmor in the kernel (sysfs, securityfs), on disk (/etc/apparmor.d) and in its service."""

    key: ClassVar[str] = "apparmor"
    script: ClassVar[str] = (
        f"ENABLED={ENABLED} LOADED={LOADED} POLICY={POLICY} FOLDER={FOLDER} CACHE={CACHE}\n"
        f"UNIT_DROP_IN={UNIT_DROP_IN} OURS='{' '.join(f'{name}={file}' for name, file in OURS.items())}'\n"
        + profiles.SCRIPT
        + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
    )

    @staticmethod
    def parse(section: Section) -> AppArmorReading:
        return AppArmorReading(
            enabled=_enabled(section),
            parser=section.program("parser", "apparmor_parser"),
            package=_package(section),
            service=_service(section),
            command_line=parameters(section.text("/proc/cmdline"), PARAMETERS),
            profiles=_loaded(section),
            declared=_declared(section),
            unconfined=_unconfined(section),
            disabled=_names(section.blocks.get("disable")),
            force_complain=_names(section.blocks.get("force-complain")),
            files=_files(section),
            allowed=profiles.read_allowed(section.blocks.get("allowed")),
            replaced=_replaced(section.blocks.get("replaced")),
            current={name: _current(block) for name, block in section.matching("digests ").items()},
        )


def _enabled(section: Section) -> bool | Unknown | None:
    text = section.file(ENABLED)
    if not isinstance(text, str):
        return text
    return {"Y": True, "N": False}.get(text.strip(), Unknown(f"{ENABLED} holds neither Y nor N"))


def _package(section: Section) -> str | Unknown | None:
    block = section.blocks.get("package")
    if block is None:
        return Unknown("it is not known whether AppArmor is installed: the host has neither dpkg nor rpm")
    status, _, version = block.text.strip().partition(" ")
    if block.status == 0 and re.fullmatch(r"[a-z-]+", status):
        return version if status == "installed" else None
    absent = "no packages found" in block.text or "is not installed" in block.text
    return None if absent else Unknown(f"package apparmor: {block.complaint}")


def _service(section: Section) -> str | Unknown | None:
    """systemctl(1) is-enabled: one word; its status is not 0 for `disabled` and its like."""
    block = section.block("service")
    if isinstance(block, Unknown):
        return Unknown("it is not known whether apparmor.service is enabled: the host does not run systemd")
    answer = block.text.strip()
    if answer == "not-found" or "No such file or directory" in answer:
        return None
    return answer if re.fullmatch(r"[a-z-]+", answer) else Unknown(f"apparmor.service: {block.complaint}")


def _loaded(section: Section) -> dict[str, str] | Unknown:
    """Lines such as `docker-default (enforce)`; a name may hold spaces and brackets."""
    text = section.file(LOADED)
    if isinstance(text, Unknown):
        return text
    if text is None:
        absent = Unknown(f"{LOADED} does not exist: is securityfs mounted?")
        return {} if _enabled(section) in (False, None) else absent
    found = [re.fullmatch(r"(.+) \(([a-z]+)\)", line) for line in text.splitlines() if line.strip()]
    if not all(found):
        return Unknown(f"{LOADED} has a line that does not name a profile")
    return {match[1]: match[2] for match in found if match}


def _declared(section: Section) -> tuple[Profile, ...] | Unknown:
    block = section.blocks.get("declared")
    if block is None:
        return ()
    if block.status > 1:  # grep(1): 1 is "no such line"
        return Unknown(f"{FOLDER}: {block.complaint}")
    return tuple(_headers(block.text))


def _headers(text: str) -> Iterator[Profile]:
    """`profile NAME [ATTACHMENT] [flags=(a,b)] {` or `/PATH flags=(a b) {`, each after its file's name. An indented
    one is a child of the profile before it, which the kernel calls PARENT//CHILD."""
    parents: dict[str, str] = {}
    for line in text.splitlines():
        file, _, header = line.partition(":")
        if SKIPPED.search(file):
            continue
        words = re.match(r'(\s*)(?:profile\s+)?("[^"]+"|[^\s{#]\S*)', header)
        if not words:
            continue
        name = words[2].strip('"')
        if words[1] and file in parents:
            name = f"{parents[file]}//{name}"
        else:
            parents[file] = name
        flags = re.search(r"flags=\(([^()]*)\)", header)
        yield Profile(name, file, tuple(re.split(r"[,\s]+", flags[1].strip())) if flags else ())


def _unconfined(section: Section) -> tuple[Running, ...] | Unknown:
    """aa-status(8) says so in JSON; its status is 2 where no profile is loaded."""
    block = section.blocks.get("status")
    if block is None:
        return Unknown("it is not known which processes run without their profile: aa-status is not installed")
    try:
        running = load(block.text)["processes"]
        rows = [(executable, row) for executable, found in running.items() for row in found]
        found = {Running(executable, row["profile"]) for executable, row in rows if row["status"] == "unconfined"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unknown(f"aa-status: {block.complaint}")
    return tuple(sorted(found, key=lambda row: (row.executable, row.profile)))


def _files(section: Section) -> dict[str, str | Unknown]:
    """Files shown whole, and those that grep(1) read in one go: each line after its file's name."""
    found = {path: section.text(path) for path in section.blocks if path.startswith((f"{FOLDER}/", UNIT_DROP_IN))}
    texts: dict[str, list[str]] = {}
    block = section.blocks.get("complain")
    for line in block.text.split("\n")[:-1] if block else ():
        path, colon, rest = line.partition(":")
        if colon and path.startswith(f"{FOLDER}/"):
            texts.setdefault(path, []).append(f"{rest}\n")
    return {**{path: "".join(lines) for path, lines in texts.items()}, **found}


def _current(block: Block) -> bool | Unknown:
    """The parser caches what it compiles a file to, and the kernel gives the digest of what was loaded."""
    lines = [line.split() for line in block.text.splitlines() if re.match(r"[0-9a-f]{40}", line)]
    loaded = {words[0] for words in lines if len(words) == 1}
    compiled = {words[0] for words in lines if len(words) > 1}
    if loaded and compiled:
        return bool(loaded & compiled)
    return Unknown("neither the kernel nor the parser's cache tells which file the loaded profile was compiled from")


def _replaced(block: Block | None) -> int | None:
    return whole_number(block.text.split()[-1]) if block and block.status == 0 and block.text.split() else None


def _names(block: Block | None) -> tuple[str, ...]:
    return tuple(sorted(block.text.split())) if block and block.status == 0 else ()
