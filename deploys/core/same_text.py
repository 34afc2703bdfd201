"""Whether two files say the same: comments and descriptions, which another version of hullproof writes otherwise or an
admin adds, make no difference to what reads them, so nothing is written, reloaded or judged again for their sake."""

from __future__ import annotations

import re

# A comment of sh, nft, udev, systemd, sysctl or AppArmor, and what systemd shows of a unit; not what programs read in a
# comment's place: an interpreter, an include, when hullproof began to observe a profile.
_SILENT = re.compile(r"\s*(?:[#;](?!!|include\b| observed since )|Description=|Documentation=).*|\s*")


def meaning(text: str) -> list[str]:
    """The lines that are more than a comment."""
    return [line.rstrip() for line in text.split("\n") if not _SILENT.fullmatch(line)]


def same_text(there: str | None, wanted: str) -> bool:
    """Whether a host's file (None: there is none) says what `wanted` says."""
    return there is not None and (there == wanted or meaning(there) == meaning(wanted))
