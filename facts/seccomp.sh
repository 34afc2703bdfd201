# shellcheck shell=sh
# The section seccomp of the survey. Given: ACTIONS, LOGGED and LAST_CAP, the kernel's files; PID_FILE, the daemon's; OURS,
# our profile; PROFILE_BYTES, the most that is read of one.
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
run modified stat -L -c '%Y %Z %n' -- "$@" "$PID_FILE"
unset IFS
