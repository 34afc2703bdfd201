# shellcheck shell=sh disable=SC2154
# What the adapters have listed.
# shellcheck disable=SC2046,SC2086 # numbers, and paths without blanks
[ -z "$users" ] || run users.parents grep -sH '^Uid:' $(grep -sh '^PPid:' $users | sed 's|.*[[:blank:]]|/proc/|;s|$|/status|') /dev/null
run engines printf '%s\n' "$engines"
[ -z "$rows" ] || run containers printf %s "$rows"
# The filter in each of root's bundles, whose first line says all: a line `FILE FILTER…`, `FILE OTHER-FILE` with the same
# one, `FILE null` without any, `FILE ?` of another form. What follows a filter is cut off: a label of SELinux, for one,
# of which each container has its own.
seccomp='
  FNR == 1 {
    i = match($0, /"seccomp": ?[{]/)
    s = i ? substr($0, i + RLENGTH - 1, 65536) : /"ociVersion"/ && /}$/ ? "null" : "?"
    sub(/, ?"(rootfsPropagation|maskedPaths|readonlyPaths|mountLabel)":.*/, "", s)
    if (s in seen) print FILENAME, seen[s]; else { if (i) seen[s] = FILENAME; print FILENAME, s }
  }'
bundles=
for bundle in $(printf '%s\n%s\n' "$rows" "$names" | sed -nE 's/^([a-z-]+ )?0 .* (\/[^ ]+)$/\2/p'); do
  if [ -f "$bundle/config.json" ] && ! [ -L "$bundle/config.json" ]; then bundles="$bundles $bundle/config.json"; fi
done
# shellcheck disable=SC2086 # paths without blanks
[ -z "$bundles" ] || run filters timeout 5 awk "$seccomp" $bundles
# And in users', which are their word: a file there may be a pipe, without end, or on a server that is gone. Each user's are
# read apart, for a bounded time and in bounded memory, and only under names of the engines' own form.
filters_of_users() {
  words=$(printf '%s\n%s\n' "$rows" "$names" | sed -nE 's#^(docker )?([1-9][0-9]*) .* (/[A-Za-z0-9._/+@-]*/[0-9a-f]{64}(/userdata)?)$#\2 \3/config.json#p')
  for user in $(printf %s "$words" | cut -d ' ' -f 1 | sort -nu); do
    # shellcheck disable=SC2046,SC3045 # paths without blanks; dash and busybox have -v too
    (ulimit -v 500000; timeout -k 1 2 awk "$seccomp" $(printf '%s\n' "$words" | sed -n "s/^$user //p")) | head -c 300000
    echo
  done
}
[ -z "$users" ] || run users.filters filters_of_users
