"""Where the SSH connection that a survey came by comes in."""

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.networks import connection

ADDRESSES = {
    "lo": ("127.0.0.1/8", "::1/128"),
    "eth0": ("192.0.2.5/24", "fe80::5/64"),
    "docker0": ("172.17.0.1/16", "fe80::d/64"),
}


def come(client: str, to: str) -> Section:
    return Section({"ssh": Block(0, f"SSH_CONNECTION={client} 50000 {to} 22\n")})


@pytest.mark.parametrize(
    ("client", "to", "doors"),
    [
        ("203.0.113.9", "192.0.2.5", ("eth0",)),
        ("192.0.2.9", "192.0.2.5", ("eth0",)),
        ("172.17.0.2", "172.17.0.1", ("docker0",)),
        ("172.17.0.2", "192.0.2.5", ("docker0", "eth0")),  # a container that asks for another address of the host
        ("fe80::7%eth0", "fe80::5%eth0", ("eth0",)),  # not docker0, in whose subnet it is as well
        ("203.0.113.9", "198.51.100.1", ()),
    ],
)
def test_the_devices_that_it_may_come_in_by(client: str, to: str, doors: tuple[str, ...]) -> None:
    assert connection.doors(come(client, to), ADDRESSES) == doors


def test_who_is_routed_behind_a_container_comes_by_its_bridge() -> None:
    """A VPN's endpoint in a container: 10.8.0.0/24 via 172.17.0.5 dev docker0."""
    come_by = come("10.8.0.6", "192.0.2.5")
    back = Block(0, '[{"dst":"10.8.0.6","gateway":"172.17.0.5","dev":"docker0","prefsrc":"172.17.0.1"}]')
    assert connection.doors(Section({**come_by.blocks, "back": back}), ADDRESSES) == ("docker0", "eth0")
    unreachable = Block(2, "RTNETLINK answers: Network is unreachable")
    assert connection.doors(Section({**come_by.blocks, "back": unreachable}), ADDRESSES) == ("eth0",)


def test_no_ssh_has_no_door_and_what_cannot_be_seen_is_unknown() -> None:
    assert connection.doors(Section({"ssh": Block(1, "")}), ADDRESSES) == ()
    assert isinstance(connection.doors(Section({"ssh": Block(0, "SSH_CONNECTION=x\n")}), ADDRESSES), Unknown)
    assert connection.doors(come("192.0.2.9", "192.0.2.5"), Unknown("no ip")) == Unknown("no ip")
