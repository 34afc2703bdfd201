# shellcheck shell=sh
# The boot health check of the first boot in enforcing, which needs no controller (hullproof). POSIX sh, as root. Follows
# engines/kept.sh in one script.
#
#   arm      records what works now, and has the next boot run the check
#   gate     at boot: if all of that works again, removes the check; else makes SELinux permissive, live and on disk
#   disarm   removes the check

R=${HULLPROOF_ROOT:-} # another root for tests
S=$R/var/lib/hullproof
KEPT=$R/etc/hullproof/selinux-gate # on the root file system, since a boot without /var has to go back too
NAME=hullproof-selinux-gate.service
UNIT=$R/etc/systemd/system/$NAME
PAUSE=${HULLPROOF_PAUSE:-3}

ports() { # "ADDRESS PORT" where sshd listens, or systemd for it; not what its sessions forward
  main=$(systemctl show -p MainPID --value sshd.service)
  { ss -Hltnp 2>/dev/null | awk -v pid=",pid=${main:-0}," 'index($0, pid) { print $4 }'
    for unit in ssh.socket sshd.socket; do
      [ "$(systemctl is-active $unit)" != active ] || systemctl show -p Listen --value $unit | sed -n 's/ (Stream).*//p'
    done; } | sed -n 's/^\(.*\):\([0-9][0-9]*\)$/\1 \2/p' | sed 's/[][]//g; s/^0\.0\.0\.0 /127.0.0.1 /; s/^[*:]* /127.0.0.1 /' | sort -u
}

arm() {
  places=$(ports)
  [ -n "$places" ] || { echo "it is not known where sshd listens, so the first boot in enforcing would have no way back"; exit 1; }
  { printf '%s\n' "$places" | sed 's/^/ssh /'
    kept
    kept_by_docker
  } >"$KEPT" || exit 1
  cat >"$UNIT" <<END
# Written by hullproof, which removes it after a boot in enforcing has passed.
[Unit]
Description=Boot health check of the first boot in enforcing (hullproof)
# Early, and needing nothing but the root: it has to go back also from a boot that ends in emergency mode.
DefaultDependencies=no
After=systemd-remount-fs.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
# No oneshot: the boot does not wait for it.
Type=simple
ExecStart=/bin/sh $KEPT.sh gate

[Install]
WantedBy=sysinit.target
END
  sync "$KEPT" "$UNIT" && systemctl -q enable "$NAME"
}

answers() { timeout 10 bash -c 'exec 3<>"/dev/tcp/$1/$2" && head -c 4 <&3' - "$1" "$2" 2>/dev/null | grep -q SSH-; }

unwell() { # what does not work yet, in $why; false where all works
  while read -r kind what port; do
    [ "$kind" != ssh ] || answers "$what" "$port" || { why="sshd does not answer on port $port of $what"; return 0; }
  done <"$KEPT"
  why=$(gone "$KEPT" | joined)
  [ -n "$why" ]
}

uptime() { cut -d. -f1 "$R/proc/uptime"; }

gate() {
  [ "$(cat "$R/sys/fs/selinux/enforce")" = 1 ] || exit 0 # not a boot in enforcing
  end=$(($(uptime) + 600))
  while unwell; do
    if [ "$(uptime)" -ge "$end" ]; then go_back; return; fi
    sleep "$PAUSE"
  done
  disarm
}

go_back() {
  echo 0 >"$R/sys/fs/selinux/enforce"
  sed -i 's/^[[:space:]]*SELINUX=.*/SELINUX=permissive/' "$R/etc/selinux/config"
  restorecon "$R/etc/selinux/config" 2>/dev/null
  printf 'boot %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "the first boot in enforcing failed its health check: $why" >"$S/reverted-selinux"
  start_gone "$KEPT"
  disarm
}

disarm() {
  systemctl -q disable "$NAME" 2>/dev/null
  rm -f "$UNIT" "$KEPT" "$KEPT.sh"
  systemctl daemon-reload
}

"$1"
