# shellcheck shell=sh disable=SC2034,SC2154
# First processes of process namespaces of their own, whoever started them: what no engine has named is known by what has
# started it (monitors.sh), or is an engine without an adapter, or a container within a container.
emulators=
own=$(readlink /proc/1/ns/pid | tr '[]' '??') # brackets would be a class of characters
if [ "$(find /proc/1/ns/pid -maxdepth 0 -printf x 2>/dev/null)" = x ]; then
  # And what an emulator's program runs, whoever started it. Of the program only that is said: a user names files as he likes.
  seen=$(find /proc/[0-9]*/ns/pid /proc/[0-9]*/exe -maxdepth 0 '(' -name pid ! -lname "$own" -printf '%h\n' ')' -o \
    -name exe '(' -lname '*/qemu-system-*' -o -lname '*/qemu-kvm*' -o -lname '*/kvm' -o -lname '*/kvm (deleted)' ')' -printf '%h/emulator\n' \
    2>/dev/null) || [ $? -lt 126 ] || run unlisted.unable false # more processes than one command line names
  foreign=$(printf '%s\n' "$seen" | sed -n 's|/ns$|/status|p')
  case $seen in */emulator*) emulators=$(printf '%s\n' "$seen" | sed -n 's|^/proc/\([0-9]*\)/emulator$|\1|p') ;; esac
  # shellcheck disable=SC2086 # paths without blanks
  [ -z "$foreign" ] || for first in $(grep -slE '^NSpid:.*[[:blank:]]1$' $foreign); do
    first=${first%/status} first=${first#/proc/}
    case "$firsts " in *" $first "*) ;; *) firsts="$firsts $first" ;; esac
  done
else
  run unlisted.unable false
fi
for first in $firsts; do row - 0 "$first" - -; done
