"""TCP sockets that listen, as the kernel shows them."""

from __future__ import annotations

import pytest

from facts.core.listening import listening

NONE = "0" * 32
REST = "00000000:00000000 00:00000000 00000000     0        0 1817529 1 0000000000000000 100 0 0 10 0"


@pytest.mark.parametrize(
    ("local", "address"),
    [
        ("0100007F:2808", "127.0.0.1:10248"), (f"{NONE}:280A", "[::]:10250"),
        (f"{NONE[:24]}01000000:280F", "[::1]:10255"), (f"{'1' * 32}:280F", "[IPv6]:10255"),
        (f"{NONE[:16]}FFFF00000100007F:0016", "127.0.0.1:22"),
    ],
)  # fmt: skip
def test_an_address_is_read_with_the_sockets_inode(local: str, address: str) -> None:
    remote = f"{NONE}:0000" if len(local) > 13 else "00000000:0000"
    assert list(listening(f"  sl  local\n   0: {local} {remote} 0A {REST}\n")) == [(address, "1817529")]


def test_what_is_connected_does_not_listen() -> None:
    assert list(listening(f"   0: 0100007F:2808 0100007F:0016 01 {REST}\n")) == []
