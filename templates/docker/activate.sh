# Has Docker take up its files. STOP=1: running containers are stopped for it and started again.
# Otherwise they keep running, by live-restore; where that cannot be, Docker is not restarted at all.
ran=/run/hullproof-docker-ran  # what has to run again: kept until Docker is found well, also over a second attempt
unset DOCKER_HOST; export DOCKER_CONTEXT=default
ask() { timeout 20 docker "$@"; }
lives() { [ "$(ask info -f '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ]; }

systemctl daemon-reload
[ "$(systemctl is-active docker.service)" = inactive ] && exit 0
running=$(ask ps -q --no-trunc 2>/dev/null)
[ -z "$running" ] || printf '%s\n' "$running" >>"$ran"
if [ -n "$running" ] && [ "$STOP" = 1 ]; then
  timeout 120 docker stop $running >/dev/null || exit 1
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
timeout 120 systemctl restart docker.service || exit 1
[ -e "$ran" ] || exit 0
for round in 1 2; do  # twice: one container may need another's network
  for id in $(sort -u "$ran"); do
    case $(ask container inspect -f '{{.State.Running}} {{.State.ExitCode}}' "$id" 2>/dev/null) in
      'false 0') [ "$STOP" != 1 ] && lives || ask start "$id" >/dev/null ;;  # under live-restore it ended by itself
      false*) ask start "$id" >/dev/null ;;
    esac
  done
done
exit 0
