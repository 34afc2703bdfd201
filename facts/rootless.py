"""Users without root that use user namespaces: for rootless engines, browsers' sandboxes, bubblewrap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from facts.core.reading import Section, Unknown

PEOPLE = range(1000, 60000)  # login.defs(5), UID_MIN to UID_MAX; the ids that containers are mapped to lie above
ENGINES = ("rootlesskit", "podman", "conmon", "catatonit", "slirp4netns", "pasta", "buildah", "lxc-start", "bwrap")

# One process of each namespace: its owner, its name, and its parent's owner, who started a container that runs under
# subordinate ids only. The shell reads this itself, without a process for each.
SCRIPT = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")


def parse(section: Section) -> Mapping[str, tuple[str, ...]] | Unknown:
    """By user, the programs that run in user namespaces; users without a name by their id."""
    text = section.text("rootless")
    if isinstance(text, Unknown):
        return Unknown(f"it is not known which users run programs in user namespaces: {text.unknown}")
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        words = line.split(None, 4)
        if len(words) == 5 and words[1].isdigit() and words[2].isdigit():
            kind, uid, parent, user, what = words[0], int(words[1]), int(words[2]), words[3], words[4]
            if kind == "socket" or uid in PEOPLE or (0 < uid < PEOPLE.start and what.startswith(ENGINES)):
                found.setdefault(user, set()).add(what)
            elif parent in PEOPLE:
                found.setdefault(f"uid {parent}", set()).add(what)
    return {user: tuple(sorted(names)) for user, names in sorted(found.items())}
