# shellcheck shell=sh disable=SC2154
# libvirt. Containers are known by what has started them (monitors.sh). Guests, which are none: the files of its QEMU driver
# say what they are called, in a folder that is not root's but the emulators'. An emulator may take files away, or have
# whoever reads them wait: what systemd-machined notes counts too. A line `FILE:PID` for each file, then one `PID` for each.
engine libvirt libvirtd virtlxcd virtqemud
guests='' status='' label='' guest=''
set --
for file in /run/libvirt/qemu/*.xml; do [ ! -f "${file%.xml}.pid" ] || set -- "$@" "${file%.xml}.pid"; done
if [ $# != 0 ]; then
  guests=$(timeout 2 grep -sHaom1 -E '^[0-9]{1,10}' "$@" /dev/null) || [ $? -lt 124 ] || run guests.late false
fi
case $machines in *:SERVICE=libvirt-qemu*)
  for line in $machines; do # of each machine first its service
    case $line in
    *:SERVICE=libvirt-qemu) guest=1 ;;
    *:SERVICE=*) guest='' ;;
    *) [ -z "$guest" ] || guests="$guests
${line##*=}" ;;
    esac
  done
  ;;
esac
# shellcheck disable=SC2086 # of words that are no such line nothing is taken
if [ -n "$guests" ]; then
  for pid in $guests; do
    pid=${pid##*:}
    case $pid in '' | *[!0-9]*) continue ;; esac
    case "$status " in *" /proc/$pid/status "*) continue ;; esac
    status="$status /proc/$pid/status" label="$label /proc/$pid/attr/apparmor/current /proc/$pid/attr/current"
  done
  run guests kept "$guests" 0
  run guests.status grep -sHE '^(Name|Uid|Seccomp):' $status /dev/null
  run guests.label grep -saH '' $label /dev/null
fi
