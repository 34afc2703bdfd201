# shellcheck shell=sh
# Stops Docker, which did not run before. ENGINE=1: it was not installed either, and its packages are removed next.
# Running containers are stopped only where that is accepted; an engine that has images, containers or volumes stays
# installed, unless its removal is accepted. None of its data is deleted.
unset DOCKER_HOST; export DOCKER_CONTEXT=default
ask() { timeout 20 docker "$@"; }
accepted() { case " $ACCEPT " in *" $1 "*) ;; *) false ;; esac; }
named_root() { # the data root in Docker's file, for when Docker does not answer
  tr '\n' ' ' 2>/dev/null <"${HULLPROOF_DAEMON_JSON:-/etc/docker/daemon.json}" |
    sed -n 's/.*"data-root"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p'
}
runs() { case $(systemctl is-active docker.service 2>/dev/null) in inactive | failed | unknown | '') false ;; esac; }
held() { # the first of Docker's containers, volumes and images; those of other user namespaces are in subfolders
  root=${HULLPROOF_DOCKER_ROOT:-$(ask info -f '{{.DockerRootDir}}' 2>/dev/null)}
  root=${root:-$(named_root)}; root=${root:-/var/lib/docker}
  case ${root##*/} in *[!0-9.]*) ;; [0-9]*.[0-9]*) root=${root%/*} ;; esac
  for at in "$root" "$root"/[0-9]*.[0-9]*; do
    for one in "$at"/containers/*/ "$at"/volumes/*/ "$at"/image/*/imagedb/content/sha256/*; do
      if [ -e "$one" ]; then echo "$one"; return; fi
    done
  done
  ask image ls -q 2>/dev/null | head -n 1
}

units=docker.service; name=container-restart
[ "$ENGINE" != 1 ] || { units="docker.socket docker.service"; name=remove-engine; }
if [ "$ENGINE" = 1 ] && ! accepted "$name" && what=$(held) && [ -n "$what" ]; then
  echo "Docker has containers, volumes or images ($what), so it stays installed; its removal leaves that on the disk. Allow it with --data accept=$name"
  exit 1
fi
if ! running=$(ask ps -q --no-trunc 2>/dev/null) && runs && ! accepted "$name"; then
  echo "Docker runs but does not answer, so its running containers are not known: find out why it does not answer; or allow it with --data accept=$name"
  exit 1
fi
if [ -n "$running" ]; then
  names=$(ask inspect -f '{{.Name}}' $running 2>/dev/null | tr '\n' ' ')
  accepted "$name" || { echo "stopping Docker would stop ${names}: stop them yourself; or allow it with --data accept=$name"; exit 1; }
  gone=$(ask inspect -f '{{if .HostConfig.AutoRemove}}{{.Name}}{{end}}' $running 2>/dev/null | grep . | tr '\n' ' ')
  [ -z "$gone" ] || { echo "stopping would delete ${gone}(started with --rm): stop them yourself first"; exit 1; }
  timeout 180 docker stop $running >/dev/null || exit 1
fi
if [ "$ENGINE" = 1 ] && ! systemctl cat docker.service >/dev/null 2>&1; then exit 0; fi # its installation was interrupted
if [ "$ENGINE" = 1 ]; then systemctl disable --now $units; else systemctl stop $units; fi
