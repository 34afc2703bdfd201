"""GRUB's menu: the boot parameters that subjects add in drop-ins, and one run of update-grub for all of them."""

from __future__ import annotations

from deploys.core.change import Service
from facts.kernel.boot import DROP_INS

# Every parameter of our drop-ins has to be in the menu; those that an undo removed are in no drop-in any more.
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
    "GRUB's menu",
    activate='said=$(update-grub 2>&1) || { echo "$said"; exit 1; }',
    healthy=HEALTHY,
    explain=HEALTHY,
    seconds=0,
    does="run update-grub, so that the boot menu has the new settings",
)


def drop_in(words: str, variable: str = "GRUB_CMDLINE_LINUX_DEFAULT") -> str:
    """A file for /etc/default/grub.d that adds `words` after those of other files."""
    return f"""\
# Written by hullproof. GRUB reads it after /etc/default/grub. To undo, remove this file and run update-grub.
{variable}="${variable} {words}"
"""
