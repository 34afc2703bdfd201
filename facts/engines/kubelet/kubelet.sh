# shellcheck shell=sh disable=SC2086
# The section kubelet of the survey. The kubelet's own API is asked only where its files were changed after its start, and
# with the credentials of the API server's where they are here: to others it may not answer.
# Its configuration is of the files that its command line names. Words are split on purpose: paths without blanks.
# Given: MARKS, whose kubelet it is by what is there; OVERLAYS, names of devices; DROP_IN, hullproof's own file;
# SYSCTLS, what kubelet wants of the kernel; POLICING, names of processes that hold pods to network policies.
processes=$(grep -sHxE "kubelet|kubelite|k3s(-server|-agent)?|$POLICING" /proc/[0-9]*/comm)
set --
for d in /etc /run /usr/local/lib /usr/lib /lib; do
  [ $d = /lib ] && [ /lib -ef /usr/lib ] && continue
  for f in $d/systemd/system/kubelet.service $d/systemd/system/kubelet.service.d/*.conf; do [ ! -e "$f" ] || set -- "$@" "$f"; done
done
case $processes in
  *:kubelet* | *:kubelite* | *:k3s*) ;;
  *) [ $# -gt 0 ] || have kubelet || have k3s || have rke2 || [ -e /var/snap/microk8s/current ] || exit 0 ;;
esac
run there true
pid=; inside=; policing=
for row in $processes; do
  one=${row%/comm:*}; name=${row##*:}
  # shellcheck disable=SC3067 # dash and busybox have -O
  case $name in
    kubelet | kubelite | k3s*) ;;
    # An agent works in the host's network, as root: any user's process may have its name.
    *) if [ -O "$one" ] && [ "$one/ns/net" -ef /proc/1/ns/net ]; then policing="$policing $name"; fi; continue ;;
  esac
  # One whose root is another runs in a container: kind's, or a whole node's.
  if [ -e "$one/root/" ] && ! [ "$one/root/" -ef / ]; then inside="$inside ${one#/proc/}"; continue; fi
  case $name in kubelet) pid=${one#/proc/} ;; kubelite) run kubelite true; [ -n "$pid" ] || pid=${one#/proc/} ;; *) run k3s true ;; esac
done
[ -z "$inside" ] || run inside kept "$inside" 0
run policing kept "$policing" 0
run cni grep -sHoE '"type"[[:space:]]*:[[:space:]]*"[^"]{1,64}"' /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /etc/cni/net.d/*.json /dev/null
marks=; for at in $MARKS; do [ ! -e "$at" ] || marks="$marks $at"; done
run marks kept "$marks" 0
if have dpkg-query; then run package dpkg-query -W -f '${db:Status-Abbrev} ${Version}\n' kubelet
elif have rpm; then run package rpm -q --qf 'ii  %{VERSION}-%{RELEASE}\n' kubelet; fi

given() { grep -asHvE '^[[:space:]]*([#;]|$)' "$@" /dev/null; }
unit=$(given "$@"); run unit kept "$unit" 0
said=$(printf '%s\n' "$unit" | sed -nE 's|^[^:]*:[[:space:]]*EnvironmentFile=-?"?(/[^" ]+).*|\1|p')
envs=; for f in $said; do [ ! -e "$f" ] || envs="$envs $f"; done
case $marks in *microk8s*) envs="$envs /var/snap/microk8s/current/args/kubelet" ;; esac
env=; [ -z "$envs" ] || { env=$(given $envs); run environment kept "$env" 0; }
words=
if [ -n "$pid" ]; then
  run cmdline cat /proc/$pid/cmdline
  since=$(grep -ahE '^(btime |[0-9]+ \()' /proc/$pid/stat /proc/stat)
  run since kept "$since" 0
  words=$(tr '\0' ' ' </proc/$pid/cmdline)
fi
configs=; folders=; more=
for row in $(printf '%s\n' "$words" "$unit" "$env" | grep -aoE -- '--(config(-dir)?|kubeconfig|bootstrap-kubeconfig|client-ca-file)[= ]["'\'']?/[^] "'\'']+' |
  tr -s " \"'" = | sort -u); do
  case $row in --config=*) configs="$configs ${row#*=}" ;; --config-dir=*) folders="$folders ${row#*=}" ;; *) more="$more ${row#*=}" ;; esac
done
for f in $configs; do show "$f"; done
dropped=
for d in $folders; do
  [ -d "$d" ] || continue
  show "$d/$DROP_IN"
  for f in "$d"/*.conf; do [ ! -e "$f" ] || dropped="$dropped $f"; done
done
[ -z "$dropped" ] || run dropped grep -aRsH --include='*.conf' '' $folders
changed_since() { # FILES: proc(5), stat: the 22nd word, of which a hundred are a second
  set -- "$1" ${since##*) }
  find $1 -maxdepth 0 -newermt "@$((${since##*btime } + ${21:-0} / 100))" 2>/dev/null
}
if [ -n "$pid" ] && [ -n "$configs$dropped" ] && have curl && [ -n "$(changed_since "$configs $dropped")" ]; then
  cert=/etc/kubernetes/pki/apiserver-kubelet-client
  if [ -r $cert.key ]; then cert="--cert $cert.crt --key $cert.key"; else cert=; fi
  run configz curl -sk -m 3 $cert https://127.0.0.1:10250/configz
fi
authorities=$(grep -ashoE 'clientCAFile"?:[[:space:]]*"?/[^" ,]+' $configs $dropped /dev/null | sed -E 's|^[^/]*||')
# Of %W, the birth: a file that was put in another's place keeps its old time of change.
run times stat -L -c '%Y %W %Z %n' "$@" $envs $configs $dropped $folders
run sysctls grep -sH '' $SYSCTLS
run listening grep -shE ':(280A|280F|2808) [0-9A-F]+:0000 0A ' /proc/net/tcp /proc/net/tcp6
overlays=; for at in $OVERLAYS; do [ ! -e "$at" ] || overlays="$overlays ${at##*/}"; done
run overlays kept "$overlays" 0
set -- "$@" $envs $configs $dropped $folders $more $authorities
for f in /etc/kubernetes/kubelet.conf /etc/kubernetes/bootstrap-kubelet.conf /var/lib/kubelet/kubeconfig \
  /etc/kubernetes/pki/ca.crt /etc/kubernetes/proxy.conf /etc/kubernetes/kube-proxy.kubeconfig /var/lib/kube-proxy/kubeconfig* \
  /var/lib/rancher/*/agent/kubelet.kubeconfig /var/lib/rancher/*/agent/kubeproxy.kubeconfig /var/lib/rancher/*/agent/client-ca.crt; do
  [ ! -e "$f" ] || set -- "$@" "$f"
done
[ $# = 0 ] || modes "$@"
:
