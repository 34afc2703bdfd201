# shellcheck shell=sh
# The section incus of the survey: what Incus and LXD answer over their own socket. No client is started, as each writes a
# file into its user's home; a daemon that does not run is not asked, as the socket would start it.
daemons=
for d in /var/lib/incus /run/incus /var/lib/lxd /var/snap/lxd/common/lxd; do [ ! -S "$d/unix.socket" ] || daemons="$daemons $d"; done
[ -n "$daemons" ] || exit 0
run sockets kept "$daemons" 0
groups=$(grep -sE '^(incus-admin|incus|_incus-admin|_incus|lxd):' /etc/group)
run groups kept "$groups" 0
gids=$(printf '%s\n' "$groups" | cut -d: -f3 | tr '\n' '|')
[ -z "${gids%|}" ] || run primary grep -sE "^[^:]*:[^:]*:[^:]*:(${gids%|}):" /etc/passwd
# Of comm files, those of the host's own processes and others'.
running=$(grep -shxE 'incusd|lxd' /proc/[0-9]*/comm)
run running kept "$running" 0
have curl || exit 0
ask() { # SOCKET: each answer, a line, and what was asked for
  api=http://daemon/1.0
  curl -gsm 5 --unix-socket "$1" -w '\n@%{url_effective}\n' "$api" "$api/certificates?recursion=1" "$api/projects" \
    "$api/profiles?recursion=1&all-projects=true" "$api/instances?recursion=1&all-projects=true" | head -c 900000
}
for d in $daemons; do
  case $d in */lxd) program=lxd ;; *) program=incusd ;; esac
  for each in $running; do [ "$each" != $program ] || { run "api $d" ask "$d/unix.socket"; break; }; done
done
:
