"""The drop-in of systemd-nspawn@.service: the start as it is, with the options that the policy wants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from deploys.core import templates
from deploys.core.change import Blocked, Change, Context, WriteFile
from deploys.core.control import some
from deploys.engines.defaults import Default, Put
from facts.core.reading import known
from facts.engines.nspawn.nspawn import DROP_IN, LIMITS, TEMPLATE, TRUSTED, UNIT, Nspawn, NspawnReading, Start, Word
from facts.engines.nspawn.trees import Tree

SETTINGS = "nspawn-settings"  # accepting it: machines lose what their .nspawn files say otherwise
LIMITED = "nspawn-limits"  # accepting it: machines that run get the limits too
IDS = "nspawn-ids"  # accepting it: files of machines get other owners
FIRST = 65536  # of the ids that machines get for their own
NO = ("no", "false", "0", "off")
Row = Default[NspawnReading]
# Options that say the same, of which the last would count: what is put takes the place of all of them.
SAME: dict[str, tuple[str, ...]] = {"--private-users": ("-U",), "--network-veth": ("-n",)}
# By option: what of a .nspawn file it decides in the place of that (systemd.nspawn(5)).
DECIDES = {
    "--private-users": ("PrivateUsers", "PrivateUsersOwnership", "PrivateUsersChown"),
    "--drop-capability": ("Capability", "DropCapability"),
    "--system-call-filter": ("SystemCallFilter",),
    "--no-new-privileges": ("NoNewPrivileges",),
    "--network-veth": ("Private", "VirtualEthernet", "Bridge", "Zone", "Interface", "MACVLAN", "IPVLAN"),
}
# The arguments that are written again as they are: what else there may be is not shown as it was written.
PLAIN = re.compile(r"--[a-z0-9-]+(=[^;{}\"'\\]*)?|-[abjnqxU]")
START = "have systemd start machines as the policy wants"
RELOAD = "systemctl daemon-reload"
INSTANCE = UNIT.partition("@")[2].removesuffix(".service")


def decided(start: Start, word: Word) -> bool:
    """Whether the start leaves a line of a .nspawn file no say."""
    mode = start.last("--settings") or "yes"
    if mode in ("no", "false", "0") or (mode == "trusted" and not word.at.startswith(TRUSTED)):
        return True
    if mode == "override":
        return False
    given = {option for option, _ in start.options()}
    return any(word.key in keys and given & {option, *SAME.get(option, ())} for option, keys in DECIDES.items())


def losing(reading: NspawnReading, put: Put) -> Iterator[Word]:
    """The lines of .nspawn files that count now, and would not."""
    now = known(reading.start)
    then = Start(tuple(with_options(now.arguments, put)), now.limits)
    for word in reading.words:
        if word.at.partition(":")[0].endswith(".nspawn") and not decided(now, word) and decided(then, word):
            yield word


def owned_anew(reading: NspawnReading, put: Put) -> Iterator[Tree]:
    """What belongs to machines that get ids of their own where no mount can map them: systemd-nspawn gives all of these
    files to the ids, once (--private-users-ownership=auto)."""
    lost = {word.machine for word in losing(reading, put) if word.key == "PrivateUsers" and word.value.lower() in NO}
    for tree in reading.trees:
        if ("--private-users" in put or tree.machine in lost) and not tree.mapped and tree.owner < FIRST:
            yield tree


def with_options(arguments: Sequence[str], put: Put) -> list[str]:
    """The arguments, with these options in place of those that say the same."""
    gone = {name for option in put for name in (option, *SAME.get(option, ()))}
    kept = [argument for argument in arguments if argument.partition("=")[0] not in gone]
    machine = [argument for argument in kept if argument.startswith("--machine")]
    others = [argument for argument in kept if argument not in machine]
    return [*others, *(word for option, value in put.items() for word in _words(option, value)), *machine]


def _words(option: str, value: object) -> list[str]:
    if option in LIMITS:
        return []
    if option == "--system-call-filter":
        return [f"{option}={word}" for word in str(value).split()]
    return [option if value is True else f"{option}={value}"]


def wait(context: Context, put: Put) -> Iterator[Change]:
    lost = list(losing(context.survey[Nspawn], put))
    if lost and not context.accepts(SETTINGS):
        said = some(f"{word.key}={word.value} of {word.machine} ({word.at})" for word in lost)
        why = f"from their next start on, machines lose what their files say otherwise: {said}"
        yield Blocked("nspawn", START, why=why, accepts=(SETTINGS,))
    trees = [tree.path for tree in owned_anew(context.survey[Nspawn], put)]
    if trees and not context.accepts(IDS):
        why = f"machines get ids of their own, and no mount can map them: all files get other owners in {some(trees)}"
        by_hand = "move these to ext4, XFS or btrfs"
        yield Blocked("nspawn", START, why=why, by_hand=by_hand, accepts=(IDS,))


def limit(context: Context) -> Iterator[Change]:
    """systemd writes a changed limit into the control groups of machines that run, sooner or later."""
    running = context.survey[Nspawn].running
    if running and not context.accepts(LIMITED):
        why = f"systemd gives a limit to machines that run too, and what takes more of them is stopped: {some(running)}"
        yield Blocked("nspawn", "have systemd limit what machines take", why=why, accepts=(LIMITED,))


def later(reading: NspawnReading, put: Put) -> Iterator[str]:
    """Files that count after hullproof's, and set one of these."""
    for option in put:
        if file := reading.later.get(option if option in LIMITS else "ExecStart"):
            yield file


def odd(start: Start) -> str:
    """The first word of the start that cannot be written again as it was; "" where all can."""
    template = INSTANCE.rpartition("-")[2]  # what %I, %j and their like leave of a machine's name
    words = (word for word in start.arguments if not PLAIN.fullmatch(word) or template in word.replace(INSTANCE, ""))
    return next(words, "")


def write(context: Context, put: Put, what: str) -> Iterable[Change]:
    """The drop-in, with these options and those that are in force already."""
    if word := odd(known(context.survey[Nspawn].start)):
        why = f"the start of machines cannot be written again as it is: {word[:80]}"
        return [Blocked("nspawn", what, why=why, by_hand=f"set it in the drop-in of {TEMPLATE} that has this start")]
    if waits := list(wait(context, put)):
        return waits
    before, text = known(context.survey[Nspawn].drop_in), text_with(context, put)
    if text == before:
        why = f"a file that is read after {DROP_IN} sets it (systemctl cat {UNIT} shows them): remove it there"
        return [Blocked("nspawn", what, why=why)]
    said = f"{what}, from a machine's next start on; those that run keep what they have, but for limits"
    validate = templates.text("engines/nspawn/validate.sh")
    return [WriteFile("nspawn", said, path=DROP_IN, text=text, before=before, validate=validate, activate=RELOAD)]


def text_with(context: Context, put: Put) -> str:
    reading = context.survey[Nspawn]
    start = known(reading.start)
    own = re.findall(rf"^({'|'.join(LIMITS)})=", known(reading.drop_in) or "", flags=re.MULTILINE)
    limits = {name: value for name in own if (value := start.limits[name]) is not None}
    limits |= {name: value for name, value in put.items() if name in LIMITS}
    arguments = [_escaped(word) for word in with_options(start.arguments, put)]
    return templates.render("engines/nspawn/template.conf.j2", arguments=arguments, limits=limits)


def _escaped(word: str) -> str:
    return word.replace(INSTANCE, "\0").replace("%", "%%").replace("\0", "%i")
