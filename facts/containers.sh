# shellcheck shell=sh
# The running containers of every engine, without starting any engine's client: a line `ENGINE USER PID ID BUNDLE` for
# each, USER 0 for root's own. Folders below /run/user belong to users: only plain files are opened there.
pids='' rows='' engines=''
row() { # ENGINE USER PID ID BUNDLE
  if [ -d "/proc/$3" ]; then
    pids="$pids $3"
    rows="$rows$*
"
  fi
}
number() { # FILE: the number in it, as $value. Engines leave out the last newline, so `read` fails
  value=
  if [ -f "$1" ] && ! [ -L "$1" ]; then read -r value <"$1" || :; fi
  case $value in '' | *[!0-9]* | ????????????*) return 1 ;; esac
}
owner() { # PATH: whose /run/user/UID/… it is, as $user
  case $1 in /run/user/*) user=${1#/run/user/} user=${user%%/*} ;; *) user=0 ;; esac
}
engine() { if have "$2"; then engines="$engines $1"; fi; } # NAME PROGRAM
run uid id -u
