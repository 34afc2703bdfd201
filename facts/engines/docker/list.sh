# shellcheck shell=sh disable=SC2154
# Docker: the tasks of the containerd that it uses, the host's or its own, and rootless ones. With userns-remap their
# namespace is moby-UID.GID.
engine docker dockerd
tasks=io.containerd.runtime.v2.task
for at in $(numbers /run/containerd/$tasks/moby*/*/init.pid /run/docker/containerd/daemon/$tasks/moby*/*/init.pid) $theirs; do
  file=${at%:*} pid=${at##*:} task=${at%/init.pid:*}
  case $file in
  /run/user/*/init.pid) user=${file#/run/user/} && row docker "${user%%/*}" "$pid" "${task##*/}" "$task" ;;
  */init.pid) row docker 0 "$pid" "${task##*/}" "$task" ;;
  esac
done
