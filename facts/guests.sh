# shellcheck shell=sh disable=SC2154
# Guests are no containers: those that libvirt has noted (engines/libvirt/list.sh), and all else that an emulator's program
# runs (unlisted.sh). What the kernel holds their emulators to, and what these were told to emulate: of their command lines
# the options, what a machine's or a device's type may be, and nothing that may be a secret. Whose they are may keep whoever
# reads them waiting: libvirt's own are read first.
status='' label='' words=''
# shellcheck disable=SC2086 # of words that are no such line nothing is taken
if [ -n "$guests$emulators" ]; then
  for pid in $guests $emulators; do
    pid=${pid##*:}
    case $pid in '' | *[!0-9]*) continue ;; esac
    case "$status " in *" /proc/$pid/status "*) continue ;; esac
    status="$status /proc/$pid/status" label="$label /proc/$pid/attr/apparmor/current /proc/$pid/attr/current"
    words="$words /proc/$pid/cmdline"
  done
  run guests kept "$guests" 0
  run guests.emulators kept "$emulators" 0
  run guests.status grep -sHE '^(Name|Uid|NSpid|Seccomp):' $status /dev/null
  run guests.label grep -saH '' $label /dev/null
  drivers='(floppy|fdc|hda-|-hda|AC97|ES1370|sb16|cs4231a|gus|adlib|usb|sound|hci|serial)'
  set -- '--?[A-Za-z][A-Za-z0-9-]*' '[a-z_-]+=' '(pc|isapc|q35|microvm|none|x-remote|xen)[A-Za-z0-9._-]*' \
    "(driver=)?[A-Za-z0-9.-]*${drivers}[A-Za-z0-9.-]*" # how a word begins
  run guests.words timeout 2 grep -zsaoHEm 400 "^($1|$2|$3|$4)|\"driver\": ?\"[A-Za-z0-9.-]*${drivers}[A-Za-z0-9.-]*|(^|,)(type=[A-Za-z0-9._-]*|usb=(on|yes|true)|if=floppy)" \
    $words /dev/null
fi
