# shellcheck shell=sh disable=SC2154
# First processes of process namespaces that no engine has named: an engine without an adapter, or one of the engines'
# own containers within a container.
listed=$pids
own=$(readlink /proc/1/ns/pid)
foreign=$(find /proc/[0-9]*/ns/pid -maxdepth 0 ! -lname "$own" -printf '%h\n' 2>/dev/null | sed 's|/ns$|/status|')
# shellcheck disable=SC2086 # paths without blanks
[ -z "$foreign" ] || for first in $(grep -slE '^NSpid:.*[[:blank:]]1$' $foreign); do
  first=${first%/status} first=${first#/proc/}
  case "$listed " in *" $first "*) ;; *) row - - "$first" - - ;; esac
done
run engines printf '%s\n' "$engines"
[ -z "$rows" ] || run containers printf %s "$rows"
# Of each bundle: what its filter does by default, and what else it can do. Nothing else of it leaves the host.
bundles=
for bundle in $(printf '%s\n%s\n' "$rows" "$names" | sed -nE 's/.* (\/[^ ]+)$/\1/p'); do
  if [ -f "$bundle/config.json" ] && ! [ -L "$bundle/config.json" ]; then bundles="$bundles $bundle/config.json"; fi
done
actions() {
  # shellcheck disable=SC2086
  grep -osHE '"(defaultAction|action)": ?"SCMP_ACT_[A-Z_]{1,20}"' $bundles | sort -u
}
[ -z "$bundles" ] || run filters actions
