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
included "$conf"
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
