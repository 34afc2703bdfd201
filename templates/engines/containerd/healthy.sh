# shellcheck shell=sh
# Succeeds once containerd answers, and its plugins for Kubernetes are not in error: with a file that such a plugin cannot use
# containerd starts all the same.
[ "$(systemctl is-active containerd.service)" = inactive ] && exit 0
plugins=$(timeout 20 ctr plugins ls) || exit 1
! printf '%s\n' "$plugins" | grep -E '(^| )(cri|io\.containerd\.cri\.v1) ' | grep -q ' error *$'
