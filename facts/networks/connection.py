"""The SSH connection that a survey came by: SSH_CONNECTION of the nearest ancestor that has it (sudo drops it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface

from facts.core.numbers import whole_number
from facts.core.reading import Section, Unknown, known

Addresses = Mapping[str, tuple[str, ...]] | Unknown  # device -> addresses with prefix

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
SCRIPT = FIND + """came=$(ssh_connection); run ssh kept "$came" $?\n"""
# The device by which the host answers: who comes from behind a container comes in by its bridge.
BACK = """came=${came#*=}; [ -z "$came" ] || run back ip -j route get "${came%% *}"\n"""


def client(section: Section) -> str | Unknown | None:
    """The address that the connection comes from; None where the survey did not come by SSH."""
    words = _words(section)
    return words[0] if isinstance(words, list) else words


def port(section: Section) -> int | Unknown | None:
    """The port of this host that it came to."""
    words = _words(section)
    return int(words[3]) if isinstance(words, list) else words


def device(section: Section, addresses: Addresses) -> str | Unknown:
    """The device with the address that the connection came to."""
    if isinstance(addresses, Unknown):
        return addresses
    words = _words(section)
    if not isinstance(words, list):
        return words or Unknown("the survey did not come by SSH, or its connection cannot be seen")
    having = (name for name, found in addresses.items() if any(one.partition("/")[0] == words[2] for one in found))
    return next(having, Unknown(f"no device has {words[2]}, the address that the connection came to"))


def doors(section: Section, addresses: Addresses) -> tuple[str, ...] | Unknown:
    """The devices that the connection may come in by: a container comes by its bridge, whichever address it asks for.

    Those in whose subnets its other end is, the one by which it is answered, and the device whose address it came to.
    () without SSH.
    """
    other = client(section)
    if other is None or isinstance(other, Unknown):
        return other or ()
    if isinstance(addresses, Unknown):
        return addresses
    address, _, scope = other.partition("%")  # a link-local one is in every device's subnet, and names its own
    came = device(section, addresses)
    to = [] if isinstance(came, Unknown) else [came]
    return tuple(dict.fromkeys([scope] if scope else [*_beside(address, addresses), *_back(section), *to]))


def _beside(address: str, addresses: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name, found in addresses.items():
        if any(ip_address(address) in ip_interface(one).network for one in found):
            yield name


def _back(section: Section) -> list[str]:
    found = section.json("back")
    rows = found if isinstance(found, list) else []
    return [str(row["dev"]) for row in rows if isinstance(row, dict) and "dev" in row]


def _words(section: Section) -> list[str] | Unknown | None:
    """The client's address and port, ours and its port."""
    block = known(section.block("ssh"))
    words = block.text.strip().partition("=")[2].split()
    if block.status and not words:
        return None
    return words if len(words) == 4 and whole_number(words[3]) is not None else Unknown("SSH_CONNECTION makes no sense")
