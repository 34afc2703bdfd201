"""What a file of nft's asks of the kernel and of nft itself: known before it is written, not when it is refused."""

from __future__ import annotations

import re

from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.kernel.kernel import Kernel, KernelReading

# What a rule says, the module that knows it, and the kernel's option for that.
MODULES = (
    (r"^table ", "nf_tables", "NF_TABLES"),
    (r"\b(ibrname|obrname)\b", "nft_meta_bridge", "NFT_BRIDGE_META"),
    (r"\bct (state|status)\b", "nft_ct", "NFT_CT"),
    (r"\bfib \w+ \.", "nft_fib_inet", "NFT_FIB_INET"),
    (r"\bmasquerade\b", "nft_masq", "NFT_MASQ"),
)
# Sets whose type is what is read out of the middle of a packet.
TYPEOF, SINCE = re.compile(r"\btypeof .*@th,"), (1, 0, 3)


def lacking(text: str, survey: Survey) -> str:
    """Why the file would be refused on this host; "" where nothing that is known speaks against it."""
    kernel = survey.readings.get(Kernel)
    if not isinstance(kernel, KernelReading):
        return ""
    for rule, module, option in MODULES:
        if re.search(rule, text, re.MULTILINE) and _absent(module, kernel):
            return (
                f"this kernel has no {module} (CONFIG_{option}), which the rules need: install the package that brings "
                "it, or boot a kernel that has it"
            )
    version = kernel.nft.version
    if version and version < SINCE and TYPEOF.search(text):
        found, since = (".".join(map(str, each)) for each in (version, SINCE))
        return f"nft {found} does not know the sets that networks.antispoof needs: those of {since} and later do"
    return ""


def _absent(module: str, kernel: KernelReading) -> bool:
    """Known to be neither loaded nor built in nor there to be loaded."""
    installed = kernel.nft.modules
    return not isinstance(installed, Unknown) and module not in installed and kernel.has_module(module) is False
