"""Making untrusted values safe to print and to keep: what a host says, and what a policy file holds.

Everything that is shown, reported or logged comes through here, so here too secrets are left out: by the names of keys,
and of addresses the part that logs in.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

TEXT = 2_000  # characters of one string
ITEMS = 500  # of one list or mapping
DEPTH = 12
AGAIN = 200  # characters up to which what came of a string is kept

# A whole CSI sequence: colours, cursor movement, erasing. Longer ones (titles, links) are not matched as a whole, for
# what has no end would take our own words after it along; they lose their control characters and stay as text.
CSI = re.compile(r"(?:\x1b\[|\x9b)[0-9;:?<=>]{0,32}[@-~]")

HIDDEN = "(not shown)"
MARK = "\0"  # in place of it meanwhile: one character, and no blank
# Keys whose values are secret: daemon.json's proxies, the logins of registries and log drivers, environments.
SECRET = re.compile(
    r"passw(?:or)?d|passphrase|[_.-]pass(?![a-z])|secret|token|credential|(?:api|private)[-_]?key|registry[-_]?auth"
    r"|(?<![a-z])(?:auths?|authorization(?!-plugins)|env|environment|(?:https?|ftp|all)[-_]?prox(?:y|ies))(?![a-z])"
    r"|^proxies$",
    re.IGNORECASE,
)
# Of these a list or a mapping is hidden as a whole. Other keys may be names: a network called prod-env.
WHOLE = frozenset(
    ("auth", "auths", "credentials", "env", "environment", "password", "passwords", "proxies", "secret", "secrets",
     "token", "tokens")
)  # fmt: skip
HINTS = ("pass", "secret", "token", "credential", "key", "auth", "env", "prox")  # one of these is in each, and is quick
SAYS_NOTHING = ("", MARK, "true", "false", "null", "None", "True", "False")
UNBROKEN = re.compile(r"""[^\s"'<>]+""")
SCHEME = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]{0,30}://)")
# `"key": `, `key=` or `key = `. A colon behind a bare word makes no key of it: `/etc/passwd: Permission denied`.
KEY = re.compile(
    r"""(?<![\w./-])(?:(["'])([\w.-]++)\\{0,4}\1\s{0,3}[:=]\s{0,3}|([\w.-]++)\s{0,3}={1,2}\s{0,3}"""
    r"""|((?i:(?:proxy-)?authorization)):\s{0,3}(?=(?i:bearer|basic|token)\s))"""
)
# What has lost its closing quote, since the text was cut, runs to the end.
VALUE = re.compile(
    r""""(?:[^"\\]|\\.)*+\\?"?|'(?:[^'\\]|\\.)*+\\?'?|\\{1,4}"[^"]*+"?|\\{1,4}'[^']*+'?"""
    r"""|(?:(?i:bearer|basic|token)\s{1,3})?[^\s,;}\]\[{"']*+""",
    re.DOTALL,
)
REST = re.compile(r"""[^\s,"']*+""")  # of a value behind `key=`


def clean(value: Any, depth: int = 0) -> Any:
    """`value` as JSON that is safe to print: strings cleaned and bounded, lists and mappings bounded in size and depth,
    dataclasses and sets made plain, anything else turned into text; secrets left out."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value.value if isinstance(value, Enum) else value)
    if isinstance(value, int):
        return int(value) if abs(value) < 2**64 else clean_text(hex(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return clean_text(value[: 10 * TEXT].decode("utf-8", "replace"))
    return _clean_many(value, depth)


def _clean_many(value: Any, depth: int) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {key.name: getattr(value, key.name) for key in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    if not isinstance(value, (Mapping, list, tuple)):
        return clean_text(str(value))
    if depth >= DEPTH:
        return "…"
    more = len(value) - ITEMS
    if isinstance(value, Mapping):
        rows = list(value.items())[:ITEMS] + ([("…", f"{more:,} more")] if more > 0 else [])
        return {clean_text(str(key)): _item(str(key), item, depth + 1) for key, item in rows}
    items = [clean(item, depth + 1) for item in value[:ITEMS]]
    return [*items, f"… {more:,} more"] if more > 0 else items


def _item(key: str, value: Any, depth: int) -> Any:
    """The value of a key. What only says whether there is something is no secret."""
    if value in (None, "", True, False) or not SECRET.search(key):
        return clean(value, depth)
    return clean(value, depth) if _is_many(value) and key.lower() not in WHOLE else HIDDEN


def _is_many(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple, set, frozenset)) or dataclasses.is_dataclass(value)


def clean_text(text: str) -> str:
    """One line without control characters (C0, C1), escape sequences, text direction or zero-width marks, and without
    secrets."""
    return _clean_again(text) if len(text) <= AGAIN else _clean_text(text[: 10 * TEXT])


def _clean_text(text: str) -> str:
    if not text.isprintable():
        text = CSI.sub("", text)
        text = "".join(letter if letter.isprintable() else _instead(letter) for letter in text)
    text = without_secrets(text)
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


@lru_cache(maxsize=10_000)
def _clean_again(text: str) -> str:
    """Titles, ids and most reasons are the same on every host."""
    return _clean_text(text)


def without_secrets(text: str) -> str:
    text = text.replace(HIDDEN, MARK)  # what was cleaned before
    if "://" in text and "@" in text:
        text = UNBROKEN.sub(_without_logins, text)
    low = text.lower()
    if any(hint in low for hint in HINTS):
        text = _without_values(text)
    return text.replace(MARK, HIDDEN)


def _without_logins(found: re.Match[str]) -> str:
    parts = SCHEME.split(found[0]) if "@" in found[0] else [found[0]]
    parts[2::2] = map(_without_login, parts[2::2])
    return "".join(parts)


def _without_login(address: str) -> str:
    """A password may have a slash in it: with a colon before the first, all up to the last @ may be the login."""
    host = address.partition("/")[0]
    login, at, _ = (address if ":" in host else host).rpartition("@")
    return MARK + address[len(login) :] if at else address


def _without_values(text: str) -> str:
    parts, place = [], 0
    for key in KEY.finditer(text):
        if key.start() >= place and (end := _secret_end(text, key)):
            parts += [text[place : key.end()], MARK]
            place = end
    return "".join([*parts, text[place:]])


def _secret_end(text: str, key: re.Match[str]) -> int:
    """Where the secret ends that is the value of `key`; 0 where there is none."""
    _, quoted, bare, header = key.groups()
    name, start = quoted or bare or header, key.end()
    if not SECRET.search(name) and (bare or "").lower() != "pass":
        return 0
    if quoted and text[start : start + 1] in ("[", "{") and quoted.lower() not in WHOLE:
        return 0
    end = _value_end(text, start)
    if not quoted and start < end < len(text) and (rest := REST.match(text, end)):
        end = rest.end()
    return end if text[start:end].strip("\\\"'") not in SAYS_NOTHING else 0


def _value_end(text: str, start: int) -> int:
    """Where a value ends: a list or an object with its last bracket."""
    depth, place = 0, start
    while place < len(text):
        if text[place] in "[{":
            depth += 1
        elif text[place] in "]}":
            depth -= 1
        elif found := VALUE.match(text, place):
            place = max(place, found.end() - 1)
        if depth <= 0:
            return place + 1
        place += 1
    return len(text)


def _instead(letter: str) -> str:
    if letter.isspace():
        return " "
    return "\ufffd" if "\ud800" <= letter <= "\udfff" else ""
