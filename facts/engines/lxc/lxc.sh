# shellcheck shell=sh disable=SC2154
# The section lxc of the survey. No client is started: what lxc-create copies into a new container is in files. Given:
# PROFILES, hullproof's own filters, DROP_IN, and what lxc_files.sh has.
have lxc-create || exit 0
run lxc command -v lxc-create
conf='' kept='' seen=''
if [ -e /etc/lxc/lxc.conf ]; then
  conf=$(said 'lxc\.default_config' /etc/lxc/lxc.conf) kept=$(said 'lxc\.lxcpath' /etc/lxc/lxc.conf)
fi
conf=${conf:-/etc/lxc/default.conf}
run path echo "$conf"
show "$conf"
# The containers that there are, running or not: of their own files what is judged.
set -- "${kept:-/var/lib/lxc}"/*/config
[ -e "$1" ] || [ -L "$1" ] || set --
if ! [ -r /proc/1/environ ]; then
  run configs kept "only root sees every container" 1
elif [ $# -gt 0 ]; then
  made=$(grep -asHnE '^[[:space:]]*lxc\.(include|idmap|seccomp\.profile|cap\.(drop|keep)|start\.auto)[[:space:]]*=' "$@" /dev/null)
  run configs printf '%s\n' "$@"
  run made kept "$made" 0
fi
set -- "$conf" "$@"
included "$@"
files=$conf${files#"$*"}; shift
[ -z "$followed" ] || run included kept "$followed" 0
settings=$(grep -asHnvE '^[[:space:]]*(#|$)' $files /dev/null)
run settings kept "$settings" 0
for f in $(said 'lxc\.seccomp\.profile' $files "$@") $PROFILES; do
  case " $seen " in *" $f "*) ;; *) seen="$seen $f"; [ -e "$f" ] || missing="$missing $f"; show "$f" ;; esac
done
run missing kept "$missing" 0
show "$DROP_IN" /etc/lxc/lxc-usernet
weights=''
for name in cpu.weight io.weight; do
  for f in /sys/fs/cgroup/*/$name; do [ ! -e "$f" ] || { weights="$weights $name"; break; }; done
done
run weights kept "$weights" 0
run apparmor cat /sys/module/apparmor/parameters/enabled
! have apparmor_parser || run parser command -v apparmor_parser
[ ! -e /usr/lib/systemd/system/lxc.service ] || run service echo lxc.service
:
