"""The SSH connection that a survey came by: SSH_CONNECTION of the nearest ancestor that has it (sudo drops it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface

from facts.core.numbers import whole_number
from facts.core.reading import Section, Unknown, known
from facts.networks.scripts import script

Addresses = Mapping[str, tuple[str, ...]] | Unknown  # device -> addresses with prefix

FIND = script("connection.sh")
SCRIPT = FIND + """came=$(ssh_connection); run ssh kept "$came" $?\n"""
# The device by which the host answers: a connection from a container comes in through its bridge.
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
        return words or Unknown("the survey did not come by SSH, or SSH_CONNECTION cannot be read")
    having = (name for name, found in addresses.items() if any(one.partition("/")[0] == words[2] for one in found))
    return next(having, Unknown(f"no device has {words[2]}, the address that the SSH connection came to"))


def doors(section: Section, addresses: Addresses) -> tuple[str, ...] | Unknown:
    """The devices through which the connection may come in: from a container that is its bridge, whichever address it
    goes to. These are the devices in whose subnets the other end is, the device by which the host answers, and the
    device with the address that the connection came to; () without SSH."""
    other = client(section)
    if other is None or isinstance(other, Unknown):
        return other or ()
    if isinstance(addresses, Unknown):
        return addresses
    address, _, scope = other.partition("%")  # a link-local address is in every device's subnet, and names its device
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
    """The address and port of the client, then those of the host."""
    block = known(section.block("ssh"))
    words = block.text.strip().partition("=")[2].split()
    if block.status and not words:
        return None
    return (
        words
        if len(words) == 4 and whole_number(words[3]) is not None
        else Unknown("SSH_CONNECTION does not have its four parts")
    )
