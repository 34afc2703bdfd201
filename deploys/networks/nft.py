"""What an nft rules file needs of the kernel and of nft itself: checked before the file is written."""

from __future__ import annotations

import re

from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.kernel.kernel import Kernel, KernelReading

# An expression in a rule, the kernel module that implements it, and that module's configuration option.
MODULES = (
    (r"^table ", "nf_tables", "NF_TABLES"),
    (r"\b(ibrname|obrname)\b", "nft_meta_bridge", "NFT_BRIDGE_META"),
    (r"\bct (state|status)\b", "nft_ct", "NFT_CT"),
    (r"\bfib \w+ \.", "nft_fib_inet", "NFT_FIB_INET"),
    (r"\bmasquerade\b", "nft_masq", "NFT_MASQ"),
)
# Sets whose elements are read from an offset in the packet.
TYPEOF, SINCE = re.compile(r"\btypeof .*@th,"), (1, 0, 3)


def lacking(text: str, survey: Survey) -> str:
    """Why this host would reject the file; "" where no known reason does."""
    kernel = survey.get(Kernel)
    if not isinstance(kernel, KernelReading):
        return ""
    for rule, module, option in MODULES:
        if re.search(rule, text, re.MULTILINE) and _absent(module, kernel):
            return (
                f"this kernel has no module {module} (CONFIG_{option}), which the rules need: install the package that "
                "contains it, or boot a kernel that has it"
            )
    version = kernel.nft.version
    if version and version < SINCE and TYPEOF.search(text):
        found, since = (".".join(map(str, each)) for each in (version, SINCE))
        return f"nft {found} does not support the sets that networks.antispoof needs: install nft {since} or later"
    return ""


def _absent(module: str, kernel: KernelReading) -> bool:
    """Whether it is known to be neither loaded, nor built in, nor installed."""
    installed = kernel.nft.modules
    return not isinstance(installed, Unknown) and module not in installed and kernel.has_module(module) is False
