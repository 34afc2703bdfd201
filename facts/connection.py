"""The SSH connection that a survey came by: SSH_CONNECTION of the nearest ancestor that has it (sudo drops it)."""

from __future__ import annotations

from facts.reading import Section, Unknown, known

# sh; its argument is another root, for tests.
FIND = r"""
ssh_connection() {
  p=$$ root=${1:-}; set --
  while [ "${p:-0}" -gt 1 ]; do
    set -- "$@" "$root/proc/$p/environ"; q=
    while read -r k v; do [ "$k" = PPid: ] && q=$v && break; done 2>/dev/null <"$root/proc/$p/status"
    p=$q
  done
  cat "$@" 2>/dev/null | tr '\0' '\n' | grep -m 1 '^SSH_CONNECTION='
}
"""
SCRIPT = FIND + "run ssh ssh_connection\n"


def client(section: Section) -> str | Unknown | None:
    """The address that the connection comes from; None where the survey did not come by SSH."""
    words = _words(section)
    return words[0] if isinstance(words, list) else words


def port(section: Section) -> int | Unknown | None:
    """The port of this host that it came to."""
    words = _words(section)
    return int(words[3]) if isinstance(words, list) else words


def _words(section: Section) -> list[str] | Unknown | None:
    """The client's address and port, ours and its port."""
    block = known(section.block("ssh"))
    words = block.text.strip().partition("=")[2].split()
    if block.status and not words:
        return None
    return words if len(words) == 4 and words[3].isdigit() else Unknown("SSH_CONNECTION makes no sense")
