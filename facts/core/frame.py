"""The survey: every subject's section in ONE script, run once on the host, parsed here.

The frame, as it comes out of the host (then gzip and base64, so that no byte of it can hurt the terminal or the
connection):

    @hullproof NONCE
    @NONCE section KEY
    @NONCE block NAME
    ...text...
    @NONCE status N
    @NONCE end KEY STATUS
    @NONCE done

Each section runs under its own `timeout` and size limit. A section without its `end` line, or with a status that is
not 0, is unknown, and only that one.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import shlex
import zlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from facts.core.numbers import whole_number
from facts.core.reading import Block, Section, Unknown

SECTION_BYTES = 4_000_000  # of one section; five hundred containers with forty mounts each give half of it
SURVEY_BYTES = 8_000_000  # unpacked; a host with twenty containers gives 300,000

PRELUDE = r"""
run() { printf '@%s block %s\n' "$N" "$1"; shift; "$@" 2>&1 </dev/null; printf '\n@%s status %s\n' "$N" "$?"; }
show() {
  for f do if absent "$f"; then run "$f" kept "No such file or directory" 1; else run "$f" cat -- "$f"; fi; done
}
# Where the nearest folder that exists may be looked into, a file that is not there needs no process that says so.
absent() {
  if [ -e "$1" ] || [ -L "$1" ]; then return 1; fi
  near=${1%/*}; until [ -e "$near/" ]; do near=${near%/*}; done; [ -x "$near/" ]
}
kept() { printf '%s\n' "$1"; return "$2"; } # for `run`: what a command said, and its status
have() { command -v "$1" >/dev/null 2>&1; }
"""

HEAD = r"""
LC_ALL=C; LANG=C; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset ENV BASH_ENV CDPATH; export LC_ALL LANG PATH N; umask 077
section() {
  printf '@%s section %s\n' "$N" "$1"
  { timeout -k 1 "$2" sh -c "$P$3" </dev/null 2>&1; printf '\n@%s end %s %s\n' "$N" "$1" "$?"; } | head -c "$LIMIT"
  echo
}
pack() { if command -v gzip >/dev/null 2>&1; then gzip -1c; else cat; fi | base64 -w 0; }
"""


class Asked(Protocol):
    """A section of the survey: its name, its sh, and for how many seconds that may run."""

    @property
    def key(self) -> str: ...
    @property
    def script(self) -> str: ...
    @property
    def timeout(self) -> int: ...


def survey_script(facts: Iterable[Asked]) -> str:
    """The sh script that reads the sections of `facts`. It changes nothing on the host."""
    sections = "\n".join(f"section {fact.key} {fact.timeout} {shlex.quote(fact.script.strip())}" for fact in facts)
    nonce = secrets.token_hex(8)
    return (
        f"N={nonce}; LIMIT={SECTION_BYTES}; P={shlex.quote(PRELUDE)}\n{HEAD.strip()}\n"
        f"{{ echo '@hullproof '\"$N\"\n{sections}\nprintf '@%s done\\n' \"$N\"; }} | head -c {SURVEY_BYTES} | pack\n"
    )


def unpack(lines: Sequence[str]) -> str:
    """The frame's text from what the host printed: packed, or plain as in the data cases."""
    for number, line in enumerate(lines):
        if line.startswith("@hullproof "):
            return "\n".join(lines[number:])
    # A login banner or a shell's complaint may stand before the packed line, which is the longest by far.
    packed = max(lines, key=len, default="").strip()
    try:
        raw = base64.b64decode(packed, validate=True)
        if raw[:2] == b"\x1f\x8b":
            raw = zlib.decompressobj(wbits=31).decompress(raw, SURVEY_BYTES)
    except (binascii.Error, ValueError, zlib.error):
        return ""
    return raw[:SURVEY_BYTES].decode("utf-8", "replace")


def read_frame(lines: Sequence[str]) -> dict[str, Section | Unknown]:
    """The sections in what the host printed, each whole or unknown with the reason."""
    header, _, body = unpack(lines).partition("\n")
    nonce = header.removeprefix("@hullproof ").strip()
    if not header.startswith("@hullproof ") or not nonce:
        return {}
    mark = f"@{nonce} "
    sections: dict[str, Section | Unknown] = {}
    for part in body.split(f"{mark}section ")[1:]:
        key, _, rest = part.partition("\n")
        sections[key] = _read_section(key, rest, mark)
    return sections


def _read_section(key: str, text: str, mark: str) -> Section | Unknown:
    content, end, tail = text.rpartition(f"\n{mark}end {key} ")
    if not end:
        return Unknown(
            f"{key}: the answer was cut short (over {SECTION_BYTES:,} bytes, the whole over {SURVEY_BYTES:,}, or the "
            "connection was lost)"
        )
    status = tail.split("\n", 1)[0].strip()
    if status in ("124", "137"):
        return Unknown(f"{key}: no answer in time")
    if status != "0":
        return Unknown(f"{key}: the section ended with status {status[:20]}")
    blocks: dict[str, Block] = {}
    for part in ("\n" + content).split(f"\n{mark}block ")[1:]:
        name, _, rest = part.partition("\n")
        body, _, code = rest.rpartition(f"\n{mark}status ")
        status_code = whole_number(code)
        blocks[name] = Block(1 if status_code is None else status_code, body)
    return Section(blocks)
