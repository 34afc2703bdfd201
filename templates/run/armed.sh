# The journal's changes that could cut us off: armed, made, confirmed over a fresh connection. What is not confirmed
# the host undoes by itself, by a timer; and where it was rebooted meanwhile, before its network comes up.
# shellcheck disable=SC2010,SC2034 # entries are numbers; undo.sh reads FORCE

arm() { # RUN ENTRY SECONDS SUBJECT <the script that reverts, base64
  for other in "$BASE"/*/armed; do
    [ ! -e "$other" ] || { fail "$2" "a change waits to be confirmed, so nothing was changed: run again in two minutes, or \`systemctl start hullproof-revert\`"; return 1; }
  done
  if ! why=$( { command -v systemd-run && base64 -d >"$STATE/revert.sh.new" && mv "$STATE/revert.sh.new" "$STATE/revert.sh" &&
      printf '%s\n' "$4" >"$J/armed" && sync "$STATE/revert.sh" "$J/armed" &&
      systemd-run --quiet --collect --unit="hullproof-revert-$1" --on-active="$3" --timer-property=AccuracySec=1s \
        /bin/sh "$STATE/revert.sh" && at_boot; } 2>&1); then
    disarm "$1"; fail "$2" "no timer could be set that takes it back, so nothing was changed: $why"; return 1
  fi
}

at_boot() {
  printf '%s\n' '# Written by hullproof: network changes that were not confirmed are taken back.' '[Unit]' \
    'Description=Take back unconfirmed network changes (hullproof)' 'DefaultDependencies=no' 'After=local-fs.target' \
    'Wants=network-pre.target' 'Before=network-pre.target' '[Service]' 'Type=oneshot' 'TimeoutStartSec=90' \
    "ExecStart=/bin/sh $STATE/revert.sh" '[Install]' 'WantedBy=sysinit.target' >"$REVERT_UNIT" &&
    chmod 0644 "$REVERT_UNIT" && sync "$REVERT_UNIT" && systemctl -q enable hullproof-revert.service
}

disarm() { # RUN
  rm -f "$J/armed" "$J/taking" "$J/kept" "$STATE/revert.sh"
  if [ -e "$REVERT_UNIT" ]; then systemctl -q --no-reload disable hullproof-revert.service 2>/dev/null; rm -f "$REVERT_UNIT"; systemctl daemon-reload; fi
  systemctl stop "hullproof-revert-$1.timer" 2>/dev/null; sync "$J"
}

hold() { # ENTRY, an armed change just made, or with `redo` its undo. The clock is for those who confirm: slow work winds it up again.
  if [ ! -e "$J/armed" ]; then
    fail "$1" "it took too long: meanwhile the host took the step back"
    until [ ! -e "$J/taking" ]; do sleep 1; done
    "${2:-undo_anew}" "$J/$1" >/dev/null 2>&1 # what was under way while it was taken back
    return 1
  fi
  now=$(date +%s); held=${held:-$(stat -c %Y "$J/armed")}
  [ $((now - ${held:-0})) -ge 15 ] || return 0
  held=$now
  why=$(systemctl restart "hullproof-revert-${J##*/}.timer" 2>&1) || { fail "$1" "the timer could not be restarted: $why"; return 1; }
}

undo_anew() { rm -f "$1/undone"; undo "$1"; }

take_back() { # ENTRY: this one and all after it, last first
  for e in $(ls -r "$J" | grep -E '^[0-9]{4}$'); do
    [ "$e" -ge "$1" ] || continue
    [ -e "$J/$e/undone" ] || undo "$J/$e" || :
  done
}

put_again() { # what an undo had taken away, first change first
  for e in $(sed 1d "$J/taking" | sort); do redo "$J/$e" || :; done
}

go_back() { if [ -n "$1" ]; then take_back "$1"; else put_again; fi; } # [ENTRY]: without one it was an undo

revert() { # RUN [ENTRY]: the host itself, when no fresh connection confirmed
  J=$BASE/$1; FORCE=1; lock 60 || : # waits for a step that is under way; nothing may keep us from reverting
  [ -e "$J/taking" ] || mv "$J/armed" "$J/taking" 2>/dev/null || return 0 # there already: power was lost in the middle
  read -r subject <"$J/taking"
  go_back "$2"
  what=; [ -n "$2" ] || what=' undo'
  printf '%s %s%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$what" >"$STATE/reverted.new" &&
    mv "$STATE/reverted.new" "$STATE/reverted-$subject"
  disarm "$1"
}

revert_now() { # RUN [ENTRY]: a change of the step failed, and half a network is none
  mv "$J/armed" "$J/taking" 2>/dev/null || return 0
  FORCE=1; go_back "${2-}" >/dev/null 2>&1; FORCE=; disarm "$1"
}

confirm_armed() { # RUN
  J=$BASE/$1; lock 20
  if [ -e "$J/taking" ]; then fail confirmed "the host is taking it back just now"; return 1; fi
  if ! mv "$J/armed" "$J/kept" 2>/dev/null; then fail confirmed "the host had taken it back already"; return 1; fi
  read -r subject <"$J/kept"; disarm "$1"; rm -f "$STATE/reverted-$subject"; ok confirmed
}

still_armed() { # RUN
  if [ -e "$BASE/$1/armed" ] || [ -e "$BASE/$1/taking" ]; then ok waiting
  elif grep -qs "^$1 " "$STATE"/reverted-*; then fail waiting "the host has taken it back by itself"
  else fail waiting "nothing waits to be confirmed on the host: the change had not begun, or was confirmed; run drift to see"
  fi
}
