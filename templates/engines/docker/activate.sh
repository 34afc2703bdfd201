# shellcheck shell=sh
# Restarts Docker with its new files. STOP=1: running containers are stopped for that and started again, unless stopping
# would delete one. Otherwise they keep running, by live-restore; where that is impossible, Docker is not restarted at all.
# The list of containers that have to run again is kept until Docker is healthy, also over a second attempt with the old
# files. UNDO=1: these are the old files. Where they do not set live-restore, a reload removes it last, so that no container
# stops; and a container that does not start again is only named in $NOTE, so that the undo does not fail because of it.
ran=${HULLPROOF_RUN:-/run}/hullproof-docker-ran
settled=${HULLPROOF_RUN:-/run}/hullproof-docker-settled # when daemon.json came in place that Docker runs with
conf=${HULLPROOF_DAEMON_JSON:-/etc/docker/daemon.json}
conf=$(readlink -f "$conf" || echo "$conf")
unset DOCKER_HOST; export DOCKER_CONTEXT=default
ask() { timeout 20 docker "$@"; }
lives() { [ "$(ask info -f '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ]; }
refuse() { # WHY [STATUS]: 3 where nothing was done to Docker
  [ "$UNDO" != 1 ] || last
  echo "$1; Docker was not restarted"
  exit "${2:-3}"
}

become() { # true|false: a reload applies the live-restore of the file; succeeds once it has this value
  systemctl reload docker.service
  tries=0
  until if lives; then [ "$1" = true ]; else [ "$1" = false ]; fi; do
    tries=$((tries + 1))
    [ $tries -le 15 ] || return 1
    sleep 1
  done
}

given() { # whether Docker has live-restore after a start
  grep -Eqs '"live-restore"[[:space:]]*:[[:space:]]*true' "$conf" && return
  pid=$(systemctl show -p MainPID --value docker.service)
  { systemctl show -p ExecStart docker.service
    tr '\0' ' ' <"/proc/${pid:-0}/cmdline"
    grep -hE '^ *(DOCKER_OPTS|OPTIONS)=' /etc/default/docker /etc/sysconfig/docker; } 2>/dev/null | grep -Eq -- '--live-restore(=true|[^=]|$)'
}

# While Docker restarts, daemon.json is the wanted file, which is $ENTRY/kept meanwhile, with live-restore added. `none`: no
# such file is wanted, and, where `none` says "made", no folder of it either.
with() { # true|false: its text with this live-restore. Line breaks do not matter in JSON
  text=$(tr '\n\t\r' '   ' <"$ENTRY/kept")
  case $text in
    *'"live-restore"'*) printf '%s\n' "$text" | sed -E "s/(\"live-restore\" *: *)(true|false)/\1$1/" ;;
    *\{*[!\ \}]*) printf '%s\n' "$text" | sed "s/{/{\"live-restore\": $1, /" ;;
    *) echo "{\"live-restore\": $1}" ;;
  esac
}
put() { cp -a -- "$ENTRY/kept" "$conf.hullproof-new" && cat >"$conf.hullproof-new" && sync "$conf.hullproof-new" && mv -f -- "$conf.hullproof-new" "$conf"; }
hold() {
  rm -f "$ENTRY/none"
  if [ -e "$conf" ]; then cp -a -- "$conf" "$ENTRY/kept.new"
  else
    { [ -d "${conf%/*}" ] || { mkdir -m 755 "${conf%/*}" && echo made; }; } >"$ENTRY/none" && : >"$ENTRY/kept.new"
  fi && sync "$ENTRY/kept.new" && mv -f -- "$ENTRY/kept.new" "$ENTRY/kept" && with true | put
}
last() { # puts the wanted file in place, unless the file was changed meanwhile
  [ -e "$ENTRY/kept" ] || return 0
  if with true | cmp -s - "$conf" || with false | cmp -s - "$conf"; then
    if [ ! -e "$ENTRY/none" ]; then put <"$ENTRY/kept" && touch -r "$ENTRY/kept" "$conf" && placed=1; else rm -f -- "$conf" && { [ ! -s "$ENTRY/none" ] || rmdir "${conf%/*}"; }; fi
  fi
  rm -f "$ENTRY/kept" "$ENTRY/none"
}

placed=; rm -f "$settled"
systemctl daemon-reload
state=$(systemctl is-active docker.service)
[ "$state" = inactive ] && { [ "$UNDO" != 1 ] || [ ! -e "$ran" ]; } && exit 0
[ "$UNDO" != 1 ] || last # of an earlier attempt that was interrupted
if [ "$UNDO" = 1 ] && [ "$state" != active ] && [ -e "$ran" ]; then running= # asking through its socket would start it
elif ! running=$(ask ps -q --no-trunc 2>/dev/null) && [ "$state" = active ] && [ ! -e "$ran" ]; then
  refuse "Docker does not list its running containers"
fi
if [ "$STOP" = 1 ] && [ -n "$running" ]; then
  gone=$(ask inspect -f '{{if .HostConfig.AutoRemove}}{{.Name}}{{end}}' $running 2>/dev/null | grep . | tr '\n' ' ')
  [ -z "$gone" ] || refuse "stopping would delete ${gone}(started with --rm): stop them yourself first"
elif [ "$STOP" != 1 ] && { [ -n "$running" ] || [ -e "$ran" ]; }; then
  if ! given; then
    { [ "$UNDO" = 1 ] && { [ -e "$ran" ] || lives; }; } || refuse "a restart would stop containers, because live-restore is off"
    hold || refuse "daemon.json cannot be written"
  fi
  if [ "$state" = active ] && ! lives && ! become true; then
    rm -f "$ran"
    refuse "a restart would stop containers, because a reload did not turn live-restore on" 1
  fi
fi
[ -z "$running" ] || printf '%s\n' "$running" >>"$ran"
if [ "$STOP" = 1 ] && [ -n "$running" ]; then timeout 180 docker stop $running >/dev/null || exit 1; fi
systemctl reset-failed docker.service 2>/dev/null
if ! timeout 300 systemctl restart docker.service; then
  if [ "$UNDO" = 1 ]; then last
  elif [ "$STOP" != 1 ] && [ -e "$ran" ]; then
    # Its containers keep running. A start by systemd or by its socket would use the old file, which may stop them.
    systemctl stop docker.socket docker.service
  fi
  exit 1
fi
if [ -e "$ran" ]; then
  for _ in 1 2; do  # twice: one container may need another's network
    lost=
    for id in $(sort -u "$ran"); do
      case $(ask container inspect -f '{{.State.Running}} {{.State.ExitCode}}' "$id" 2>/dev/null) in
        'false 0') [ "$STOP" != 1 ] && lives && continue ;;  # not stopped for the restart: it ended by itself
        false*) ;;
        *) continue ;;
      esac
      timeout 60 docker start "$id" >/dev/null || lost="$lost $(ask container inspect -f '{{.Name}}' "$id")"
    done
  done
fi
if [ "$UNDO" = 1 ]; then
  ask ps -q >/dev/null || { last; echo "Docker does not answer"; exit 1; }
  [ -z "$lost" ] || echo "these containers did not start again:$lost" >>"$NOTE"
  if [ -e "$ENTRY/kept" ]; then
    with false | put
    become false || echo "live-restore stays on until Docker restarts" >>"$NOTE"
    last
    [ "$placed" != 1 ] || stat -L -c %Z -- "$conf" >"$settled"
  fi
  rm -f "$ran"
elif [ -n "$lost" ]; then
  echo "these containers did not start again:$lost"
  exit 1
fi
