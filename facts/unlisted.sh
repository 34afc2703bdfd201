# shellcheck shell=sh disable=SC2154
# First processes of process namespaces of their own, whoever started them: what no engine has named is an engine without
# an adapter, or a container within a container.
own=$(readlink /proc/1/ns/pid | tr '[]' '??') # brackets would be a class of characters
if [ "$(find /proc/1/ns/pid -maxdepth 0 -printf x 2>/dev/null)" = x ]; then
  foreign=$(find /proc/[0-9]*/ns/pid -maxdepth 0 ! -lname "$own" -printf '%h\n' 2>/dev/null | sed 's|/ns$|/status|')
  # shellcheck disable=SC2086 # paths without blanks
  [ -z "$foreign" ] || for first in $(grep -slE '^NSpid:.*[[:blank:]]1$' $foreign); do
    first=${first%/status} && row - 0 "${first#/proc/}" - -
  done
else
  run unlisted.unable false
fi
# shellcheck disable=SC2046,SC2086 # numbers, and paths without blanks
[ -z "$users" ] || run users.parents grep -sH '^Uid:' $(grep -sh '^PPid:' $users | sed 's|.*[[:blank:]]|/proc/|;s|$|/status|') /dev/null
run engines printf '%s\n' "$engines"
[ -z "$rows" ] || run containers printf %s "$rows"
# Of each bundle of root's: what its filter does by default, and what else it can do. Nothing else of it leaves the host.
bundles=
for bundle in $(printf '%s\n%s\n' "$rows" "$(printf '%s\n' "$names" | grep '^0 ')" | sed -nE 's/.* (\/[^ ]+)$/\1/p'); do
  if [ -f "$bundle/config.json" ] && ! [ -L "$bundle/config.json" ]; then bundles="$bundles $bundle/config.json"; fi
done
actions() {
  # shellcheck disable=SC2086 # paths without blanks
  timeout 5 grep -osHE '"(defaultAction|action)": ?"SCMP_ACT_[A-Z_]{1,20}"|"ociVersion": ?"[0-9][^"]{0,20}"' $bundles | sort -u
}
[ -z "$bundles" ] || run filters actions
