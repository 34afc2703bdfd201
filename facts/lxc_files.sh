# shellcheck shell=sh disable=SC2034
# Files for LXC's containers, with what they include: files, and folders of *.conf. Paths without blanks.
said() { # KEY FILE...: what a key is set to
  key=$1; shift
  sed -nE "s/^[[:space:]]*${key}[[:space:]]*=[[:space:]]*\"?([^\"[:space:]]+).*/\\1/p" "$@" /dev/null 2>/dev/null | sort -u | head -n 50
}
included() { # FILE...: sets $files to those and what they include, $followed to what of that is there, and $missing to what is not
  files=$* todo=$* missing='' followed=''
  for _ in 1 2 3 4; do
    next=
    for at in $(said 'lxc\.include' $todo); do
      case $at in *[*?[]*) continue ;; esac
      # A folder that is not there is passed over where its name ends with a slash.
      if [ -e "$at" ] || [ "${at%/}" != "$at" ]; then followed="$followed $at"; else missing="$missing $at"; fi
      [ ! -d "$at" ] || at="${at%/}/*.conf"
      for f in $at; do
        case " $files " in *" $f "*) ;; *) [ ! -f "$f" ] || next="$next $f" files="$files $f" ;; esac
      done
    done
    [ -n "$next" ] || break
    todo=$next
  done
}
