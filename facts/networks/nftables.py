"""nftables: the modules that the kernel has for it, and the version of the tool."""

from __future__ import annotations

import re
from dataclasses import dataclass

from facts.core.reading import Jsonable, Section, Unknown

# Of modules those that are there to be loaded: to ask nft whether it takes a rule would load them.
SCRIPT = r"""
nft_modules() {
  cd "/lib/modules/$(uname -r)/kernel/net" || return
  for f in netfilter/nf_tables.ko* netfilter/nft_*.ko* bridge/netfilter/nft_*.ko*; do
    [ ! -e "$f" ] || { f=${f##*/}; echo "${f%%.ko*}"; }
  done
}
run nft-modules nft_modules
have nft && run nft nft --version
"""


@dataclass(frozen=True)
class Nftables(Jsonable):
    modules: tuple[str, ...] | Unknown
    version: tuple[int, ...] | None  # None: nft is not there, or does not say


NOT_ASKED = Nftables(Unknown("not asked"), None)


def parse(section: Section) -> Nftables:
    names, said = section.text("nft-modules"), section.text("nft")
    version = None if isinstance(said, Unknown) else re.search(r"\bv(\d+(?:\.\d+)+)", said)
    return Nftables(
        names if isinstance(names, Unknown) else tuple(sorted(names.split())),
        tuple(int(part) for part in version[1].split(".")) if version else None,
    )
