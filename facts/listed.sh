# shellcheck shell=sh disable=SC2154
# What the adapters have listed.
# shellcheck disable=SC2046,SC2086 # numbers, and paths without blanks
[ -z "$users" ] || run users.parents grep -sH '^Uid:' $(grep -sh '^PPid:' $users | sed 's|.*[[:blank:]]|/proc/|;s|$|/status|') /dev/null
run engines printf '%s\n' "$engines"
[ -z "$rows" ] || run containers printf %s "$rows"
# The filter in each of root's bundles, whose first line says all: a line `FILE FILTER…`, `FILE OTHER-FILE` with the same
# one, `FILE null` without any, `FILE ?` of another form. What follows a filter is cut off: a label of SELinux, for one,
# of which each container has its own.
bundles=
for bundle in $(printf '%s\n%s\n' "$rows" "$(printf '%s\n' "$names" | grep '^0 ')" | sed -nE 's/.* (\/[^ ]+)$/\1/p'); do
  if [ -f "$bundle/config.json" ] && ! [ -L "$bundle/config.json" ]; then bundles="$bundles $bundle/config.json"; fi
done
# shellcheck disable=SC2086 # paths without blanks
[ -z "$bundles" ] || run filters timeout 5 awk '
  FNR == 1 {
    i = match($0, /"seccomp": ?[{]/)
    s = i ? substr($0, i + RLENGTH - 1, 65536) : /"ociVersion"/ && /}$/ ? "null" : "?"
    sub(/, ?"(rootfsPropagation|maskedPaths|readonlyPaths|mountLabel)":.*/, "", s)
    if (s in seen) print FILENAME, seen[s]; else { if (i) seen[s] = FILENAME; print FILENAME, s }
  }' $bundles
