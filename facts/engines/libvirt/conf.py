"""Files of libvirt's own form (src/util/virconf.c): `key = value`, a value being a number, a text or a list of them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from facts.core.reading import Jsonable

Value = int | str | tuple[int | str, ...]
TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|(?P<comment>\#[^\n]*)|(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<mark>[=\[\],])"""
    r"""|(?P<text>\"\"\".*?\"\"\"|"[^"\n]*"|'[^'\n]*')|(?P<number>[-+]?[0-9]{1,18})""",
    re.DOTALL,
)


class Broken(ValueError):
    """With this file libvirt does not start the driver whose it is."""


@dataclass(frozen=True)
class Entry(Jsonable):
    """What a key is set to, and where: the number of its line, and from which character to which its value is."""

    value: Value
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


def read_conf(text: str) -> dict[str, Entry]:
    """By key. Of a key that is there twice the first counts, and libvirt says nothing of the other."""
    found: dict[str, Entry] = {}
    tokens = _Tokens(text)
    while token := tokens.next():
        if token.kind != "name":
            raise tokens.broken(token, "a key")
        equals = tokens.next()
        if equals is None or equals.text != "=":
            raise tokens.broken(equals or token, f"= after {token.text}")
        value, start, end = tokens.value()
        found.setdefault(token.text, Entry(value, tokens.line(token.start), start, end))
    return found


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self.breaks = [found.start() for found in re.finditer("\n", text)]
        self.left = self._all()

    def _all(self) -> Iterator[Token]:
        at = 0
        while at < len(self.text):
            found = TOKEN.match(self.text, at)
            if found is None:
                rest = self.text[at : at + 40].split("\n")[0]
                raise self.broken(Token("", rest, at, at), "a key or a value")
            at = found.end()
            if found.lastgroup not in ("blank", "comment"):
                yield Token(found.lastgroup or "", found[0], found.start(), found.end())

    def next(self) -> Token | None:
        return next(self.left, None)

    def line(self, at: int) -> int:
        return bisect_left(self.breaks, at) + 1

    def broken(self, token: Token, wanted: str) -> Broken:
        return Broken(f"line {self.line(token.start)}: {token.text[:40]!r} where {wanted} is expected")

    def value(self) -> tuple[Value, int, int]:
        token = self.next()
        if token and token.text == "[":
            return self._list(token)
        return _single(self, token), token.start if token else 0, token.end if token else 0

    def _list(self, first: Token) -> tuple[Value, int, int]:
        found: list[int | str] = []
        while (token := self.next()) and token.text != "]":
            found.append(_single(self, token))
            token = self.next()
            if token is None or token.text not in (",", "]"):
                raise self.broken(token or first, "a comma or ]")
            if token.text == "]":
                break
        if token is None:
            raise self.broken(first, "a list that is closed")
        return tuple(found), first.start, token.end


def _single(tokens: _Tokens, token: Token | None) -> int | str:
    if token and token.kind == "number":
        return int(token.text)
    if token and token.kind == "text":
        quotes = 3 if token.text.startswith('"""') else 1
        return token.text[quotes:-quotes]
    raise tokens.broken(token or Token("", "the end", len(tokens.text), 0), "a value")
