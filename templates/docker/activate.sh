# Has Docker take up its files. STOP=1: running containers are stopped for it and started again.
# Otherwise they keep running, by live-restore; where that cannot be, Docker is not restarted at all.
# What has to run again is kept until Docker is found well, also over a second attempt with the old files.
ran=${HULLPROOF_RUN:-/run}/hullproof-docker-ran
unset DOCKER_HOST; export DOCKER_CONTEXT=default
ask() { timeout 20 docker "$@"; }
lives() { [ "$(ask info -f '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ]; }

systemctl daemon-reload
state=$(systemctl is-active docker.service)
[ "$state" = inactive ] && exit 0
if ! running=$(ask ps -q --no-trunc 2>/dev/null) && [ "$state" = active ] && [ ! -e "$ran" ]; then
  echo "Docker does not say which containers run; it was not restarted"
  exit 1
fi
[ -z "$running" ] || printf '%s\n' "$running" >>"$ran"
if [ -n "$running" ] && [ "$STOP" = 1 ]; then
  timeout 180 docker stop $running >/dev/null || exit 1
elif [ -n "$running" ] && ! lives; then
  systemctl reload docker.service
  tries=0
  until lives; do
    tries=$((tries + 1))
    if [ $tries -gt 15 ]; then
      rm -f "$ran"
      echo "Docker did not take up live-restore, so a restart would stop containers; it was not restarted"
      exit 1
    fi
    sleep 1
  done
fi
systemctl reset-failed docker.service 2>/dev/null
timeout 300 systemctl restart docker.service || exit 1
[ -e "$ran" ] || exit 0
for round in 1 2; do  # twice: one container may need another's network
  lost=
  for id in $(sort -u "$ran"); do
    case $(ask container inspect -f '{{.State.Running}} {{.State.ExitCode}}' "$id" 2>/dev/null) in
      'false 0') [ "$STOP" != 1 ] && lives && continue ;;  # nobody stopped it: it ended by itself
      false*) ;;
      *) continue ;;
    esac
    timeout 60 docker start "$id" >/dev/null || lost="$lost $id"
  done
done
[ -z "$lost" ] || { echo "these containers did not start again:$lost"; exit 1; }
