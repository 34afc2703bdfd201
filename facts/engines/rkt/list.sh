# shellcheck shell=sh
# rkt, which is no longer maintained: only whether something of it is there.
for trace in /usr/bin/rkt /var/lib/rkt /usr/lib/systemd/system/rkt-*.service /etc/systemd/system/rkt-*.service; do
  if [ -e "$trace" ]; then engine rkt true && break; fi
done
