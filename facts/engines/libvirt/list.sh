# shellcheck shell=sh disable=SC2154
# libvirt. Containers are known by what has started them (monitors.sh). Guests, which are none: the files of its QEMU driver
# say what they are called, in a folder that is not root's but the emulators'. An emulator may take files away, or have
# whoever reads them wait: what systemd-machined notes counts too. A line `FILE:PID` for each file, then one `PID` for each.
engine libvirt libvirtd virtlxcd virtqemud
guests='' guest=''
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
