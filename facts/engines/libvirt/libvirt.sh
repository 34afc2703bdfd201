# shellcheck shell=sh
# The section libvirt of the survey. No client is started: its files say what it will do, and when its daemons read them.
daemons=
for d in libvirtd virtqemud virtlxcd virtproxyd; do have $d && daemons="$daemons $d"; done
[ -n "$daemons" ] || exit 0
run daemons kept "$daemons" 0
drivers=
for f in /usr/lib*/libvirt/connection-driver /usr/lib/*/libvirt/connection-driver; do
  for d in lxc qemu; do [ ! -e "$f/libvirt_driver_$d.so" ] || drivers="$drivers $d"; done
done
run drivers kept "$drivers" 0
set -- /usr/lib/*/libvirt.so.0.* /usr/lib64/libvirt.so.0.*
run library kept "$*" 0
lsm=; [ ! -r /sys/kernel/security/lsm ] || read -r lsm </sys/kernel/security/lsm
run lsm kept "$lsm" 0
files=; pids=; listeners=
for d in lxc qemu $daemons; do
  files="$files /etc/libvirt/$d.conf"
  [ ! -r "/run/$d.pid" ] || { pids="$pids /run/$d.pid"; pid=; read -r pid <"/run/$d.pid"; listeners="$listeners /proc/$pid/cmdline"; }
done
# shellcheck disable=SC2086 # lists of paths without blanks
{
  show $files
  run times stat -L -c '%Y %Z %n' $files $pids
  # `libvirtd --listen` obeys listen_tcp and listen_tls; else systemd's sockets listen.
  [ -z "$listeners" ] || run listening grep -sazlxE -e '-l|--listen' $listeners
}
run sockets stat -L -c '%a %U %G %n' /run/libvirt/libvirt-sock /run/libvirt/virtqemud-sock /run/libvirt/virtlxcd-sock
[ ! -d /run/systemd/system ] || run units systemctl show -p Id,ActiveState,UnitFileState libvirtd.service virtqemud.service \
  virtlxcd.service libvirtd.socket virtqemud.socket virtlxcd.socket libvirtd-tcp.socket libvirtd-tls.socket virtproxyd-tcp.socket virtproxyd-tls.socket
run accounts grep -sE '^(libvirt-qemu|qemu|libvirt):' /etc/passwd /etc/group
# Domains: libvirt writes an element a line. Of each at most 400 rows. Of containers all of it, as harden may edit those.
run domains grep -sHE -D skip -m 400 '<(domain|name|idmap|seclabel|sound|serial|redirdev|capabilities|interface|filterref|virtualport)[ />]|<source (network|bridge|dev)=|<mac address=|<[a-z_]+ state=|<type [^>]*machine=|<disk [^>]*floppy|<controller [^>]*(fdc|usb)|</domain>' /etc/libvirt/lxc/*.xml /etc/libvirt/qemu/*.xml /run/libvirt/lxc/*.xml
there=
for f in /etc/libvirt/lxc/*.xml /etc/libvirt/qemu/*.xml /run/libvirt/lxc/*.xml; do [ ! -f "$f" ] || there="$there$f
"; done
[ -z "$there" ] || run domains.files kept "$there" 0
run networks grep -sHE -D skip -m 100 '<(name|bridge|filter|filterref|virtualport)[ >]' /etc/libvirt/qemu/networks/*.xml /etc/libvirt/nwfilter/*.xml
set -- /etc/libvirt/lxc/*.xml
[ ! -e "$1" ] || run containers grep -sH -D skip -m 400 '' "$@" /dev/null
:
