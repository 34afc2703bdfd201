# shellcheck shell=sh disable=SC2154
# Docker: the tasks of the containerd that it uses, the host's or its own, and rootless ones. With userns-remap their
# namespace is moby-UID.GID.
engine docker dockerd
tasks=io.containerd.runtime.v2.task
for task in /run/containerd/$tasks/moby*/* /run/docker/containerd/daemon/$tasks/moby*/* \
  /run/user/*/docker/containerd/daemon/$tasks/moby*/*; do
  if number "$task/init.pid"; then owner "$task" && row docker "$user" "$value" "${task##*/}" "$task"; fi
done
