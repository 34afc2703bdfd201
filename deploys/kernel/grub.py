"""GRUB's menu: words that subjects add to the next boot's command line, and one making of the menu for all of them."""

from __future__ import annotations

from deploys.core.change import Service
from facts.kernel.boot import DROP_INS

# Every word of our drop-ins has to be in the menu; what an undo took back is in no drop-in any more.
HEALTHY = rf"""
for file in {DROP_INS}99-hullproof*.cfg; do
  [ -e "$file" ] || continue
  for word in $(sed -n 's/^GRUB_CMDLINE_LINUX[A-Z_]*="$GRUB_CMDLINE_LINUX[A-Z_]* \(.*\)"$/\1/p' "$file"); do
    grep -E '^[[:space:]]*linux' /boot/grub/grub.cfg | grep -Fqw -- "$word" ||
      {{ echo "update-grub ran, and /boot/grub/grub.cfg does not have $word"; exit 1; }}
  done
done
"""

MENU = Service(
    "the boot menu",
    activate='said=$(update-grub 2>&1) || { echo "$said"; exit 1; }',
    healthy=HEALTHY,
    explain=HEALTHY,
    seconds=0,
    does="run update-grub, so that the boot menu has the new settings",
)


def drop_in(words: str, variable: str = "GRUB_CMDLINE_LINUX_DEFAULT") -> str:
    """A file for /etc/default/grub.d that adds `words` after everybody else's."""
    return f"""\
# Written by hullproof. It is read after /etc/default/grub; take it away and run update-grub to undo.
{variable}="${variable} {words}"
"""
