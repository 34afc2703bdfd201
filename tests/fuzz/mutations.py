"""What a broken, strange or hostile host could answer instead of what was recorded."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.surveys import Piece, Pieces

Mutation = Callable[[Pieces, int, int], None]

AT = st.integers(0, 2**16)  # a place, taken modulo how many there are

# --- bytes

SPLINTERS = (
    b"\0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\r", b"\n\n\n", b"\x1b[2J", "\u2028²٣".encode(), b"A" * 100_000,
    b"\n" * 5_000, b"9" * 5_000, b"[" * 10_000, b'{"a":' * 5_000, b"@n ", b"\n@n block x\n", b"\n@n status \xc2\xb2\n",
    b"\n@n section docker\n", b"\n@n end docker 0\n", b"@hullproof m\n",
)  # fmt: skip

BYTES = st.one_of(
    st.tuples(st.just("flip"), AT, st.integers(1, 255)),
    st.tuples(st.just("cut"), AT, st.integers(1, 2000)),
    st.tuples(st.just("end"), AT, st.just(0)),
    st.tuples(st.just("repeat"), AT, st.integers(1, 2000)),
    st.tuples(st.just("insert"), AT, st.integers(0, len(SPLINTERS) - 1)),
)


def mutate_bytes(frame: bytes, how: tuple[str, int, int]) -> bytes:
    kind, place, value = how
    at = place * 31 % (len(frame) or 1)
    before, after = frame[:at], frame[at:]
    match kind:
        case "flip":
            return before + bytes(byte ^ value for byte in after[:1]) + after[1:]
        case "cut":
            return before + after[value:]
        case "end":
            return before
        case "repeat":
            return before + after[:value] * 3 + after
        case _:
            return before + SPLINTERS[value] + after


# --- structure

WORDS = (
    "", " ", "\t", "0", "-1", "1", "2", "4294967295", "18446744073709551616", "9" * 5_000, "1e999", "0x", "²", "٣",
    "nan", "None", "null", "true", "[]", "{}", "\0", "\ufffd", "::", "/", "//", "\\", "'", '"', '"a', "$(x)", "%s", "*",
    "(", "[a", "=", "a=b=c", ",", ":", "-", "é", "10.0.0.0/33", "10.0.0.0/0", "fe80::1%eth0", "1.2.3", "x" * 300,
    "unconfined", "enforce", "absent", "/etc/passwd", "docker0", "\u2028",
)  # fmt: skip
TEXTS = (
    "", "\n", "{}", "[]", "null", "[[]]", '{"": null}', "0", '"x"', "garbage", "cat: x: Permission denied", "Killed",
    "sh: 1: x: not found", "cat: x: No such file or directory", "\0" * 50, "= = =\n: : :\n/ / /", "x" * 50_000,
    "a b c d e f g h\n" * 500,
)  # fmt: skip
STATUSES = ("0", "1", "2", "124", "126", "127", "137", "255", "-1", "", "x", "²", "0 0", "9" * 5_000)


def _blocks(survey: Pieces) -> list[tuple[str, int]]:
    return [(key, number) for key, blocks in survey.items() for number in range(len(blocks))]


def _choose(survey: Pieces, place: int) -> tuple[list[Piece], int]:
    rows = _blocks(survey)
    key, number = rows[place % len(rows)]
    return survey[key], number


def drop_section(survey: Pieces, place: int, value: int) -> None:
    if survey:
        del survey[sorted(survey)[place % len(survey)]]


def drop_block(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    del blocks[number]


def double_block(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    piece = blocks[number]
    blocks.append(Piece(piece.name, piece.text[: value % (len(piece.text) + 1)], piece.status))


def swap_blocks(survey: Pieces, place: int, value: int) -> None:
    (blocks, one), (others, other) = _choose(survey, place), _choose(survey, value)
    blocks[one].text, others[other].text = others[other].text, blocks[one].text


def rename_block(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    blocks[number].name = WORDS[value % len(WORDS)]


def other_status(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    blocks[number].status = STATUSES[value % len(STATUSES)]


def other_text(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    blocks[number].text = TEXTS[value % len(TEXTS)]


def cut_text(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    blocks[number].text = blocks[number].text[: value % (len(blocks[number].text) + 1)]


def drop_line(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    lines = blocks[number].text.splitlines() or [""]
    del lines[value % len(lines)]
    blocks[number].text = "\n".join(lines)


def double_line(survey: Pieces, place: int, value: int) -> None:
    blocks, number = _choose(survey, place)
    lines = blocks[number].text.splitlines() or [""]
    lines.insert(0, lines[value % len(lines)])
    blocks[number].text = "\n".join(lines)


def other_word(survey: Pieces, place: int, value: int) -> None:
    """One word, taken between blanks and the signs that parsers split at."""
    blocks, number = _choose(survey, place)
    text = blocks[number].text
    start = value % (len(text) + 1)
    while start and text[start - 1] not in SIGNS:
        start -= 1
    end = start
    while end < len(text) and text[end] not in SIGNS:
        end += 1
    blocks[number].text = text[:start] + WORDS[value % len(WORDS)] + text[end:]


SIGNS = " \t\n=:,;/\"'()[]{}"


# --- JSON documents

DEEP: Any = "end"
for _ in range(60):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, 10**400, 1.5, float("inf"), float("nan"), "", "x", "true", "0", "\ud800",
    "\x1b[2J", '"\\\n\0', "é" * 300, "unix:///x", "10.0.0.0/33", [], [None], ["x"], [[]], [{}], {}, {"": None},
    {"x": {}}, DEEP,
)  # fmt: skip


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: its container, and its key there."""
    keys: list[Any] = list(value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ())
    return [(value, key) for key in keys] + [row for key in keys for row in _nodes(value[key])]


@dataclass
class Document:
    """A JSON object or list, where a block holds one: its whole text, or a line of it."""

    piece: Piece
    lines: slice
    content: Any

    def put_back(self) -> None:
        lines = self.piece.text.split("\n")
        lines[self.lines] = [json.dumps(self.content)]
        self.piece.text = "\n".join(lines)


def documents(survey: Pieces) -> list[Document]:
    return [found for blocks in survey.values() for piece in blocks for found in _documents(piece)]


def _documents(piece: Piece) -> Iterator[Document]:
    lines = piece.text.split("\n")
    whole = [(slice(0, len(lines)), piece.text)]
    for rows in (whole, [(slice(number, number + 1), line) for number, line in enumerate(lines)]):
        found = [Document(piece, at, content) for at, text in rows if (content := _content(text))]
        yield from found
        if found:
            return


def _content(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)


def mutate_json(survey: Pieces, others: Iterable[tuple[int, int, int]]) -> None:
    """In each case one value of one document: another one, none at all, or under another key."""
    found = documents(survey)
    for place, value, kind in others if found else ():
        nodes = _nodes(found[place % len(found)].content)
        if not nodes:
            continue
        container, key = nodes[value % len(nodes)]
        if kind < len(VALUES):
            container[key] = copy.deepcopy(VALUES[kind])
        else:
            old = container.pop(key)
            if kind == len(VALUES) and isinstance(container, dict):
                container[WORDS[value % len(WORDS)]] = old
    for document in found:
        document.put_back()


BLOCK_MUTATIONS: tuple[Mutation, ...] = (
    drop_section, drop_block, double_block, swap_blocks, rename_block, other_status, other_text, cut_text, drop_line,
    double_line, other_word,
)  # fmt: skip
STRUCTURE = st.tuples(st.sampled_from(BLOCK_MUTATIONS), AT, AT)
JSON = st.tuples(AT, AT, st.integers(0, len(VALUES) + 1))
