"""Who may speak to a daemon's API: by a group, and through sudo."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from facts.core.numbers import whole_number
from facts.core.reading import Section, Unknown
from facts.engines.docker.shapes import FileMode, GroupUser, SudoLine

DOCKER_GROUP = "docker"
GROUP_BITS = 0o060  # a socket is spoken to by whoever may write to it; with what may be read only, nothing is done


def group_users(section: Section, names: set[str]) -> tuple[GroupUser, ...] | Unknown:
    """Who is in one of these groups, or in another one with the same number: as a member, or by the group of his own
    row in passwd(5). root needs none."""
    groups, users = section.text("groups"), section.text("users")
    for text, what in ((groups, "groups"), (users, "users")):
        if isinstance(text, Unknown) or not re.search("^root:", text, re.M):
            return Unknown(f"getent did not list the host's {what}, so it is not known who is in group docker")
    rows = [*_groups(section, "group"), *_groups(section, "groups")]
    numbers = {number for name, number, _ in rows if name in names or str(number) in names}
    asked = [row for row in rows if row[1] in numbers]
    named = {number: name for name, number, _ in reversed(asked)}
    found = [GroupUser(user, name, primary=False) for name, _, members in asked for user in members]
    for line in str(users).splitlines():
        user, _, text = line.partition(":")
        if (number := whole_number(text)) in named and number is not None:
            found.append(GroupUser(user, named[number], primary=True))
    people = (each for each in dict.fromkeys(found) if each.user != "root")
    return tuple(sorted(people, key=lambda each: (each.user, each.group, each.primary)))


def _groups(section: Section, block: str) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Rows of group(5): `docker:x:102:alice,bob`."""
    text = section.text(block)
    for line in "" if isinstance(text, Unknown) else text.splitlines():
        fields = line.strip().split(":")
        number = whole_number(fields[2]) if len(fields) == 4 else None
        if number is not None:
            yield fields[0], number, tuple(filter(None, fields[3].split(",")))


def socket_groups(files: Iterable[FileMode], sockets: Iterable[str]) -> Iterator[str]:
    """The groups that the API's sockets give themselves to."""
    api = set(sockets)
    return (file.group for file in files if file.path in api and int(file.mode, 8) & GROUP_BITS)


def sudo_lines(section: Section) -> tuple[SudoLine, ...] | Unknown:
    """The lines of sudoers(5) that name Docker, and those that have sudo read other files. sudo skips files whose names
    have a dot or end with ~."""
    block = section.blocks.get("sudoers")
    if block is None:
        return Unknown("/etc/sudoers was not read")
    uid = section.text("uid")
    if isinstance(uid, Unknown) or uid.strip() != "0":
        return Unknown("only root may read /etc/sudoers")
    rows = (line.partition(":") for line in block.text.splitlines() if line.startswith("/etc/sudoers"))
    found = [SudoLine(file, text.strip()) for file, _, text in rows]
    taken = (row for row in found if not re.search(r"/sudoers\.d/(.*\..*|.*~)$", row.file))
    return tuple(row for row in taken if not re.fullmatch(r"[#@]includedir\s+/etc/sudoers\.d", row.text))
