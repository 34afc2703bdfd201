# shellcheck shell=sh disable=SC2154
# What says which seccomp filters LXC and systemd-nspawn gave root's containers, and since when that is so: engines keep
# none in a form of OCI. $monitors: what has started them (monitors.sh).
started='' times='' profiles=''
for each in $monitors; do case $each in 0:*) started="$started /proc/${each#*:}/stat" ;; esac; done
if [ -n "$started" ]; then
  case " $engines " in *' lxc '*)
    set --
    for file in /var/lib/lxc/*/config; do case $file in *[[:space:]*?]*) ;; *) set -- "$@" "$file" ;; esac; done
    included "$@"
    run lxc.lines grep -asHnE '^[[:space:]]*lxc[.](include|seccomp[.]profile)' $files /dev/null
    profiles=$(said 'lxc\.seccomp\.profile' $files)
    times="$files $profiles $(said 'lxc\.include' $files)"
    for file in $profiles; do case $file in /*) run "lxc.profile $file" head -c 100000 -- "$file" ;; esac; done
    ;;
  esac
  case " $engines " in *' nspawn '*)
    set -- /etc/systemd/nspawn /run/systemd/nspawn /etc/systemd/nspawn/*.nspawn /run/systemd/nspawn/*.nspawn
    run nspawn.adding grep -asHE '^[[:space:]]*SystemCallFilter[[:space:]]*=[[:space:]]*[^~[:space:]]' "$@" /dev/null
    times="$times $*"
    ;;
  esac
  if [ -n "$times" ]; then
    run filters.times stat -L -c '%Z %n' $times
    run filters.since grep -ahE '^(btime |[0-9]+ \()' /proc/stat $started
  fi
fi
