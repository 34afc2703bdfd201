# shellcheck shell=sh
# The section seccomp of the survey. Given: ACTIONS, LOGGED and LAST_CAP, the kernel's files; PID_FILE, the daemon's; OURS,
# our profile; PROFILE_BYTES, the most that is read of one; BUNDLES, where the containers' OCI bundles are.
show "$ACTIONS" "$LOGGED" "$LAST_CAP"
run uname uname -mr
j=/etc/docker/daemon.json
named=$(sed -n 's/.*"seccomp-profile"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' $j 2>/dev/null)
pid=$(cat "$PID_FILE" 2>/dev/null)
[ -n "$pid" ] && flag=$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null |
  sed -n -e 's/^--*seccomp-profile=//p' -e '/^--*seccomp-profile$/{n;p;}')
IFS='
'; set -f
for f in $named ${flag:-} "$OURS"; do
  case $f in /*) run "profile $f" head -c "$PROFILE_BYTES" -- "$f"; set -- "$@" "$f" ;; esac
done
set +f
run modified stat -L -c '%Y %n' -- "$@" "$PID_FILE"
set --; unset IFS
for b in $BUNDLES; do
  for f in "$b"/*/config.json; do [ -r "$f" ] && set -- "$@" "$f"; done
done
[ $# -gt 0 ] && run filters awk '
  FNR == 1 {
    n = split(FILENAME, part, "/"); i = index($0, "\"seccomp\":{"); s = i ? substr($0, i + 10, 65536) : "null"
    if (s in seen) print part[n - 1], seen[s]; else { seen[s] = part[n - 1]; print part[n - 1], s }
  }' "$@"
:
