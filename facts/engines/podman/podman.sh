# shellcheck shell=sh
# The section podman of the survey. No client is started: Podman has no daemon, and its files say what it will do. Given:
# DROP_IN, HOOK, PROGRAM, PROFILE and SOCKET_DROP_IN, hullproof's own files; SHIPPED, the seccomp profile
# that comes with Podman, and OVERRIDE, which takes its place; NETWORKS and BACKEND, where it keeps its networks, and what makes them.
have podman || exit 0
run podman command -v podman
if have dpkg-query; then run package dpkg-query -W -f '${db:Status-Abbrev} ${Version}\n' podman
elif have rpm; then run package rpm -q --qf 'ii  %{VERSION}-%{RELEASE}\n' podman; fi
show "$DROP_IN" "$HOOK" "$PROGRAM" "$PROFILE" "$SOCKET_DROP_IN"
# Comments alone are left out; each line has its number, for whoever has to correct it.
settings=$(grep -asHnvE '^[[:space:]]*(#|$)' /usr/share/containers/containers.conf \
  /usr/share/containers/containers.conf.d/*.conf /etc/containers/containers.conf /etc/containers/containers.conf.d/*.conf \
  /usr/share/containers/storage.conf /etc/containers/storage.conf)
run settings kept "$settings" 0
filter=$(printf '%s\n' "$settings" | sed -nE "s/.*:[[:space:]]*seccomp_profile *= *[\"'](\/[^\"']+)[\"'].*/\1/p" | tail -n 1)
default=$SHIPPED; [ ! -e "$OVERRIDE" ] || { default=$OVERRIDE; run override echo "$OVERRIDE"; }
run filter cat -- "${filter:-$default}"
[ ! -e "$SHIPPED" ] || run shipped echo "$SHIPPED"
! have apparmor_parser || run parser command -v apparmor_parser
show "$BACKEND"
for f in "$NETWORKS"/*.json; do [ ! -f "$f" ] || run "network $f" cat -- "$f"; done
run volumes ls -A /var/lib/containers/storage/volumes
held=; for c in /var/lib/containers/storage/*-containers/*/; do [ ! -d "$c" ] || held="$held ${c#/var/lib/containers/storage/}"; done
run held kept "$held" 0
[ ! -d /run/systemd/system ] || run socket systemctl show \
  -p LoadState,ActiveState,UnitFileState,SocketMode,SocketUser,SocketGroup,Listen podman.socket
run sockets stat -L -c '%a %U %G %n' /run/podman/podman.sock
# Root's alone: a user's own service has his own socket.
serving=; names=$(grep -slx podman /proc/[0-9]*/comm | sed 's|comm$|status|')
# shellcheck disable=SC2086 # paths without blanks
[ -z "$names" ] || for one in $(grep -slE '^Uid:[[:blank:]]+0[[:blank:]]' $names); do serving="$serving ${one%status}cmdline"; done
# shellcheck disable=SC2086 # paths without blanks
[ -z "$serving" ] || run serving grep -saH '' $serving
:
