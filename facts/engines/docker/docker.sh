# shellcheck shell=sh disable=SC2016,SC2046,SC2086
# The section docker of the survey. The client is called only where dockerd runs: a connection to systemd's socket would
# start it. Words of commands are split on purpose: paths that dockerd takes have no blanks.
unset DOCKER_HOST; export DOCKER_CONTEXT=default
ask() { timeout -k 1 15 docker "$@"; }
run uid id -u
have dockerd && run dockerd command -v dockerd
if have dpkg-query; then
  run package dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' docker.io docker-ce moby-engine
elif have rpm; then
  run package rpm -q --qf 'ii  %{NAME} %{VERSION}-%{RELEASE}\n' docker-ce moby-engine docker-engine
fi
properties=Id,MainPID,ExecStart,ExecMainStartTimestamp,FragmentPath,DropInPaths,SocketMode,SocketGroup,Listen,NeedDaemonReload
services="docker.service docker.socket containerd.service"
have systemctl && units=$(systemctl show --timestamp=unix -p $properties $services 2>/dev/null ||
  systemctl show -p $properties $services 2>/dev/null) && run units kept "$units" 0
case "$units" in *NeedDaemonReload=yes*)
  for d in /usr/lib /run /etc; do
    set -- "$@" $d/systemd/system/docker.service $d/systemd/system/docker.socket $d/systemd/system/docker.s*.d/*.conf
  done
  run unread grep -sHE '^ *(ExecStart=|Environment=.*tcp:|SocketMode=|ListenStream=)' "$@"
  set --
  ;;
esac
run exec grep -sH '^ExecStart=' /usr/lib/systemd/system/docker.service /etc/systemd/system/docker.service \
  /usr/lib/systemd/system/docker.service.d/*.conf /run/systemd/system/docker.service.d/*.conf \
  /etc/systemd/system/docker.service.d/*.conf
options=$(grep -sHE '^ *(DOCKER_OPTS|OPTIONS)=' /etc/default/docker /etc/sysconfig/docker)
run options kept "$options" "$?"

pid=; case "$units" in *MainPID=*) pid=${units#*MainPID=}; pid=${pid%%[!0-9]*};; esac
[ "${pid:-0}" = 0 ] && [ -r /run/docker.pid ] && read -r pid </run/docker.pid
processes=$(grep -sHxE 'docker(d|-proxy)' /proc/[0-9]*/comm | sed 's|^/proc/||; s|/comm:| |')
run processes kept "$processes" 0
others=; judged=$pid; have dockerd || judged=
while read -r one name; do
  [ "$name" != dockerd ] || [ "$one" = "$judged" ] || others="$others /proc/$one/status"
done <<PROCESSES
$processes
PROCESSES
[ -e "/proc/${pid:-0}/cmdline" ] || { pid=$(echo "$processes" | sed -n 's/ dockerd$//p'); pid=${pid%%[!0-9]*}; }
# The settings that the next start reads: of the unit, or of a daemon that has none.
words="$units $options"; conf=/etc/docker/daemon.json
case "$words" in *'argv[]='*) ;; *) [ -z "$pid" ] || words=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null);; esac
case "$words" in *--config-file[=\ ]/*) conf=${words#*--config-file?}; conf=${conf%%[!a-zA-Z0-9/._@+-]*};; esac
[ "$conf" = /etc/docker/daemon.json ] || run config kept "$conf" 0
run target readlink -f "$conf"
[ ! -L "$conf" ] || run link stat -c %Z "$conf"
show "$conf" /etc/systemd/system/docker.service.d/zz-hullproof.conf
show /etc/systemd/system/docker.socket.d/zz-hullproof.conf
run group getent group docker
run groups getent group
users() { getent passwd | cut -d: -f1,4; }
run users users
run sudoers grep -sHE '^[^#]*docker|^[#@]include' /etc/sudoers /etc/sudoers.d/*

[ -z "$others" ] || run daemons grep -sHE '^(Uid|NSpid):' $others
if ! have dockerd; then
  # A socket that nobody listens on is what a removed Docker left: the flags of /proc/net/unix say who does.
  seen=; for one in /run/docker.sock /run/user/*/docker.sock; do
    [ -L "$one" ] || [ ! -S "$one" ] || ! grep -qE " 00010000 .* (/var)?$one$" /proc/net/unix || seen="$seen $one"
  done
  [ -z "$seen" ] || run seen kept "$seen" 0
fi
have ss && { listeners=$(ss -Hltnxp 2>&1); run listeners kept "$listeners" $?; }
# The API's unix sockets: without those of metrics, libnetwork and a swarm, which lie in folders of root's alone.
sockets=$(printf '%s\n' "$listeners" | sed -nE '/"dockerd"/!d; /(metrics|libnetwork\/[^ ]*|control)[.]sock /d
  s|^u_str +LISTEN +[0-9]+ +[0-9]+ +(/var)?(/[^ ]+) .*|\2|p')
# Who has a socket of Docker's in its command line, or in a unit of the operator's: perhaps to pass connections on.
run naming grep -slE 'docker[^ /]*[.]sock' /proc/[0-9]*/cmdline
fronts=; for one in $(grep -rlsE 'docker[^ /]*[.]sock' /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system); do
  case $one in *.d/*) one=${one%.d/*};; esac; one=${one##*/}
  case $one in docker.service|docker.socket|containerd.service|*@*) ;; *.service) fronts="$fronts $one ${one%.service}.socket";; esac
done
[ -z "$fronts" ] || run fronts systemctl show -p Id,ActiveState,UnitFileState,ExecStart,Listen $fronts
tls=$(sed -nE 's/.*"tls(cacert|cert|key)" *: *"([^"]+)".*/\2/p' "$conf" 2>/dev/null)
set -- /etc/docker "$conf" /etc/docker/*.pem /etc/docker/certs.d /etc/docker/certs.d/*/* $tls /etc/default/docker \
  /etc/sysconfig/docker /run/docker.sock $sockets /run/containerd /run/containerd/containerd.sock \
  /usr/lib/systemd/system/docker.service /usr/lib/systemd/system/docker.socket /etc/systemd/system/docker.service \
  /etc/systemd/system/docker.socket
run files stat -L -c '%a %U %G %Z %F|%n' "$@"
[ ! -r /run/hullproof-docker-settled ] || run settled cat /run/hullproof-docker-settled
modes "$@"
if [ -z "$pid" ]; then
  have dockerd && have journalctl && run log journalctl -q -u docker.service -n 40 --no-pager -o cat
  exit 0
fi
show /proc/$pid/cmdline
starter=; case "$units" in *MainPID=*MainPID=*) starter=${units##*MainPID=}; starter=${starter%%[!0-9]*};; esac
[ "${starter:-0}" != 0 ] || starter=$pid
run starter grep -hE '^(Name|CapEff):|^Max |^[0-9]+$|^ +0 +[0-9]+ +[0-9]+$' /proc/$starter/status \
  /proc/$starter/limits /proc/$starter/uid_map /proc/sys/fs/nr_open
# curl(1) costs a third of a client, and asks twice at once. What it gets no answer to, the client is asked.
api() { have curl && curl -q --noproxy '*' -sf -m 15 --unix-socket /run/docker.sock "$@" 2>/dev/null; }
info=; networks=
if answers=$(api http://docker/info http://docker/networks); then
  info=$(printf '%s\n' "$answers" | grep -m 1 '^{')
  networks=$(printf '%s\n' "$answers" | grep -E '^\[' | grep -oE '"Id":"[0-9a-f]{64}"' | cut -d '"' -f 4)
fi
if [ -n "$networks" ]; then run info kept "$info" 0; else info=$(ask info --format '{{json .}}' 2>&1); run info kept "$info" $?; fi
root=${info#*\"DockerRootDir\":\"}; root=${root%%\"*}
[ "$root" = "$info" ] && exit 0
ids=$(cd "$root/containers" 2>/dev/null && echo *); [ "$ids" != '*' ] || ids=
if [ -n "$networks" ]; then run networks kept "$networks" 0; else networks=$(ask network ls -q --no-trunc 2>&1); run networks kept "$networks" $?; fi
# Through `index`, the client gives up its typed form and lets one template serve containers and networks.
inspected=$(ask inspect --format '{{if index . "IPAM"}}{"Name":{{json .Name}},"Id":{{json .Id}},"Driver":'\
'{{json .Driver}},"Internal":{{json .Internal}},"IPAM":{{json .IPAM}},"Options":{{json .Options}},"Containers":'\
'{{json .Containers}}}{{else}}{"pid":{{json .State.Pid}},"id":{{json .Id}},"name":{{json .Name}},"image":{{json .Config.Image}},"status":'\
'{{json .State.Status}},"started":{{json .State.StartedAt}},"host":{"auto_remove":{{json .HostConfig.AutoRemove}},'\
'"privileged":{{json .HostConfig.Privileged}},"network_mode":{{json .HostConfig.NetworkMode}},"pid_mode":'\
'{{json .HostConfig.PidMode}},"userns_mode":{{json .HostConfig.UsernsMode}},"security_opt":'\
'{{json .HostConfig.SecurityOpt}},"cap_add":{{json .HostConfig.CapAdd}},"devices":{{json .HostConfig.Devices}},'\
'"ipc_mode":{{json .HostConfig.IpcMode}},"uts_mode":{{json .HostConfig.UTSMode}},"restart_policy":'\
'{{json .HostConfig.RestartPolicy.Name}}}{{if ne .State.Status "running"}},"mounts":{{json .Mounts}}{{end}},'\
'"ports":{{json .NetworkSettings.Ports}},'\
'"networks":{{json .NetworkSettings.Networks}}}{{end}}' $ids $networks 2>&1)
run inspect kept "$inspected" $?
# Those of a container that has ended by now are nobody's any more.
case "$listeners" in *tcp*'"dockerd"'*) run listening ss -Hltn;; esac
if tags=$(ls -d "$root"/image/*/repositories.json 2>/dev/null); then
  run images cat $tags
  run layers grep -rhs '' "${tags%/*}/layerdb/sha256" --include=size
else
  run images.listed ask image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}'
fi
run volumes find "$root/volumes" -mindepth 1 -maxdepth 1 -type d -printf '%f\n'
:
