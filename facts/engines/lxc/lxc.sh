# shellcheck shell=sh
# The section lxc of the survey. No client is started: what lxc-create copies into a new container is in files. Given:
# PROFILES, hullproof's own filters, and DROP_IN.
have lxc-create || exit 0
run lxc command -v lxc-create
said() { # KEY FILE...: what a key is set to
  key=$1; shift
  sed -nE "s/^[[:space:]]*${key}[[:space:]]*=[[:space:]]*\"?([^\"[:space:]]+).*/\\1/p" "$@" /dev/null 2>/dev/null | sort -u | head -n 50
}
conf='' kept='' seen=''
if [ -e /etc/lxc/lxc.conf ]; then
  conf=$(said 'lxc\.default_config' /etc/lxc/lxc.conf) kept=$(said 'lxc\.lxcpath' /etc/lxc/lxc.conf)
fi
conf=${conf:-/etc/lxc/default.conf}
run path echo "$conf"
show "$conf"
# With what it includes: files, and folders of *.conf. Paths without blanks.
files=$conf todo=$conf missing=
for _ in 1 2 3 4; do
  next=
  for at in $(said 'lxc\.include' $todo); do
    case $at in *[*?[]*) continue ;; esac
    [ -e "$at" ] || missing="$missing $at"
    [ ! -d "$at" ] || at="$at/*.conf"
    for f in $at; do
      case " $files " in *" $f "*) ;; *) [ ! -f "$f" ] || next="$next $f" files="$files $f" ;; esac
    done
  done
  [ -n "$next" ] || break
  todo=$next
done
settings=$(grep -asHnvE '^[[:space:]]*(#|$)' $files /dev/null)
run settings kept "$settings" 0
for f in $(said 'lxc\.seccomp\.profile' $files) $PROFILES; do
  case " $seen " in *" $f "*) ;; *) seen="$seen $f"; [ -e "$f" ] || missing="$missing $f"; show "$f" ;; esac
done
run missing kept "$missing" 0
show "$DROP_IN" /etc/lxc/lxc-usernet
users=$(grep -sHoE '/etc/hullproof/lxc/[a-z-]+[.]seccomp' "${kept:-/var/lib/lxc}"/*/config)
run users kept "$users" 0
run apparmor cat /sys/module/apparmor/parameters/enabled
! have apparmor_parser || run parser command -v apparmor_parser
[ ! -e /usr/lib/systemd/system/lxc.service ] || run service echo lxc.service
:
