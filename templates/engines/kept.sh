# shellcheck shell=sh
# What container engines run and a boot starts again by itself (hullproof). POSIX sh, as root. Precedes other scripts in
# one. Each row is one of
#
#   unit NAME           a service: an engine's own, or a single container's
#   podman NAME         lxc NAME           libvirt URI NAME         docker NAME (of kept_by_docker alone)
#   user NAME UNIT      a service of a lingering user's: an engine's own, or a single container's

LC_ALL=C; export LC_ALL # virsh says `running` in the host's language
ENGINE_UNITS='(docker|containerd|crio|podman-restart|lxc|lxc-net|lxd|incus|libvirtd|virtqemud|virtlxcd|kubelet|k3s|k3s-agent|rke2-server|rke2-agent|snap\.docker\.dockerd|snap\.lxd\.daemon)\.service'
CONTAINER_UNITS='(systemd-nspawn|lxc)@.*\.service'
USER_UNITS='(docker|containerd|podman-restart|container-.*|pod-.*)[.]service'
RESTARTED='{{.Name}} {{.HostConfig.RestartPolicy.Name}} {{index .Config.Labels "PODMAN_SYSTEMD_UNIT"}}'

BY_DOCKER='{{.Name}} {{.HostConfig.RestartPolicy.Name}} {{json .Config.Labels}}'

is_active() { [ "$(systemctl is-active "$1" 2>/dev/null)" = active ]; }

wanted() { # UNIT: whether something that is up wants it, so that a boot starts it
  for by in $(systemctl show -p WantedBy -p RequiredBy --value "$1" 2>/dev/null); do
    ! is_active "$by" || return 0
  done
  return 1
}

of_podman() { # "NAME POLICY UNIT" of root's containers
  command -v podman >/dev/null 2>&1 || return 0
  timeout 60 podman ps -q 2>/dev/null | xargs -r timeout 60 podman inspect -f "$RESTARTED" 2>/dev/null
}

of_lxc() { # the names of root's containers that run, and that lxc.service starts: lxc-containers reads these files
  command -v lxc-ls >/dev/null 2>&1 && wanted lxc.service || return 0
  BOOTGROUPS=onboot, LXC_AUTO=true
  # shellcheck disable=SC1090 # either of them
  for file in "${R:-}/etc/default/lxc" "${R:-}/etc/sysconfig/lxc"; do [ ! -r "$file" ] || . "$file"; done
  [ "$LXC_AUTO" = true ] || return 0
  timeout 60 lxc-ls -1 --running 2>/dev/null | while read -r name; do
    [ "$(of_config "$name" lxc.start.auto)" != 1 ] || ! in_boot_groups "$(of_config "$name" lxc.group)" || echo "$name"
  done
}

of_config() { timeout 20 lxc-info -n "$1" -c "$2" 2>/dev/null </dev/null | sed -n 's/.*= *//p'; } # NAME KEY

in_boot_groups() { # GROUPS: an empty one in BOOTGROUPS is that of containers without any
  [ -n "$1" ] || case ",$BOOTGROUPS," in *,,*) return 0 ;; *) return 1 ;; esac
  for group in $(printf '%s' "$1" | tr ',' ' '); do case ",$BOOTGROUPS," in *",$group,"*) return 0 ;; esac; done
  return 1
}

kept_by_docker() { # rows of the containers that Docker starts again itself; Swarm and Kubernetes make others
  is_active docker.service || return 0
  timeout 60 docker ps -q 2>/dev/null | xargs -r timeout 60 docker container inspect -f "$BY_DOCKER" 2>/dev/null |
    sed -nE '/com[.]docker[.]swarm|io[.]kubernetes/d; s#^/([^ ]+) (always|unless-stopped) .*#docker \1#p'
}

of_user() { # NAME ARGUMENT...: a lingering user's systemctl
  whose=$1 uid=$(id -u "$1" 2>/dev/null) && shift || return 1
  timeout 20 runuser -u "$whose" -- env XDG_RUNTIME_DIR="/run/user/$uid" systemctl --user "$@" 2>/dev/null </dev/null
}

of_users() { # rows of what a boot starts for users who linger: of engines by name, and what Quadlet made
  for user in "${R:-}/var/lib/systemd/linger"/*; do
    [ -e "$user" ] || continue
    user=${user##*/}
    of_user "$user" show -p Id -p ActiveState -p WantedBy -p SourcePath '*.service' | awk -v user="$user" -v units="^$USER_UNITS\$" '
      function told() { if (active && wanted && (id ~ units || quadlet)) print "user", user, id; active = wanted = quadlet = 0 }
      $0 == "" { told() }
      /^Id=/ { id = substr($0, 4) }
      /^ActiveState=active$/ { active = 1 }
      /^WantedBy=./ { wanted = 1 }
      /^SourcePath=.*\/containers\/systemd\// { quadlet = 1 }
      END { told() }'
  done
}

kept() { # what runs now, but for Docker's containers
  theirs=$(of_podman)
  { systemctl list-units --plain --no-legend --state=active --type=service 2>/dev/null | sed 's/ .*//' |
      grep -Ex "$ENGINE_UNITS|$CONTAINER_UNITS"
    printf '%s\n' "$theirs" | sed -n 's/.* \([^ ]*\.service\)$/\1/p'; } | sort -u |
    while read -r unit; do ! is_active "$unit" || ! wanted "$unit" || echo "unit $unit"; done
  ! wanted podman-restart.service || printf '%s\n' "$theirs" | sed -n 's/^\([^ ]*\) always .*/podman \1/p'
  (of_lxc) | sed 's/^/lxc /'
  of_users
  # Whoever asks would start its daemon, which then has no guests.
  ! is_active libvirtd && ! is_active virtlxcd || autostarting lxc:///
  ! is_active libvirtd && ! is_active virtqemud || autostarting qemu:///system
}

autostarting() { timeout 20 virsh -q -c "$1" list --name --state-running --autostart 2>/dev/null | sed -n "s#^..*#libvirt $1 &#p"; } # URI

gone() { # ROWS, a file: those that do not run now, and how they are, one a line
  while read -r kind name more; do
    case $kind in
      unit) unit_gone "$name" ;;
      user)
        is=$(of_user "$name" is-active "$more")
        [ "$is" = active ] || echo "$name's $more is ${is:-gone}" ;;
      docker)
        is=$(timeout 20 docker container inspect -f '{{.State.Status}}' "$name" 2>/dev/null </dev/null)
        [ "$is" = running ] || echo "$name is ${is:-gone}" ;;
      podman)
        is=$(timeout 20 podman inspect -f '{{.State.Status}}' "$name" 2>/dev/null </dev/null)
        [ "$is" = running ] || echo "podman:$name is ${is:-gone}" ;;
      lxc)
        is=$(timeout 20 lxc-info -n "$name" -s -H 2>/dev/null </dev/null)
        [ "$is" = RUNNING ] || echo "lxc:$name is ${is:-gone}" ;;
      libvirt)
        is=$(timeout 20 virsh -q -c "$name" domstate "$more" 2>/dev/null </dev/null)
        [ "$is" = running ] || echo "libvirt:$more is ${is:-gone}" ;;
    esac
  done <"$1"
}

unit_gone() { # UNIT: how it is, unless it runs, or waits on its socket
  is=$(systemctl is-active "$1" 2>/dev/null)
  case $is/$1 in
    active/*) return ;;
    # libvirt's daemons end when nobody has asked them anything for two minutes.
    inactive/libvirtd.service | inactive/virt*d.service) ! is_active "${1%.service}.socket" || return ;;
  esac
  echo "$1 is ${is:-gone}"
}

start_gone() { # ROWS, a file: what of them does not run is started, without waiting
  while read -r kind name more; do
    case $kind in
      unit) is_active "$name" || systemctl --no-block restart "$name" ;;
      user) [ "$(of_user "$name" is-active "$more")" = active ] || of_user "$name" --no-block restart "$more" ;;
      docker) timeout 60 docker start "$name" ;;
      podman) timeout 60 podman start "$name" ;;
      lxc) timeout 60 lxc-start -n "$name" ;;
      libvirt) timeout 60 virsh -q -c "$name" start "$more" ;;
    esac >/dev/null 2>&1 </dev/null
  done <"$1"
}

joined() { tr '\n' ';' | sed 's/;$//; s/;/; /g'; }
