"""The boot loader: the next boot's command line, from GRUB's menu or from Boot Loader entries."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown
from facts.core.shared import of_text
from facts.core.versions import version_key

DEFAULTS = "/etc/default/grub"
DROP_INS = "/etc/default/grub.d/"
DROP_IN = f"{DROP_INS}99-hullproof.cfg"  # our own
ENTRIES = "/boot/loader/entries/"
KERNEL_DEFAULTS = "/etc/sysconfig/kernel"
GENERATED = ("", "10_linux", "20_linux_xen")  # scripts of /etc/grub.d that give their entries the configured words
OWN_ENTRY = "hullproof-words"  # the Boot Loader entry for parameters on trial
NOT_ASKED = Unknown("not asked")

# Of grub.cfg and custom.cfg those lines that say what a boot takes.
LINES = (
    r"^[[:space:]]*(menuentry|submenu|function|linux(16|efi)?|(set +)?default=|blscfg|source .*/custom[.]cfg|"
    r"### BEGIN /|\})"
)

SCRIPT = f"""
show /proc/cmdline
lines='{LINES}'
for g in /boot/grub /boot/grub2; do
  [ -e $g/grub.cfg ] || continue
  run "menu $g" grep -E "$lines" $g/grub.cfg
  [ -e $g/custom.cfg ] && run "custom $g" grep -E "$lines" $g/custom.cfg
  run "grubenv $g" grep -a = $g/grubenv
  run grubenv-on findmnt -n -o SOURCE,FSTYPE -T $g
done
for f in {DEFAULTS} {DROP_INS}*.cfg {ENTRIES}*.conf {KERNEL_DEFAULTS}; do [ -e "$f" ] && show "$f"; done
run loaders ls -d /boot/grub /boot/grub2 /boot/efi/loader /efi/loader /boot/loader
"""


@dataclass(frozen=True)
class Boot(Jsonable):
    """`configured`: the parameters of the entry that the next boot takes. `defaults`: the text of /etc/default/grub and
    of its drop-ins, in the order in which update-grub reads them. `once`: why GRUB could not boot an entry a single
    time; "" where it can."""

    loader: str  # "grub", "bls" (GRUB with Boot Loader entries), "none" where there is neither
    entry: str  # the default entry's title or id; "" where it is not known
    configured: tuple[str, ...] | Unknown
    defaults: Mapping[str, str | Unknown]
    release: str = ""  # of the kernel that the default entry boots; "" where it is not known
    releases: tuple[str, ...] = ()  # every release that has an entry
    next_entry: str = ""  # the entry of the next boot alone
    once: str | Unknown = NOT_ASKED
    kernel_defaults: str | Unknown | None = None  # /etc/sysconfig/kernel
    once_words: tuple[str, ...] = ()  # parameters of the next boot alone: `hullproof_once` in grubenv
    entry_file: str = ""  # where the default entry is written by hand, so that update-grub gives it no parameters

    @property
    def own_parameters(self) -> tuple[str, ...]:
        """The parameters that our own drop-in adds."""
        text = self.defaults.get(DROP_IN)
        line = r'^GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX (.*)"$'
        found = re.search(line, text, re.MULTILINE) if isinstance(text, str) else None
        return tuple(found[1].split()) if found else ()


@dataclass(frozen=True)
class Entry:
    title: str
    id: str
    words: tuple[str, ...]  # of its `linux` or `options` line, without the kernel's path
    release: str = ""
    file: str = ""  # the script of /etc/grub.d that it comes from, or custom.cfg


def parse(section: Section) -> Boot:
    defaults = {path: section.text(path) for path in section.blocks if path == DEFAULTS or path.startswith(DROP_INS)}
    for folder in ("/boot/grub", "/boot/grub2"):
        menu = section.blocks.get(f"menu {folder}")
        if menu is not None:
            menu = _with_custom(menu, section.blocks.get(f"custom {folder}"), f"{folder}/custom.cfg")
            return _grub(menu, section.blocks.get(f"grubenv {folder}"), section, defaults)
    loaders = section.blocks.get("loaders")
    there = [line for line in (loaders.text.splitlines() if loaders else []) if line.startswith("/")]
    why = f"the host has no GRUB menu (only {', '.join(there)})" if there else "the host has no boot loader"
    return Boot("none", "", Unknown(f"{why}, so the next boot's command line is not known"), defaults)


def _with_custom(menu: Block, custom: Block | None, path: str) -> Block:
    """GRUB reads custom.cfg at the end of the menu, where the script 41_custom has it do so."""
    if custom is None or menu.status != 0 or "/custom.cfg" not in menu.text:
        return menu
    if custom.status > 1:  # grep(1): 1 is "no such line"
        return Block(custom.status, f"{path}: {custom.complaint}")
    return Block(0, f"{menu.text}\n### BEGIN {path} ###\n{custom.text}")


def _grub(menu: Block, grubenv: Block | None, section: Section, defaults: Mapping[str, str | Unknown]) -> Boot:
    variables = _variables(grubenv)
    bls = "blscfg" in menu.text or not re.search(r"^[ \t]*menuentry", menu.text, re.MULTILINE)
    loader = "bls" if bls and section.matching(ENTRIES) else "grub"
    if menu.status != 0:
        return Boot(loader, "", Unknown(f"grub.cfg: {menu.complaint}"), defaults)
    bls_entries = _bls_entries(section) if loader == "bls" else []
    entry = _bls_default(bls_entries, variables) if loader == "bls" else _menu_default(menu.text, variables)
    all_entries = _entries(read_menu(menu.text)) if loader == "grub" else bls_entries
    there = [] if isinstance(all_entries, Unknown) else [found.release for found in all_entries if found.release]
    known_entry = None if isinstance(entry, Unknown) else entry
    return Boot(
        loader,
        (known_entry.id or known_entry.title) if known_entry else "",
        entry if isinstance(entry, Unknown) else _expand(entry.words, variables),
        defaults,
        release=known_entry.release if known_entry else "",
        releases=tuple(sorted(set(there))),
        next_entry=variables.get("next_entry", ""),
        once=_once(section),
        kernel_defaults=section.file(KERNEL_DEFAULTS) if KERNEL_DEFAULTS in section.blocks else None,
        once_words=_once_words(variables, bls_entries),
        entry_file=known_entry.file if known_entry else "",
    )


def _once_words(variables: Mapping[str, str], entries: list[Entry] | Unknown) -> tuple[str, ...]:
    """From our variable in GRUB's environment; or from an entry of their own that GRUB boots a single time."""
    own = [] if isinstance(entries, Unknown) or variables.get("next_entry") != OWN_ENTRY else entries
    of_entry = (word for entry in own if entry.id == OWN_ENTRY for word in entry.words)
    return (*variables.get("hullproof_once", "").split(), *of_entry)


def _entries(menu: Menu) -> list[Entry]:
    return [entry for item in menu.items for entry in (_entries(item) if isinstance(item, Menu) else [item])]


def _once(section: Section) -> str | Unknown:
    """GRUB can write its environment block only on plain disks and some file systems."""
    text = section.text("grubenv-on")
    if isinstance(text, Unknown) or len(text.split()) != 2:
        return Unknown("it is not known on which file system GRUB's environment file is")
    source, kind = text.split()
    if re.match(r"/dev/(mapper/|dm-|md)", source):
        return f"GRUB cannot write its environment on {source} (LVM, RAID or encrypted)"
    return "" if kind in ("ext2", "ext3", "ext4", "xfs", "vfat") else f"GRUB cannot write its environment on {kind}"


def _variables(grubenv: Block | None) -> dict[str, str]:
    if grubenv is None or grubenv.status != 0:
        return {}
    pairs = (line.partition("=") for line in grubenv.text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _expand(words: tuple[str, ...], variables: Mapping[str, str]) -> tuple[str, ...] | Unknown:
    """Replace `$kernelopts` and the like, whose values are in grubenv; some are empty where they are not set."""
    known_empty = {"tuned_params": "", "early_initrd": "", "hullproof": "", "kernelopts": None}
    out: list[str] = []
    for word in words:
        if not (name := re.fullmatch(r"\$\{?(\w+)\}?", word)):
            out.append(word)
            continue
        value = variables.get(name[1], known_empty.get(name[1]))
        if value is None:
            return Unknown(f"the boot entry uses {word}, which grubenv does not set")
        out += value.split()
    return tuple(out)


def _menu_default(text: str, variables: Mapping[str, str]) -> Entry | Unknown:
    menu = read_menu(text)
    if menu.direct and not menu.items:
        return Entry("without a menu", "", menu.direct)
    values = re.findall(r"""^[ \t]*(?:set +)?default=["']?([^"'\n]*)""", text, re.MULTILINE)
    wanted = next((value for value in reversed(values) if value != "${next_entry}"), "0")
    if wanted == "${saved_entry}":
        wanted = variables.get("saved_entry", "") or "0"
    entry = _choose(menu, wanted.split(">"))
    return entry or Unknown(f"grub.cfg: the default entry {wanted!r} is not in the menu")


@dataclass
class Menu:
    """A menu or submenu of grub.cfg. `direct`: the words of a `linux` line outside of any entry."""

    title: str
    id: str
    items: list[Menu | Entry]
    direct: tuple[str, ...] = ()


def _choose(menu: Menu, way: list[str]) -> Entry | None:
    """The entry that `way` leads to: a position, id or title per level. GRUB takes the first of a submenu."""
    if not menu.items:
        return None
    name = way[0] if way else "0"
    number = whole_number(name)
    if number is not None:
        item = menu.items[number] if number < len(menu.items) else None
    else:
        item = next((item for item in menu.items if name in (item.id, item.title)), None)
    return _choose(item, way[1:]) if isinstance(item, Menu) else item


def read_menu(text: str) -> Menu:
    """The menu of a grub.cfg, from its menuentry, submenu, linux and closing lines."""
    root = Menu("", "", [])
    open_: list[Menu | Entry | None] = [root]  # None: a function's body
    file = ""
    for line in map(str.strip, text.splitlines()):
        kind = line.split(None, 1)[0] if line else ""
        if kind in ("menuentry", "submenu", "function"):
            item = None if kind == "function" else _item(kind, line, file)
            parent = open_[-1]
            if item and isinstance(parent, Menu):
                parent.items.append(item)
            open_.append(item)
        elif kind.startswith("linux"):
            _give_words(open_, line)
        elif begin := re.match(r"### BEGIN (/\S+) ###", line):
            file = begin[1] if begin[1].rpartition("/")[2] not in GENERATED else ""
        elif kind == "}" and len(open_) > 1:
            open_.pop()
    return root


def _item(kind: str, line: str, file: str) -> Menu | Entry:
    words = _words(line)
    title = words[1] if len(words) > 1 else ""
    id_ = words[words.index("$menuentry_id_option") + 1] if "$menuentry_id_option" in words[:-1] else ""
    return Menu(title, id_, []) if kind == "submenu" else Entry(title, id_, (), file=file)


@of_text
def _words(line: str) -> list[str]:
    """Of one host's menu most lines are another's too."""
    try:
        return shlex.split(line.rstrip("{ "))
    except ValueError:
        return line.split()


def _give_words(open_: list[Menu | Entry | None], line: str) -> None:
    """Put a `linux` line's words on the entry that is open."""
    entry, parent = open_[-1], open_[-2] if len(open_) > 1 else None
    if isinstance(entry, Menu):
        entry.direct = tuple(line.split()[2:])
    if isinstance(entry, Entry) and isinstance(parent, Menu):
        done = Entry(entry.title, entry.id, tuple(line.split()[2:]), _release(line.split()[1:2]), entry.file)
        parent.items[-1] = open_[-1] = done


def _release(path: list[str]) -> str:
    """`/boot/vmlinuz-6.1.0-50-amd64` boots that release."""
    found = re.search(r"vmlinu[xz]-([^/]+)$", path[0]) if path else None
    return found[1] if found else ""


def _bls_entries(section: Section) -> list[Entry] | Unknown:
    """Boot Loader Specification: a file per entry, the highest version first."""
    entries: list[Entry] = []
    for name, block in section.matching(ENTRIES).items():
        if block.status != 0:
            return Unknown(f"{ENTRIES}{name}: {block.complaint}")
        fields = dict(line.split(None, 1) for line in block.text.splitlines() if len(line.split(None, 1)) == 2)
        words = tuple(fields.get("options", "").split())
        release = _release(fields.get("linux", "").split()[:1])
        entries.append(Entry(fields.get("title", ""), name.removesuffix(".conf"), words, release))
    return sorted(entries, key=lambda entry: version_key(entry.id), reverse=True)


def _bls_default(entries: list[Entry] | Unknown, variables: Mapping[str, str]) -> Entry | Unknown:
    """The entry named by saved_entry, else the first."""
    if isinstance(entries, Unknown):
        return entries
    saved = variables.get("saved_entry", "")
    number = whole_number(saved)
    if number is not None:
        return entries[number] if number < len(entries) else Unknown(f"no boot entry number {saved}")
    named = [entry for entry in entries if saved in (entry.id, entry.title)]
    return named[0] if named else entries[0]
