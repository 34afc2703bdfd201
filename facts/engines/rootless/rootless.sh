# shellcheck shell=sh
# The section rootless of the survey: what users without root need to run containers, and where their engines listen.
# Given: GLOBAL, where units are enabled for everybody; PROPERTIES and FILES of slices; SHARING and STORED, what asks for ids that
# are another owner's too; MOST, how many files are counted. No other home is looked into: it may be far away.
have newuidmap || have podman || have rootlesskit || exit 0
run programs true
helpers() {
  for name in newuidmap newgidmap; do
    at=$(command -v $name) || continue
    caps=; have getcap && caps=$(getcap "$at" 2>/dev/null)
    stat -L -c "%a %u %n ${caps##* }" "$at"
  done
  :
}
run helpers helpers
run lingering ls /var/lib/systemd/linger
run everybody ls $GLOBAL
used=$(find /run/user/*/podman/podman.sock /run/user/*/docker.sock -maxdepth 0 -printf '%y %U %p\n' 2>/dev/null)
run sockets printf '%s\n' "$used"
# What listens on TCP, by what was asked of it: wherever it has its other files.
engines=$(grep -slxE 'podman|dockerd' /proc/[0-9]*/comm | sed 's|comm$|status|')
# shellcheck disable=SC2086 # paths without blanks
[ -z "$engines" ] || engines=$(believed $engines | grep -v '^0:')
if [ -n "$engines" ]; then
  # shellcheck disable=SC2086 # USER:PID each
  run engines.words words $engines
  there=
  for each in $engines; do [ ! -e "/proc/${each#*:}/exe" ] || there="$there$each
"; done
  run engines kept "$there" 0
  # rootlesskit listens for containers' ports too; podman only for its API, which systemd may have opened for it.
  run listeners ss -Hltnpe
fi
# The slices of people's accounts.
uids=$(awk -F : '$3 ~ /^[0-9]+$/ && $3 >= 1000 && $3 < 60000 && !seen[$3]++ { print $3 }' /etc/passwd | head -n 50)
slices=; files=
for u in $uids; do
  slices="$slices user-$u.slice"
  for f in $FILES; do files="$files /sys/fs/cgroup/user.slice/user-$u.slice/$f"; done
done
# shellcheck disable=SC2086 # names without blanks
if [ -n "$slices" ] && [ -d /run/systemd/system ]; then
  run slices systemctl show -p "Id,$PROPERTIES" $slices
  run slices.live grep -sH '' $files /dev/null
  for u in $uids; do [ ! -e "/etc/systemd/system/user-$u.slice.d/$DROP_IN" ] || show "/etc/systemd/system/user-$u.slice.d/$DROP_IN"; done
fi
# What people have stored with subordinate ids that are another owner's too: homes are looked into for that alone.
set --
for f in /etc/passwd /etc/group /etc/subuid /etc/subgid /etc/lxc/default.conf /var/lib/lxc/*/config; do [ ! -r "$f" ] || set -- "$@" "$f"; done
awk "$SHARING" "$@" | while read -r user uid rows home; do
  run "stored $user" timeout 10 sh -c "$STORED" stored "$uid" "$rows" "$home" "$MOST" "$user"
done
:
