# shellcheck shell=sh disable=SC2154
# Guests are no containers: those that libvirt has noted (engines/libvirt/list.sh), and all else that an emulator's program
# runs (unlisted.sh). What the kernel holds their emulators to.
status='' label=''
# shellcheck disable=SC2086 # of words that are no such line nothing is taken
if [ -n "$guests$emulators" ]; then
  for pid in $guests $emulators; do
    pid=${pid##*:}
    case $pid in '' | *[!0-9]*) continue ;; esac
    case "$status " in *" /proc/$pid/status "*) continue ;; esac
    status="$status /proc/$pid/status" label="$label /proc/$pid/attr/apparmor/current /proc/$pid/attr/current"
  done
  run guests kept "$guests" 0
  run guests.emulators kept "$emulators" 0
  run guests.status grep -sHE '^(Name|Uid|NSpid|Seccomp):' $status /dev/null
  run guests.label grep -saH '' $label /dev/null
fi
