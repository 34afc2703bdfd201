# shellcheck shell=sh
# The section nspawn of the survey: how systemd starts machines, and the files with which single machines differ. Given:
# DROP_IN, hullproof's own file, and UNIT, a machine that nobody has.
have systemd-nspawn || exit 0
run nspawn command -v systemd-nspawn
[ ! -d /run/systemd/system ] || run unit systemctl show \
  -p LoadState,ExecStart,TasksMax,MemoryMax,MemorySwapMax,Environment,EnvironmentFiles "$UNIT"
show "$DROP_IN"
places=$(grep -sHoE '^(ExecStart|TasksMax|MemoryMax|MemorySwapMax)=' /etc/systemd/system/systemd-nspawn@.service.d/*.conf \
  /run/systemd/system/systemd-nspawn@.service.d/*.conf /usr/lib/systemd/system/systemd-nspawn@.service.d/*.conf)
run places kept "$places" 0
# Control groups of version 2, and of version 1.
running=$(ls -d /sys/fs/cgroup/machine.slice/systemd-nspawn@*.service \
  /sys/fs/cgroup/systemd/machine.slice/systemd-nspawn@*.service 2>/dev/null)
[ -z "$running" ] || run running kept "$running" 0
# Whose the machines' trees and images are, and on which file systems.
set --
for f in /var/lib/machines/[!.]*/ /var/lib/machines/*.raw; do [ ! -e "$f" ] || set -- "$@" "$f"; done
if [ $# != 0 ]; then
  run kernel cat /proc/sys/kernel/osrelease
  run owners stat -L -c '%u %n' -- "$@"
  run 'file systems' stat -L -f -c '%T %n' -- "$@"
fi
set -- /etc/systemd/nspawn/*.nspawn /run/systemd/nspawn/*.nspawn /var/lib/machines/*.nspawn \
  /etc/systemd/system/systemd-nspawn@?*.service /run/systemd/system/systemd-nspawn@?*.service \
  /etc/systemd/system/systemd-nspawn@?*.service.d/*.conf /run/systemd/system/systemd-nspawn@?*.service.d/*.conf \
  /etc/systemd/system.control/systemd-nspawn@?*.service.d/*.conf \
  /run/systemd/system.control/systemd-nspawn@?*.service.d/*.conf
files=$(grep -asHnvE '^[[:space:]]*([#;]|$)' "$@" /dev/null)
run files kept "$files" 0
:
