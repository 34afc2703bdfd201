# The journal's half that runs on the host (sh, as root). Every write to a host goes through here.
#
#   $J/NNNN/           one entry per change, complete on disk before the change begins
#     entry.json       what it is, in words
#     path             the file it is about, behind any link
#     original         that file as it was (cp -a: content, mode, owner, ACL, xattrs); `absent` where there was none
#     written          sha256 of what we wrote, `as` its mode and owner; `wrote` all of it, where others own the file too
#     asked            what was to be installed, `packages` what that added
#     undo             sh: takes a live change back; `activate`: sh: makes the restored file live
#     service          the entry of the service that takes this file up
#     done             the change was made; `undone`: it was taken back; `skipped`: an operator has it stay
#     note             what is to be known of how it was taken back; `replaced`: what was there until then, `vacant`: nothing
#     kept-TIME        what was written there after an undo that was itself taken back
#     armed            it could have cut us off: its subject; `do` a live change, `replaced` a file, for an undo taken back
#   $J/armed           these changes wait to be confirmed over a fresh connection, or the host takes them back: their
#                      subject, and of an undo the entries, last first
#   $J/taking          it does so just now; whoever moves `armed` away decides, the confirmation or the timer
#   $BASE/lock         which run changes this host, since when and from where; held while one of its steps is under way
#
# Speaks on stdout in lines "@NONCE ok ID NOTE", "@NONCE fail ID WHY", "@NONCE put-back ID": nothing else there is believed.
# ID is an entry, or what is answered as a whole: `journal`, could it be opened; `confirmed`, does what was armed last;
# `waiting`, does something armed wait for that.

# shellcheck disable=SC1007,SC2034,SC2045,SC3067 # what follows reads some; runs have names of ours; every sh has -O
trap '' HUP PIPE
LC_ALL=C; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
umask 077
BASE=${HULLPROOF_JOURNAL:-/var/lib/hullproof/journal}
STATE=${BASE%/*}
LOCK=$BASE/lock
QUIET=${HULLPROOF_QUIET:-20} # seconds without a step, after which a run that did not say that it ended counts as dead
UNDONE_RUNS=20               # so many journals are kept of which nothing is left to undo
SERVICE= FORCE= SKIP= LEAVE=
REVERT_UNIT=${HULLPROOF_UNITS:-/etc/systemd/system}/hullproof-revert.service

# The controller may be gone (ignored SIGPIPE): what was begun is finished all the same.
# Whatever a tool said, in whichever encoding, arrives: a `?` for each byte that is no printable ASCII.
printable() { printf '%s' "$1" | tr '\n\t\001-\010\013-\037\177-\377' '; [?*]'; }
ok() { printf '@%s ok %s %s\n' "$N" "$1" "${2:+$(printable "$2")}" || :; }
fail() { id=$1; shift; printf '@%s fail %s %s\n' "$N" "$id" "$(printable "$*" | tail -c 1500)" || :; }
went_back() { printf '@%s put-back %s\n' "$N" "$1" || :; } # ID: it was made, and put back by this very script
# Processes are dear on a slow host: what the shell can do itself it does, and answers come in variables.
digest() { # PATH
  digest=absent
  if [ -f "$1" ]; then digest=$(sha256sum <"$1") && digest=${digest%% *}; elif [ -e "$1" ]; then digest='no file'; fi
}
beside() { folder=${1%/*}; new=$folder/.${1##*/}.hullproof-new; } # PATH, absolute
# mkdir -m is for the last folder alone.
readable() { (umask 022 && mkdir -p -- "$1"); } # FOLDER, and those above it
gone() { [ ! -e "$1" ] && [ ! -L "$1" ] || rm -rf -- "$1"; }

own_place() { # another user who may write there could keep us from working, or have us write elsewhere; $why not
  for at in "$STATE" "$BASE"; do
    if [ -L "$at" ]; then why="$at is a symbolic link, not a folder"; return 1; fi
    [ -d "$at" ] || why=$(mkdir -p "$at" 2>&1) || return 1
    if ! [ -O "$at" ]; then why="$at does not belong to root"; return 1; fi
  done
  why=$(chmod 700 "$STATE" "$BASE" 2>&1)
}

# Whatever is not of the journal runs without it (9>&-): a daemon that it leaves behind would hold it for ever.
lock() { # SECONDS: the lock on changes, until this script ends; $why where there can be none
  why=
  command -v flock >/dev/null 2>&1 || return 0
  if [ -L "$LOCK" ] || { [ -e "$LOCK" ] && ! [ -f "$LOCK" ]; }; then why="$LOCK is no plain file, so nothing was changed: remove it"; return 1; fi
  { command exec 9>>"$LOCK"; } 2>/dev/null || { why="$LOCK cannot be opened, so nothing was changed"; return 1; }
  flock -w "$1" 9
}

busy() { # RUN: another run is at work here ($turn says so), though between two of its steps it does not hold the lock
  holder=; since=; by=; ended=
  if [ -f "$LOCK" ]; then { read -r holder since by; read -r ended; } <"$LOCK"; fi
  who="$holder, $by, since $since"; turn="another run is changing this host: $who. Run again when it has ended"
  [ "$holder" != "$1" ] || return 1
  for at in "$BASE"/*/armed "$BASE"/*/taking; do # what the host may yet take back is no ground for another run to build on
    [ -e "$at" ] || continue
    at=${at%/*}
    turn="changes of run ${at##*/} wait to be confirmed, or the host is taking them back: run again in two minutes. If they still wait then, \`sh $STATE/revert.sh\` on the host takes them back"
    return 0
  done
  [ -n "$holder" ] && [ -z "$ended" ] || return 1
  age=$(($(date +%s) - $(stat -c %Y "$LOCK")))
  [ $age -ge 0 ] && [ $age -lt "$QUIET" ]
}

take_turn() { # RUN BY: it is ours to change this host until this script ends; $why where it is another run's
  until=$(($(date +%s) + QUIET))
  while :; do
    if ! lock "$QUIET"; then busy "$1" || :; why=${why:-$turn}; return 1; fi
    busy "$1" || break
    flock -u 9 2>/dev/null
    if [ "$(date +%s)" -ge $until ]; then why=$turn; return 1; fi
    sleep 1
  done
  if [ "$holder" != "$1" ]; then
    if [ -n "$holder" ] && [ -e "$BASE/$1/run.json" ]; then why="another run has changed this host since this one began: $who. Run again"; return 1; fi
    printf '%s %s %s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$2" >"$LOCK"
  fi
  trap 'touch -c "$LOCK"' 0
}

left() { [ -e "$1/entry.json" ] && ! [ -e "$1/undone" ] && ! [ -e "$1/skipped" ]; } # ENTRY: it is still to be undone

spent() { # RUN: nothing of it is left to undo, and nothing was skipped, whose only original its journal holds
  for at in "$1"/[0-9][0-9][0-9][0-9]; do
    if left "$at" || [ -e "$at/skipped" ]; then return 1; fi
  done
}

prune() { # the oldest runs of which nothing is left
  count=0
  for old in $(ls -r "$BASE"); do
    [ -d "$BASE/$old" ] && spent "$BASE/$old" || continue
    count=$((count + 1))
    [ $count -le $UNDONE_RUNS ] || rm -rf -- "${BASE:?}/$old"
  done
}

open_journal() { # RUN JSON HOLDER BY: one run at a time changes a host: HOLDER, which is RUN or undoes it
  J=$BASE/$1
  own_place || { fail journal "no journal can be kept in $BASE, so nothing was changed: $why"; exit 1; }
  take_turn "$3" "$4" || { fail journal "$why"; exit 1; }
  [ -d "$J" ] || prune
  why=$({ mkdir -p "$J" && { [ -e "$J/run.json" ] || {
    printf '%s\n' "$2" >"$J/run.json.new" && sync "$J/run.json.new" && mv "$J/run.json.new" "$J/run.json" &&
      sync "$J" "$BASE"; }; }; } 2>&1) ||
    { fail journal "cannot write the journal in $J, so nothing was changed: $why"; exit 1; }
}

entry() { # ID JSON UNDO ACTIVATE: the entry's directory is $E; it is not complete before `seal`
  E=$J/$1; gone "$E.new" && mkdir "$E.new" || return 1
  if [ -e "$J/armed" ]; then cp -- "$J/armed" "$E.new/armed" || return 1; fi
  if [ -n "$SERVICE" ]; then printf '%s\n' "$SERVICE" >"$E.new/service" || return 1; fi
  printf '%s\n' "$2" >"$E.new/entry.json" && printf '%s\n' "$3" >"$E.new/undo" && printf '%s\n' "$4" >"$E.new/activate"
}

keep() { # PATH: its original into the entry that is being written
  printf '%s\n' "$1" >"$E.new/path" || return 1
  if [ -e "$1" ]; then cp -a -- "$1" "$E.new/original"; else : >"$E.new/absent"; fi
}

seal() { sync "$@" "$E.new"/* "$E.new" && mv "$E.new" "$E" && sync "$J"; } # FILE...: they are durable too

replace() { mv -f -- "$new" "$1" && sync "$folder/"; } # PATH, once `beside` it there is what is durable already

write_file() { # ID JSON PATH MODE OWNER BEFORE VALIDATE ACTIVATE SHARED <base64. SHARED: others own the file too
  id=$1; path=$3
  [ -L "$path" ] && path=$(readlink -f -- "$path")
  if [ -d "$path" ]; then fail "$id" "$path is a directory, not a file"; return 1; fi
  digest "$path"
  if [ "$digest" != "$6" ]; then
    fail "$id" "$path was changed after the survey had read it, so nothing was written: run again"; return 1
  fi
  beside "$path"; mode=$4; there=1; made=
  [ -e "$path" ] || { there=; mode=${mode:-0644}; }
  [ -d "$folder/" ] || made=1
  if ! why=$( { { [ -z "$made" ] || readable "$folder"; } && gone "$new" &&
      { [ -z "$there" ] || cp -a -- "$path" "$new"; } && base64 -d >"$new"; } 2>&1); then
    rm -f -- "$new"; fail "$id" "$path: $why"; return 1
  fi
  [ -n "$there" ] || { command -v restorecon >/dev/null 2>&1 && chcon --reference="$folder/" "$new" 2>/dev/null; }
  [ -z "$mode" ] || chmod "$mode" "$new"
  [ -z "$5" ] || chown "$5" "$new"
  if [ -n "$7" ] && ! why=$(NEW=$new sh -c "$7" 2>&1 </dev/null 9>&-); then
    rm -f -- "$new"; fail "$id" "$path: the new file was refused, the old one stays: $why"; return 1
  fi
  if ! why=$( { entry "$id" "$2" "" "$8" && keep "$path" && digest "$new" && echo "$digest" >"$E.new/written" &&
      stat -c '%a %u:%g' "$new" >"$E.new/as" && { [ -z "$made" ] || : >"$E.new/made"; } && share "$9" "$7" && seal "$new"; } 2>&1); then
    rm -f -- "$new"; fail "$id" "the journal cannot keep the original of $path, so it was not touched: $why"; return 1
  fi
  if ! why=$(replace "$path" 2>&1); then rm -f -- "$new"; give_up "$id" "$path: $why"; return 1; fi
  command -v restorecon >/dev/null 2>&1 && restorecon "$path" 2>/dev/null 9>&- # which may not have our lock
  finish "$id" "$8"
}

share() { # SHARED VALIDATE: an undo takes out of the file what we put there, and validates what that leaves
  [ -z "$1" ] || { cp -- "$new" "$E.new/wrote" && printf '%s\n' "$2" >"$E.new/validate"; }
}

remove_file() { # ID JSON PATH BEFORE ACTIVATE
  digest "$3"; beside "$3"
  if [ "$digest" != "$4" ]; then fail "$1" "$3 was changed after the survey had read it, so it was left alone: run again"; return 1; fi
  if ! why=$( { entry "$1" "$2" "" "$5" && keep "$3" && seal && rm -f -- "$3" && sync "$folder/"; } 2>&1); then
    give_up "$1" "$3: $why"; return 1
  fi
  finish "$1" "$5"
}

give_up() { # ENTRY WHY: its change failed, so that what was begun of it is taken back
  if [ -d "$J/$1" ] && ! stays=$(undo "$J/$1" 2>&1); then fail "$1" "$2. Taking it back failed: $stays"; else fail "$1" "$2"; fi
}

finish() { # ID ACTIVATE: make a file live, or put the old one back
  if [ -n "$2" ] && ! why=$(sh -c "$2" 2>&1 </dev/null 9>&-); then
    give_up "$1" "it could not be made live, so the old one is put back: $why"; return 1
  fi
  : >"$J/$1/done"; ok "$1"
}

run_command() { # ID JSON SCRIPT UNDO
  if ! why=$( { entry "$1" "$2" "$4" "" && printf '%s\n' "$3" >"$E.new/do" && seal; } 2>&1); then
    fail "$1" "the journal cannot be written, so nothing was done: $why"; return 1
  fi
  if ! why=$(sh -c "$3" 2>&1 </dev/null 9>&-); then
    give_up "$1" "$why"; return 1
  fi
  : >"$J/$1/done"; ok "$1"
}

wait_healthy() { # HEALTHY SECONDS
  deadline=$(($(date +%s) + $2))
  until sh -c "$1" >/dev/null 2>&1 </dev/null 9>&-; do
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    sleep 1
  done
}

begin_service() { # ID JSON UNDO: before its files, so that an undo activates it after them, with the old ones
  if ! why=$( { entry "$1" "$2" "$3" "" && seal; } 2>&1); then fail "$1" "the journal cannot be written: $why"; return 1; fi
  SERVICE=$1
}

put_back() { # FILE-ENTRY...: the files of a service as they were; $back names them, $stays those that could not be put back
  back=; stays=
  for e in $(printf '%s\n' "$@" | sort -r); do
    [ -e "$J/$e/done" ] || continue
    if why=$(undo "$J/$e" 2>&1); then back="$back $(cat "$J/$e/path")"; rm -f "$J/$e/done"; went_back "$e"
    else stays="$stays; $why"; fi
  done
  [ -n "$stays" ] || : >"$J/$SERVICE/undone"
}

activate_service() { # ID NAME ACTIVATE HEALTHY EXPLAIN SECONDS FILE-ENTRY...: files go back if it does not come up
  of=$1; name=$2; activate=$3; healthy=$4; explain=$5; seconds=$6; shift 6
  said=$(ENTRY=$J/$of sh -c "$activate" 2>&1 </dev/null 9>&-); status=$?
  if [ $status = 0 ] && wait_healthy "$healthy" "$seconds"; then : >"$J/$of/done"; ok "$of"; return 0; fi
  [ $status = 3 ] || said="$said $(sh -c "$explain" 2>&1 </dev/null 9>&-)"
  put_back "$@"
  if [ $status = 3 ]; then now="$name was left alone"; else again "$of"; fi
  [ -z "$stays" ] || rm -f "$J/$of/undone"
  fail "$of" "$name could not be activated with the new settings; put back:$back$stays; $now. It said: $said"
  return 1
}

again() { # ENTRY of a service whose files are back: it takes them up; $now says how that went
  rm -f "$J/$1/undone"
  if why=$(undo "$J/$1" 2>&1); then now="$name runs as before $(cat "$J/$1/note" 2>/dev/null)"
  elif sh -c "$healthy" >/dev/null 2>&1 </dev/null 9>&-; then now="$name runs, but could not be activated with what was put back: $why"
  else now="$name STILL DOES NOT RUN: $why"; fi
}
