# shellcheck shell=sh
# Succeeds once each of libvirt's DRIVERS answers and lists the domains that run. With a file that it cannot read libvirt
# starts all the same, without the driver whose file it is.
for driver in $DRIVERS; do
  case $driver in qemu) uri=qemu:///system ;; *) uri=$driver:/// ;; esac
  answers=
  for daemon in $DAEMONS; do
    [ "$(systemctl is-active "$daemon.service")" = inactive ] && [ "$(systemctl is-active "$daemon.socket")" != active ] || answers=1
  done
  [ -n "$answers" ] || continue # nobody runs it: there is none to be asked
  listed=$(timeout 30 virsh -q -c "$uri" list --name) || exit 1
  for file in /run/libvirt/"$driver"/*.pid; do
    [ -e "${file%.pid}.xml" ] || continue # driver.pid is the driver's own
    pid=; read -r pid <"$file"
    [ -e "/proc/${pid:-0}/status" ] || continue
    name=${file##*/}
    printf '%s\n' "$listed" | grep -qxF -e "${name%.pid}" || exit 1
  done
done
