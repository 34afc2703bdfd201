# Enforces live. Unless a fresh connection is made in time, the host goes back by itself: to permissive, or where even
# that is refused, by a reboot, which finds permissive on disk. Given: SECONDS_, UNIT.
systemctl stop $UNIT.timer 2>/dev/null
systemctl reset-failed $UNIT.service 2>/dev/null
systemd-run --quiet --unit=$UNIT --on-active=$SECONDS_ --timer-property=AccuracySec=1s \
  /bin/sh -c 'echo 0 >/sys/fs/selinux/enforce || { sync; systemctl --force reboot || echo b >/proc/sysrq-trigger; }' ||
  { echo "the way back could not be armed, so nothing was enforced"; exit 1; }
echo 1 >/sys/fs/selinux/enforce
