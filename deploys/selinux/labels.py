"""What a label of SELinux says of a container: user:role:domain:level, the level with the container's categories."""

from __future__ import annotations


def domain(label: str) -> str:
    """`container_t`; "" of what is no label."""
    fields = label.split(":")
    return fields[2] if len(fields) > 3 else ""


def categories(label: str) -> str:
    """`c1,c2`; "" where there is none. A range of levels (s0-s0:c0.c1023) is that of a login or daemon, not its own."""
    fields = label.split(":")
    return fields[4] if len(fields) == 5 and fields[3] == "s0" else ""
