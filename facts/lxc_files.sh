# shellcheck shell=sh disable=SC2034
# Files for LXC's containers, with what they include: files, and folders of *.conf. Paths without blanks.
said() { # KEY FILE...: what a key is set to
  key=$1; shift
  sed -nE "s/^[[:space:]]*${key}[[:space:]]*=[[:space:]]*\"?([^\"[:space:]]+).*/\\1/p" "$@" /dev/null 2>/dev/null | sort -u | head -n 50
}
included() { # FILE...: sets $files to those and what they include, and $missing to what is not there
  files=$* todo=$* missing=
  for _ in 1 2 3 4; do
    next=
    for at in $(said 'lxc\.include' $todo); do
      case $at in *[*?[]*) continue ;; esac
      [ -e "$at" ] || missing="$missing $at"
      [ ! -d "$at" ] || at="${at%/}/*.conf"
      for f in $at; do
        case " $files " in *" $f "*) ;; *) [ ! -f "$f" ] || next="$next $f" files="$files $f" ;; esac
      done
    done
    [ -n "$next" ] || break
    todo=$next
  done
}
