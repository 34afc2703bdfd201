# shellcheck shell=sh disable=SC2154
# First processes of process namespaces of their own, whoever started them: what no engine has named is known by what has
# started it (monitors.sh), or is an engine without an adapter, or a container within a container.
own=$(readlink /proc/1/ns/pid | tr '[]' '??') # brackets would be a class of characters
if [ "$(find /proc/1/ns/pid -maxdepth 0 -printf x 2>/dev/null)" = x ]; then
  foreign=$(find /proc/[0-9]*/ns/pid -maxdepth 0 ! -lname "$own" -printf '%h\n' 2>/dev/null | sed 's|/ns$|/status|')
  # shellcheck disable=SC2086 # paths without blanks
  [ -z "$foreign" ] || for first in $(grep -slE '^NSpid:.*[[:blank:]]1$' $foreign); do
    first=${first%/status} first=${first#/proc/}
    case "$firsts " in *" $first "*) ;; *) firsts="$firsts $first" ;; esac
  done
else
  run unlisted.unable false
fi
for first in $firsts; do row - 0 "$first" - -; done
