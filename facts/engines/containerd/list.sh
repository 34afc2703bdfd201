# shellcheck shell=sh disable=SC2154
# containerd, the host's and those of k3s and RKE2, k0s and MicroK8s: tasks of whatever namespace is not Docker's. The
# bundles of a pod's containers say what Kubernetes calls them: a line `FILE:"KEY":"VALUE"` for each such word.
engine containerd containerd
pods=''
set --
for state in /run/containerd /run/k3s/containerd /run/k0s/containerd /var/snap/microk8s/common/run/containerd; do
  for space in "$state"/io.containerd.runtime.v2.task/*; do
    case $space in */moby* | */\*) ;; *) set -- "$@" "$space"/*/init.pid ;; esac
  done
done
[ $# = 0 ] || for at in $(numbers "$@"); do
  task=${at%/init.pid:*} space=${at%/*/init.pid:*}
  row containerd 0 "${at##*:}" "${space##*/}/${task##*/}" "$task" && pods="$pods $task/config.json"
done
# shellcheck disable=SC2086 # paths without blanks
[ -z "$pods" ] || run containerd.pods grep -soHE '"io\.kubernetes\.cri\.(container-name|image-name|sandbox-(id|name|namespace))": ?"[^"\]*"' $pods /dev/null
