"""What puts AppArmor right. Nothing here unloads a profile that is loaded: what runs under it would stay unconfined
(so no stop or restart of apparmor.service, no aa-teardown, no aa-remove-unknown)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from shlex import quote

from deploys.core.change import Blocked, Change, Command, Context, Install, WriteFile
from deploys.core.control import some
from deploys.engines.restart import start_anew
from deploys.kernel.grub import MENU, drop_in
from facts.apparmor import FOLDER, AppArmorReading, Profile
from facts.core.reading import known
from facts.engines.docker.docker import Container, Docker
from facts.kernel.boot import DROP_INS, Boot

SUBJECT = "apparmor"
DROP_IN = f"{DROP_INS}99-hullproof-apparmor.cfg"
UNIT = "apparmor.service"
# Replace in the kernel, and write the cache without a look at it: the parser goes by times of modification, and an undo
# brings the older one back, as a clock that was put right may.
REPLACE = "apparmor_parser -r -T -W"


def install() -> Change:
    """The package enables its service and loads the profiles that it brings."""
    return Install(SUBJECT, "install AppArmor's parser", packages=("apparmor",))


def load_at_boot(reading: AppArmorReading) -> Change:
    was = known(reading.service)
    if was is None:
        return Blocked(
            SUBJECT,
            f"enable {UNIT} at boot",
            why=f"{reading.parser} is there without its service: install package apparmor by hand",
        )
    script = f"systemctl unmask {UNIT} && systemctl enable {UNIT}"
    undo = f"systemctl mask {UNIT}" if was == "masked" else f"systemctl disable {UNIT}"
    return Command(SUBJECT, f"enable {UNIT} at boot (it is {was})", script=script, undo=undo)


def enable(boot: Boot, bar: str | None) -> Iterator[Change]:
    """Where nothing on disk bars AppArmor, only a reboot is wanted, which is no change of ours."""
    if bar:
        yield _boot(boot, bar)


def _boot(boot: Boot, bar: str) -> Change:
    """The last word on a command line counts, so ours after theirs turns AppArmor on; theirs stays as it is."""
    name, _, value = bar.partition("=")
    word = {"lsm": f"lsm={value},apparmor", "security": "security=apparmor"}.get(name, "apparmor=1")
    what = f"add {word} to the boot parameters, after {bar} (from the next reboot on)"
    if boot.loader != "grub":
        return Blocked(SUBJECT, what, why=f"the boot loader is not GRUB's menu; take {bar} away where it is given")
    before = boot.defaults.get(DROP_IN)
    if before is not None:
        return Blocked(SUBJECT, what, why=f"{DROP_IN} is there and {bar} still counts: it is given after ours")
    return WriteFile(SUBJECT, what, path=DROP_IN, text=drop_in(word), before=None, service=MENU)


def load(missing: Sequence[Profile]) -> Change:
    """What is loaded stays, and an undo takes none away again: what runs would run unconfined."""
    files = sorted({profile.file for profile in missing})
    script = f"{REPLACE} {' '.join(map(quote, files))}"
    what = f"load the AppArmor profiles that are on disk only: {some(profile.name for profile in missing)}"
    return Command(SUBJECT, what, script=script, undo="")


def enforce(reading: AppArmorReading, name: str, disk: str) -> Iterator[Change]:
    """Bring one profile to enforce, on disk and in the kernel, by replacing it (-r)."""
    live = known(reading.profiles).get(name)
    if (disk, live) == ("enforce", "enforce"):
        return
    what = f"enforce the AppArmor profile {name}"
    profile = next((profile for profile in known(reading.declared) if profile.name == name), None)
    if profile is None:
        yield Blocked(SUBJECT, what, why=f"no file in {FOLDER} declares it")
        return
    unlink = [f"{FOLDER}/{folder}/{file}" for folder, names in
              (("disable", reading.disabled), ("force-complain", reading.force_complain))
              if (file := profile.file.rsplit("/", 1)[-1]) in names]  # fmt: skip
    if unlink or "complain" not in profile.flags:
        yield _replace(what, profile, unlink, live)
    if "complain" in profile.flags:
        before = known(reading.files[profile.file])
        yield WriteFile(SUBJECT, f"{what}: take complain out of {profile.file}", path=profile.file, mode="", owner="",
                        before=before, text=without_complain(before, profile.name), shared="lines",
                        activate=f"{REPLACE} {quote(profile.file)}")  # fmt: skip


def _replace(what: str, profile: Profile, links: Sequence[str], live: str | None) -> Command:
    file = quote(profile.file)
    taken = "".join(f"rm -f {quote(link)} && " for link in links)
    back = "".join(f"ln -s {file} {quote(link)} && " for link in links)
    mode = {None: " -R", "complain": " -rC"}.get(live, REPLACE.removeprefix("apparmor_parser"))
    return Command(SUBJECT, what, script=f"{taken}{REPLACE} {file}", undo=f"{back}apparmor_parser{mode} {file}")


def without_complain(text: str, name: str) -> str:
    """The file with `complain` out of the flags of profile `name`; what stands there otherwise stays."""
    own = re.escape(name.rpartition("//")[2])  # a child's header has its own name alone
    start = rf'[ \t]*(?:profile[ \t]+)?"?{own}"?[ \t{{][^\n]*?'
    header = re.compile(rf"^(?P<head>{start})flags=\((?P<flags>[^)]*)\)[ \t]*", re.MULTILINE)

    def put(match: re.Match[str]) -> str:
        left = [flag for flag in re.split(r"[,\s]+", match["flags"].strip()) if flag != "complain"]
        return f"{match['head']}flags=({','.join(left)}) " if left else match["head"]

    return header.sub(put, text)


def confine(context: Context, late: Sequence[Container], able: bool, control: str) -> Iterator[Change]:
    """Docker loads docker-default when it starts, and looks for the parser only then."""
    if known(context.survey[Docker].running):
        why = "containers started before there was a profile get theirs" if able else "it loads its AppArmor profile"
        yield from start_anew(context, SUBJECT, why, control, late, daemon=not able)
