# shellcheck shell=sh disable=SC2154
# Has interfaces of the guest NAME, by their addresses MACS, filtered by FILTER from its next start on; where TAKE is 1, no
# longer. A guest that is gone has nothing to be taken back of.
v() { virsh -q -c qemu:///system "$@"; }
domains=$(v list --all --name) || exit 1
if ! printf '%s\n' "$domains" | grep -qxF -e "$NAME"; then [ "$TAKE" = 1 ]; exit; fi
old=$(v dumpxml --inactive --security-info "$NAME") || exit 1
new=$(printf '%s\n' "$old" | awk -v macs="$MACS" -v line="      <filterref filter='$FILTER'/>" -v take="$TAKE" '
  /<interface type=/ { inside = 1; ours = 0; filtered = 0 }
  inside && /<mac address=/ { split($0, part, /[\047"]/); ours = index(" " macs " ", " " part[2] " ") }
  inside && ours && take && $0 == line { next }
  inside && /<filterref / { filtered = 1 }
  inside && /<\/interface>/ { if (ours && !take && !filtered) print line; inside = 0 }
  { print }
') || exit 1
[ "$new" = "$old" ] || printf '%s\n' "$new" | v define --validate /dev/stdin
