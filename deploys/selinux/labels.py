"""What a label of SELinux says of a container."""

from __future__ import annotations

import re

DOMAINS = ("container_t", "svirt_lxc_net_t", "container_kvm_t", "container_init_t")


def level(label: str) -> str:
    """`c1,c2` of a label such as system_u:system_r:container_t:s0:c1,c2; "" of a label without a container domain and
    category."""
    match = re.fullmatch(r"[^:]*:[^:]*:([^:]*):s0:(c\d+(?:,c\d+)+)", label)
    return match[2] if match and match[1] in DOMAINS else ""
