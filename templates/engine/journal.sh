# The journal's half that runs on the host (sh, as root). Every write to a host goes through here.
#
#   $J/NNNN/           one entry per change, complete on disk before the change begins
#     entry.json       what it is, in words
#     path             the file it is about, behind any link
#     original         that file as it was (cp -a: content, mode, owner, ACL, xattrs); `absent` where there was none
#     written          sha256 of what we wrote; `asked` what was to be installed, `packages` what that added
#     undo             sh: takes a live change back; `activate`: sh: makes the restored file live
#     done             the change was made
#     armed            it could have cut us off: its subject; `do` a live change, `replaced` a file, for an undo taken back
#   $J/armed           these changes wait to be confirmed over a fresh connection, or the host takes them back: their
#                      subject, and of an undo the entries, last first
#   $J/taking          it does so just now; whoever moves `armed` away decides, the confirmation or the timer
#
# Speaks on stdout in lines "@NONCE ok ID", "@NONCE fail ID WHY": nothing else there is believed.

trap '' HUP PIPE
LC_ALL=C; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
umask 077
BASE=${HULLPROOF_JOURNAL:-/var/lib/hullproof/journal}
STATE=${BASE%/*}
REVERT_UNIT=${HULLPROOF_UNITS:-/etc/systemd/system}/hullproof-revert.service

# The controller may be gone (ignored SIGPIPE): what was begun is finished all the same.
ok() { printf '@%s ok %s\n' "$N" "$1" || :; }
# Whatever a tool said, in whichever encoding, arrives: a `?` for each byte that is no printable ASCII.
fail() { id=$1; shift; printf '@%s fail %s %s\n' "$N" "$id" "$(printf '%s' "$*" | tr '\n\t\001-\010\013-\037\177-\377' '; [?*]' | tail -c 1500)" || :; }
# Processes are dear on a slow host: what the shell can do itself it does, and answers come in variables.
digest() { digest=absent; if [ -e "$1" ]; then digest=$(sha256sum <"$1") && digest=${digest%% *}; fi; }
beside() { folder=${1%/*}; new=$folder/.${1##*/}.hullproof-new; } # PATH, absolute
gone() { [ ! -e "$1" ] && [ ! -L "$1" ] || rm -rf -- "$1"; }

open_journal() { # RUN JSON: one run at a time changes a host
  J=$BASE/$1
  if command -v flock >/dev/null 2>&1; then
    mkdir -p /run/lock && exec 9>/run/lock/hullproof && flock -w 20 9 || { fail 0 "another run is changing this host"; exit 1; }
  fi
  why=$({ mkdir -p "$J" && { [ -e "$J/run.json" ] || {
    printf '%s\n' "$2" >"$J/run.json.new" && sync "$J/run.json.new" && mv "$J/run.json.new" "$J/run.json" &&
      sync "$J" "$BASE"; }; }; } 2>&1) ||
    { fail 0 "cannot write the journal in $J, so nothing was changed: $why"; exit 1; }
}

entry() { # ID JSON UNDO ACTIVATE: the entry's directory is $E; it is not complete before `seal`
  E=$J/$1; gone "$E.new" && mkdir "$E.new" || return 1
  if [ -e "$J/armed" ]; then cp -- "$J/armed" "$E.new/armed" || return 1; fi
  printf '%s\n' "$2" >"$E.new/entry.json" && printf '%s\n' "$3" >"$E.new/undo" && printf '%s\n' "$4" >"$E.new/activate"
}

keep() { # PATH: its original into the entry that is being written
  printf '%s\n' "$1" >"$E.new/path" || return 1
  if [ -e "$1" ]; then cp -a -- "$1" "$E.new/original"; else : >"$E.new/absent"; fi
}

seal() { sync "$@" "$E.new"/* "$E.new" && mv "$E.new" "$E" && sync "$J"; } # FILE...: they are durable too

replace() { mv -f -- "$new" "$1" && sync "$folder/"; } # PATH, once `beside` it there is what is durable already

write_file() { # ID JSON PATH MODE OWNER BEFORE VALIDATE ACTIVATE <base64
  id=$1; path=$3
  [ -L "$path" ] && path=$(readlink -f -- "$path")
  if [ -d "$path" ]; then fail "$id" "$path is a directory, not a file"; return 1; fi
  digest "$path"
  if [ "$digest" != "$6" ]; then
    fail "$id" "$path is no longer what the survey read: somebody changed it meanwhile; nothing was written, run again"; return 1
  fi
  beside "$path"; mode=$4; there=1; made=
  [ -e "$path" ] || { there=; mode=${mode:-0644}; }
  [ -d "$folder/" ] || made=1
  if ! why=$( { { [ -z "$made" ] || mkdir -p -m 0755 -- "$folder"; } && gone "$new" &&
      { [ -z "$there" ] || cp -a -- "$path" "$new"; } && base64 -d >"$new"; } 2>&1); then
    rm -f -- "$new"; fail "$id" "$path: $why"; return 1
  fi
  [ -n "$there" ] || { command -v restorecon >/dev/null 2>&1 && chcon --reference="$folder/" "$new" 2>/dev/null; }
  [ -z "$mode" ] || chmod "$mode" "$new"
  [ -z "$5" ] || chown "$5" "$new"
  if [ -n "$7" ] && ! why=$(NEW=$new sh -c "$7" 2>&1 </dev/null); then
    rm -f -- "$new"; fail "$id" "$path: the new file was refused, the old one stays: $why"; return 1
  fi
  if ! why=$( { entry "$id" "$2" "" "$8" && keep "$path" && digest "$new" && echo "$digest" >"$E.new/written" &&
      { [ -z "$made" ] || : >"$E.new/made"; } && seal "$new"; } 2>&1); then
    rm -f -- "$new"; fail "$id" "the journal cannot keep the original of $path, so it was not touched: $why"; return 1
  fi
  if ! why=$(replace "$path" 2>&1); then rm -f -- "$new"; fail "$id" "$path: $why"; return 1; fi
  command -v restorecon >/dev/null 2>&1 && restorecon "$path" 2>/dev/null 9>&- # which may not have our lock
  finish "$id" "$8"
}

remove_file() { # ID JSON PATH BEFORE ACTIVATE
  digest "$3"; beside "$3"
  if [ "$digest" != "$4" ]; then fail "$1" "$3 is no longer what the survey read; it was left alone, run again"; return 1; fi
  if ! why=$( { entry "$1" "$2" "" "$5" && keep "$3" && seal && rm -f -- "$3" && sync "$folder/"; } 2>&1); then
    fail "$1" "$3: $why"; return 1
  fi
  finish "$1" "$5"
}

finish() { # ID ACTIVATE: make a file live, or put the old one back
  if [ -n "$2" ] && ! why=$(sh -c "$2" 2>&1 </dev/null); then
    undo "$J/$1" >/dev/null 2>&1; fail "$1" "put back as it was, since it could not be made live: $why"; return 1
  fi
  : >"$J/$1/done"; ok "$1"
}

run_command() { # ID JSON SCRIPT UNDO
  if ! why=$( { entry "$1" "$2" "$4" "" && printf '%s\n' "$3" >"$E.new/do" && seal; } 2>&1); then
    fail "$1" "the journal cannot be written, so nothing was done: $why"; return 1
  fi
  if ! why=$(sh -c "$3" 2>&1 </dev/null); then
    undo "$J/$1" >/dev/null 2>&1; fail "$1" "$why"; return 1
  fi
  : >"$J/$1/done"; ok "$1"
}

packages() {
  if command -v dpkg-query >/dev/null 2>&1; then dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p'
  else rpm -qa --qf '%{NAME}\n'; fi | sort -u
}

# needrestart(1) would restart daemons, Docker too, unasked: it lists them only.
apt() { DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q -y -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 "$@"; }

install_packages() { # ID JSON NAME...: what was added, dependencies too, is what an undo removes
  id=$1; json=$2; shift 2
  if ! why=$( { entry "$id" "$json" "" "" && packages >"$E.new/before" && printf '%s\n' "$@" | sort -u >"$E.new/asked" && seal; } 2>&1); then
    fail "$id" "the journal cannot be written: $why"; return 1
  fi
  if command -v apt-get >/dev/null 2>&1; then
    why=$( { apt --no-install-recommends install "$@" || { half_done; apt update && apt --no-install-recommends install "$@"; }; } 2>&1 </dev/null)
  else
    why=$(dnf -q -y --setopt=install_weak_deps=False install "$@" 2>&1 </dev/null)
  fi
  status=$?
  packages | comm -13 "$J/$id/before" - >"$J/$id/packages"
  if [ $status != 0 ]; then undo "$J/$id" >/dev/null 2>&1; fail "$id" "could not install $*: $(printf '%s' "$why" | grep -v '^$' | tail -n 3)"; return 1; fi
  : >"$J/$id/done"; ok "$id"
}

half_done() { DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a; } # apt refuses where power was lost midway

remove_packages() { # FILE with their names
  [ -s "$1" ] || return 0
  if command -v apt-get >/dev/null 2>&1; then apt purge $(cat "$1") || { half_done && apt purge $(cat "$1"); }; else dnf -q -y remove $(cat "$1"); fi </dev/null
}

undo() { # ENTRY: what is there now is kept beside the original, so that an undo can be understood later
  [ -e "$1/undone" ] && return 0
  if [ -e "$1/path" ]; then
    IFS= read -r path <"$1/path"; beside "$path"
    if [ -e "$path" ] && [ ! -d "$path" ]; then
      { cp -a -- "$path" "$1/replaced.new" && mv -f -- "$1/replaced.new" "$1/replaced"; } || [ ! -e "$J/armed" ] || return 1
    fi
    if [ -e "$1/original" ]; then
      gone "$new" && cp -a -- "$1/original" "$new" && sync "$new" && replace "$path"
    elif [ -e "$1/absent" ]; then
      rm -f -- "$path" && { [ ! -e "$1/made" ] || rmdir -- "$folder" 2>/dev/null || :; }
    fi || return 1
  fi
  # An installation that was cut off: what was asked for is known, what came with it is not, and stays.
  [ ! -e "$1/asked" ] || [ -e "$1/packages" ] || comm -13 "$1/before" "$1/asked" >"$1/packages"
  if [ -e "$1/packages" ]; then remove_packages "$1/packages" || return 1; fi
  hooks "$1" undo activate || return 1
  : >"$1/undone"; sync "$1"
}

hooks() { # ENTRY NAME...
  at=$1; shift
  for hook; do
    if [ -n "$(cat "$at/$hook" 2>/dev/null)" ]; then sh "$at/$hook" </dev/null || return 1; fi
  done
}

redo() { # ENTRY: what its undo took away; the same once more where power was lost in the middle. It stands again also
  # where not all of it could be made live: at boot some of it is not there yet, and its files bring the rest.
  if [ -e "$1/path" ]; then
    IFS= read -r path <"$1/path"; beside "$path"
    if [ -e "$1/replaced" ]; then
      mkdir -p -m 0755 -- "$folder" && gone "$new" && cp -a -- "$1/replaced" "$new" && sync "$new" && replace "$path"
    elif [ -e "$1/undone" ]; then rm -f -- "$path"
    fi || return 1
  fi
  hooks "$1" do; hooks "$1" activate
  rm -f "$1/undone" "$1/replaced"; sync "$1"
}

wait_healthy() { # HEALTHY SECONDS
  deadline=$(($(date +%s) + $2))
  until sh -c "$1" >/dev/null 2>&1 </dev/null; do
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    sleep 1
  done
}

begin_service() { # ID JSON ACTIVATE HEALTHY SECONDS: stands before its files, so that an undo activates after them
  undo_script="($3) && deadline=\$((\$(date +%s) + $5)) && until ($4) >/dev/null 2>&1; do [ \$(date +%s) -lt \$deadline ] || exit 1; sleep 1; done"
  if ! why=$( { entry "$1" "$2" "$undo_script" "" && seal; } 2>&1); then fail "$1" "the journal cannot be written: $why"; return 1; fi
}

put_back() { # FILE-ENTRY...: the files of a service as they were; $back names them
  back=
  for e in $(printf '%s\n' "$@" | sort -r); do
    if [ -e "$J/$e/done" ]; then undo "$J/$e" >/dev/null 2>&1 && back="$back $(cat "$J/$e/path")" && rm -f "$J/$e/done"; fi
  done
}

activate_service() { # ID SERVICE ACTIVATE HEALTHY EXPLAIN SECONDS FILE-ENTRY...: files go back if it does not come up
  id=$1; name=$2; activate=$3; healthy=$4; explain=$5; seconds=$6; shift 6
  if said=$(sh -c "$activate" 2>&1 </dev/null) && wait_healthy "$healthy" "$seconds"; then : >"$J/$id/done"; ok "$id"; return 0; fi
  said="$said $(sh -c "$explain" 2>&1 </dev/null)"
  put_back "$@"
  sh -c "$activate" >/dev/null 2>&1 </dev/null
  if wait_healthy "$healthy" "$seconds"; then now="$name runs as before"; else now="$name STILL DOES NOT RUN"; fi
  fail "$id" "$name did not come up with the new settings; put back:$back; $now. It said: $said"
  return 1
}

undo_run() { # the whole run $J, last change first. Behind what was armed it ends (`ok 2`), until that is confirmed
  waits=
  for e in $(ls -r "$J" | grep -E '^[0-9]{4}$'); do
    [ -e "$J/$e/undone" ] && continue
    of=; [ ! -e "$J/$e/armed" ] || read -r of <"$J/$e/armed"
    [ -z "$waits" ] || [ "$of" = "$waits" ] || break
    if [ -n "$of" ]; then
      [ -n "$waits" ] || arm_undo "$e" "$of" || return 1
      waits=$of; echo "$e" >>"$J/armed"; sync "$J/armed"
    fi
    if why=$(undo "$J/$e" 2>&1); then ok "$e"; else fail "$e" "$why"; fi
    [ -z "$waits" ] || hold "$e" redo || { revert_now "${J##*/}"; fail 2 "put back"; return 1; }
  done
  if [ -n "$waits" ]; then ok 2; return; fi
  if ls "$J"/[0-9]*/entry.json >/dev/null 2>&1 && [ -z "$(for e in "$J"/[0-9][0-9][0-9][0-9]; do [ -e "$e/undone" ] || echo left; done)" ]; then
    : >"$J/undone"
  fi
  sync "$J"
}

# Changes that could cut us off: armed, made, confirmed over a fresh connection. What is not confirmed the host undoes by
# itself, by a timer; and where it was rebooted meanwhile, before its network comes up.

lock_if_we_can() { command -v flock >/dev/null 2>&1 && mkdir -p /run/lock && exec 9>/run/lock/hullproof && flock -w "$1" 9; }

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
  printf '%s\n' '# Written by hullproof: network changes that nobody could confirm are taken back.' '[Unit]' \
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
  why=$(systemctl restart "hullproof-revert-${J##*/}.timer" 2>&1) || { fail "$1" "the timer could not be set anew: $why"; return 1; }
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

revert() { # RUN [ENTRY]: the host itself, when nobody confirmed
  J=$BASE/$1; lock_if_we_can 60
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
  go_back "${2-}" >/dev/null 2>&1; disarm "$1"
}

confirm_armed() { # RUN
  J=$BASE/$1; lock_if_we_can 20
  if [ -e "$J/taking" ]; then fail 1 "the host is taking it back just now"; return 1; fi
  if ! mv "$J/armed" "$J/kept" 2>/dev/null; then fail 1 "the host had taken it back already"; return 1; fi
  read -r subject <"$J/kept"; disarm "$1"; rm -f "$STATE/reverted-$subject"; ok 1
}

still_armed() { # RUN
  if [ -e "$BASE/$1/armed" ] || [ -e "$BASE/$1/taking" ]; then ok 2
  elif grep -qs "^$1 " "$STATE"/reverted-*; then fail 2 "the host has taken it back by itself"
  else fail 2 "nothing waits there: it had not begun, or was confirmed; see by a drift run"
  fi
}
