"""How AppArmor is brought into force. Nothing here unloads a profile, since what runs under it would go on unconfined:
no stop or restart of apparmor.service, no aa-teardown, no aa-remove-unknown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from shlex import quote

from deploys.core.change import Blocked, Change, Command, Install, WriteFile
from deploys.core.control import some
from deploys.kernel.boot_parameters import by_hand_entry
from deploys.kernel.grub import MENU, drop_in
from deploys.lsm.controls import BootObstacle
from facts.apparmor import FOLDER, AppArmorReading, Profile
from facts.core.reading import Unknown, known
from facts.kernel.boot import DROP_INS, Boot

NAME = "apparmor"
DROP_IN = f"{DROP_INS}99-hullproof-apparmor.cfg"
UNIT = "apparmor.service"
# Replace in the kernel, and write the cache without reading it: the parser compares times of modification, which an
# undo and a corrected clock set back.
REPLACE = "apparmor_parser -r -T -W"


def install() -> Change:
    """The package enables its service and loads the profiles that it brings."""
    return Install(NAME, "install AppArmor (apparmor_parser)", packages=("apparmor",))


def load_at_boot(reading: AppArmorReading) -> Change:
    was = known(reading.service)
    if was is None:
        why = f"{reading.parser} is installed, but {UNIT} is not: install the package apparmor by hand"
        return Blocked(NAME, f"enable {UNIT} at boot", why=why)
    script = f"systemctl unmask {UNIT} && systemctl enable {UNIT}"
    undo = f"systemctl mask {UNIT}" if was == "masked" else f"systemctl disable {UNIT}"
    return Command(NAME, f"enable {UNIT} at boot (it is {was})", script=script, undo=undo)


def enable(boot: Boot, obstacle: BootObstacle | None) -> Iterator[Change]:
    """Where no boot parameter keeps AppArmor off, only a reboot is missing, which is not a change of this subject."""
    if obstacle:
        yield _boot(boot, obstacle)


def _boot(boot: Boot, obstacle: BootObstacle) -> Change:
    """The last word on a command line counts, so ours turns AppArmor on, and theirs stays where it is."""
    listed = f"lsm={obstacle.value},apparmor"
    word = {"lsm": listed, "security": "security=apparmor"}.get(obstacle.name, "apparmor=1")
    what = f"add {word} to the boot parameters, after {obstacle} (in force after the next reboot)"
    if boot.entry_file:
        return by_hand_entry(NAME, what, boot)
    if boot.loader != "grub":
        why = f"hullproof adds this through GRUB's menu alone, which this host does not have: remove {obstacle} by hand"
        return Blocked(NAME, what, why=why)
    before = boot.defaults.get(DROP_IN)
    if before is not None:
        why = f"{obstacle} comes later on the command line than {DROP_IN}, and wins: remove it where it comes from"
        return Blocked(NAME, what, why=why)
    return WriteFile(NAME, what, path=DROP_IN, text=drop_in(word), before=None, service=MENU)


def load(missing: Sequence[Profile]) -> Change:
    """Loaded profiles stay, and an undo unloads none: what runs under them would go on unconfined."""
    files = sorted({profile.file for profile in missing})
    script = f"{REPLACE} {' '.join(map(quote, files))}"
    what = f"load the AppArmor profiles {some(profile.name for profile in missing)}"
    return Command(NAME, what, script=script, undo="")


def enforce(reading: AppArmorReading, name: str, disk: str) -> Iterator[Change]:
    """Set one profile to enforce mode, on disk and in the kernel, by replacing it (-r)."""
    live = known(reading.profiles).get(name)
    if (disk, live) == ("enforce", "enforce"):
        return
    what = f"enforce the AppArmor profile {name}"
    profile = next((profile for profile in known(reading.declared) if profile.name == name), None)
    if profile is None:
        why = f"no file in {FOLDER} declares it: install it, or remove it from the policy (apparmor.profiles)"
        yield Blocked(NAME, what, why=why)
        return
    file = profile.file.rsplit("/", 1)[-1]
    links = (("disable", reading.disabled), ("force-complain", reading.force_complain))
    unlink = [f"{FOLDER}/{folder}/{file}" for folder, names in links if file in names]
    if unlink or "complain" not in profile.flags:
        yield _replace(what, profile, unlink, live)
    if "complain" in profile.flags:
        before = known(reading.files.get(profile.file, Unknown(f"{profile.file} was not read")))
        yield WriteFile(
            NAME,
            f"{what}: remove the flag complain from {profile.file}",
            path=profile.file,
            text=without_complain(before, profile.name),
            before=before,
            mode="",
            owner="",
            activate=f"{REPLACE} {quote(profile.file)}",
            shared="lines",
        )


def _replace(what: str, profile: Profile, links: Sequence[str], live: str | None) -> Command:
    file = quote(profile.file)
    taken = "".join(f"rm -f {quote(link)} && " for link in links)
    back = "".join(f"ln -s {file} {quote(link)} && " for link in links)
    mode = {None: " -R", "complain": " -rC"}.get(live, REPLACE.removeprefix("apparmor_parser"))
    return Command(NAME, what, script=f"{taken}{REPLACE} {file}", undo=f"{back}apparmor_parser{mode} {file}")


def without_complain(text: str, name: str) -> str:
    """The file without `complain` in the flags of profile `name`; everything else stays."""
    own = re.escape(name.rpartition("//")[2])  # a child's header has its own name alone
    start = rf'[ \t]*(?:profile[ \t]+)?"?{own}"?[ \t{{][^\n]*?'
    header = re.compile(rf"^(?P<head>{start})flags=\((?P<flags>[^)]*)\)[ \t]*", re.MULTILINE)

    def put(match: re.Match[str]) -> str:
        left = [flag for flag in re.split(r"[,\s]+", match["flags"].strip()) if flag != "complain"]
        return f"{match['head']}flags=({','.join(left)}) " if left else match["head"]

    return header.sub(put, text)
