# shellcheck shell=sh
# Restarts libvirt's DAEMONS with their new files. What they have started goes on (KillMode=process). One that is idle has
# ended by itself, and reads its files when its socket starts it.
for daemon in $DAEMONS; do
  if [ "$(systemctl is-active "$daemon.service")" != inactive ]; then
    systemctl reset-failed "$daemon.service" 2>/dev/null
    timeout 120 systemctl restart "$daemon.service" || exit 1
  fi
done
