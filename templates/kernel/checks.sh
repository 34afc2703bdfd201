# shellcheck shell=sh disable=SC2034,SC2046,SC2069,SC2174 # variables that trial.sh and words.sh read; words wanted as
# such; complaints alone; parents that exist
# What has to work under a new kernel as it did under the old one (hullproof): recorded before the reboot, checked after
# it. Follows trial.sh in one script that has engines/kept.sh too.

CHECKS="disk engine containers lsm network ssh"
SETTLE=30 # seconds for which all checks have to pass. What failed under the old kernel already is not checked.

# One start of a container, which each further start differs from
SPAN='{{.Name}}@{{.RestartCount}}@{{.State.StartedAt}}'
HEALTH='{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}'
INTERVAL='{{if .Config.Healthcheck}}{{printf "%d" .Config.Healthcheck.Interval}}{{else}}0{{end}}' # nanoseconds
LABELS='{{range $key, $value := .Config.Labels}}{{printf "%q " $key}}{{end}}'

# --- Before the reboot

note() { # the arguments of arm, with the new kernel's RELEASE and VERSION; prints what could not be recorded
  T=$T.new
  rm -rf "$T" && mkdir -p -m 700 "$T" && mkdir -p "$S" || return 1
  printf '%s\n' "$1" >"$T/seconds"; printf '%s\n' "$5" >"$T/after"
  printf '%s\n' "$6" >"$T/release"; printf '%s\n' "$7" >"$T/version"; uname -r >"$T/old"
  cat "$R/proc/sys/kernel/random/boot_id" >"$T/boot_id" || return 1
  lsms | lasting "$6" >"$T/lsm"
  ssh_connection "$R" | sed 's/.*=\([^ ]*\).*/\1/' >"$T/client"; ways "$(cat "$T/client")" >"$T/ways"
  if [ ! -s "$T/ways" ]; then
    echo "there is no default route, and none to the SSH client, so the network cannot be checked"; return 1
  fi
  ports | sort -u >"$T/ports"
  kept >"$T/kept.before"
  note_containers "$1" || return 1
  note_others
  sync "$T"/*
}

note_others() { # what other engines run, and still do after a while
  [ -s "$T/kept.before" ] || return 0
  [ -s "$T/before" ] || sleep "$SETTLE"
  kept | grep -Fx -f "$T/kept.before" >"$T/kept"
  grep '^unit ' "$T/kept" >"$T/kept.units"; grep -v '^unit ' "$T/kept" >"$T/kept.others"
}

note_containers() { # SECONDS, the deadline: "ID HEALTH NAME" of each that has to run again
  [ "$(systemctl is-active docker.service)" = active ] || return 0
  true >"$T/containers"
  ids=$(timeout 60 docker ps -q --no-trunc) || return 1
  [ -n "$ids" ] || return 0
  timeout 60 docker container inspect -f "$SPAN" $ids >"$T/before"
  sleep "$SETTLE"
  ids=$(timeout 60 docker ps -q --no-trunc) || return 1
  form="$SPAN {{.State.Restarting}} {{.HostConfig.AutoRemove}} $HEALTH $INTERVAL $LABELS"
  for id in $ids; do
    said=$(timeout 20 docker container inspect -f "$form" "$id") || return 1
    printf '%s\n' "$said" | demanded "$id" "$1"
  done >"$T/containers"
}

demanded() { # ID SECONDS, and its description on stdin: "ID HEALTH NAME" where this host has to run it again
  read -r span restarting removes health interval labels
  [ "$removes" != true ] || return 0 # it is deleted when it stops
  [ "$restarting" != true ] && grep -Fqx "$span" "$T/before" || return 0 # it restarts in a loop already
  # Swarm and Kubernetes create new containers under other names, maybe on another host: no container here shows whether
  # they are well, and one that we start would be one too many.
  case " $labels" in *' "com.docker.swarm.'* | *' "io.kubernetes.'*) return 0 ;; esac
  # A health check that runs less than twice before the deadline may not have run by then.
  [ "$health" = healthy ] && [ $((interval / 500000000)) -le "$2" ] || health=any
  span=${span#/}; echo "$1 $health ${span%%@*}"
}

lsms() { tr ',' '\n' <"$R/sys/kernel/security/lsm"; echo; ! grep -qs 1 "$R/sys/fs/selinux/enforce" || echo "SELinux enforcing"
  ! grep -qs . "$R/sys/kernel/security/apparmor/profiles" || echo "AppArmor profiles"; }
lasting() { # RELEASE: those of lsms that its boot has to show too. If the next boot's command line chooses other modules,
  # the absence of those that they replace is not the new kernel's fault.
  now=$(lsm_words <"$R/proc/cmdline"); next=$(command_line "$1" | lsm_words)
  [ "$now" != "$next" ] || { cat; return; }
  now=$(printf '%s\n' "$now" | grep '^lsm='); next=$(printf '%s\n' "$next" | grep '^lsm=')
  grep -Ev '^(apparmor|selinux|smack|tomoyo|AppArmor|SELinux)' | while read -r name; do
    [ "$now" = "$next" ] || case ",${next#lsm=}," in *",$name,"*) ;; *) continue ;; esac
    echo "$name"
  done
}
lsm_words() { tr ' ' '\n' | grep -E '^(security|lsm|apparmor|selinux|enforcing)=' | sort; }
ports() { # where sshd listens, or systemd for it; not what its sessions forward
  main=$(systemctl show -p MainPID --value sshd.service)
  ss -Hltnp 2>/dev/null | awk -v pid=",pid=${main:-0}," 'index($0, pid) { sub(/.*:/, "", $4); print $4 }'
  for unit in ssh.socket sshd.socket; do
    [ "$(systemctl is-active $unit)" != active ] || systemctl show -p Listen --value $unit | sed -n 's/.*:\([0-9]*\) (Stream).*/\1/p'
  done
}

ways() { # CLIENT, an address, or "": the routes by which others reach this host, one a line, which ends in the device
  defaults=$(default_routes 4; default_routes 6)
  [ -z "$defaults" ] || printf '%s\n' "$defaults"
  case $1 in '') return ;; *:*) family=6 ;; *) family=4 ;; esac
  case $1 in *%*) set -- "$1" "${1%%\%*}" oif "${1#*%}" ;; *) set -- "$1" "$1" ;; esac # fe80::1%eth0
  client=$1; shift
  device=$(ip -"$family" -o route get "$@" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
  # A default route to it counts as such: of several, the host may use another each time.
  case $device in '' | lo) return ;; esac
  printf '%s\n' "$defaults" | grep -q "^IPv$family .* on $device\$" || echo "IPv$family route to $client on $device"
}

default_routes() { # FAMILY. An IPv6 router counts by its device alone, since it advertises an address of its choice.
  ip -"$1" -o route show default 2>/dev/null | tr '\\' '\n' | awk -v family="$1" '
    $1 != "default" && $1 != "nexthop" || / (dead|linkdown)( |$)/ { next }
    { via = device = ""
      for (i = 1; i < NF; i++) { if ($i == "via" && family == 4) via = " via " $(i + 1); if ($i == "dev") device = $(i + 1) }
      if (device) print "IPv" family " default route" via " on " device }' | sort -u
}

# --- After the reboot

check_disk() { # the root, and where they are file systems of their own, /var and /boot
  [ -d "$S" ] || { echo "$S does not exist: /var may not be mounted"; return 1; }
  [ -e "$G/grubenv" ] || { echo "$G/grubenv does not exist: /boot may not be mounted"; return 1; }
  for place in "$T" "$S"; do # not with `:`, where a redirection that fails would end dash
    true >"$place/began" && sync "$place" || { echo "$place cannot be written"; return 1; }
  done
}

check_engine() {
  [ ! -e "$T/containers" ] || timeout 20 docker ps -q 2>&1 >/dev/null || return 1
  all_there "$T/kept.units"
}

all_there() { # ROWS, a file: whether there is none, or all of it runs
  [ ! -e "$1" ] || { lost=$(gone "$1" | joined); [ -z "$lost" ] || { echo "$lost"; return 1; }; }
}

state() { # ID NAME: of that container, or of the one that was recreated under its name
  form="$SPAN {{.State.Running}}/{{.State.Restarting}}/{{.State.ExitCode}} $HEALTH"
  timeout 20 docker container inspect -f "$form" "$1" 2>/dev/null && return
  timeout 20 docker container inspect -f "$form" "$2" 2>/dev/null | grep "^/$2@" # another's id may begin like a name
}

amiss() { # ID HEALTH NAME: what is wrong with it; nothing where it has been running since the last look
  health=$2; set -- "$1" $(state "$1" "$3")
  case ${3:-} in
    true/true/*) echo restarting; return ;;
    true/*) echo "$2" >>"$T/spans.now" ;;
    false/*/0) [ -e "$T/started.$1" ] || echo "not running"; return ;; # we started it, and it has ended by itself
    *) echo "not running"; return ;;
  esac
  case $health/$4 in
    healthy/starting | healthy/unhealthy) echo "$4" ;;
    *) grep -Fqsx "$2" "$T/spans" || echo "just started" ;;
  esac
}

check_containers() { check_dockers && all_there "$T/kept.others"; }

check_dockers() { # Docker starts those with a restart policy, whoever recreates one starts that, and we start the others
  [ -e "$T/containers" ] || return 0
  true >"$T/spans.now"; lost=
  while read -r id health name; do
    what=$(amiss "$id" "$health" "$name")
    [ -z "$what" ] || lost="$lost, $name is $what"
    if [ "$what" = "not running" ]; then
      timeout 60 docker start "$id" >/dev/null 2>&1 </dev/null && true >"$T/started.$id"
    fi
  done <"$T/containers"
  mv -f "$T/spans.now" "$T/spans"
  [ -z "$lost" ] || { echo "${lost#, }"; return 1; }
}

check_lsm() { lsms >"$T/lsm.now"; lost=$(grep -Fvx -f "$T/lsm.now" "$T/lsm" | tr '\n' ' '); [ -z "${lost% }" ] || { echo "gone: $lost"; return 1; }; }

check_network() {
  now=$(ways "$(cat "$T/client")")
  while read -r way; do
    printf '%s\n' "$now" | grep -Fqx "$way" || { echo "no $way"; return 1; }
    ip -o link show dev "${way##* }" | grep -q LOWER_UP || { echo "${way##* } has no link"; return 1; }
  done <"$T/ways"
}

check_ssh() {
  while read -r port; do
    [ -n "$(ss -Hltn "sport = :$port")" ] || { echo "no program listens on port $port"; return 1; }
  done <"$T/ports"
}

unwell() { # the first check that fails, and its message, in $failing and $why; false where all pass
  for check in $CHECKS; do
    said=$("check_$check" 2>&1) || { failing=$check why=$said; return 0; }
  done
  return 1
}

settled_in() { # UPTIME: whether, by then, all checks have passed for SETTLE seconds on end; else $failing and $why as in unwell
  failing=deadline; why="the checks did not all pass for $SETTLE s on end"; since=
  while :; do
    now=$(uptime)
    if unwell; then since=; elif [ $((now - ${since:=$now})) -ge "$SETTLE" ]; then return 0; fi
    [ "$now" -lt "$1" ] || return 1
    sleep "$PAUSE"
  done
}
