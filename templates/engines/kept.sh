# shellcheck shell=sh
# What container engines run and a boot starts again by itself (hullproof). POSIX sh, as root. Precedes other scripts in
# one. Each row is one of
#
#   unit NAME           a service: an engine's own, or a single container's
#   podman NAME         lxc NAME           libvirt URI NAME         docker NAME (of kept_by_docker alone)
#
# Not users' services: a user's own systemd may say anything, and is not to decide on root's kernel or SELinux.

LC_ALL=C; export LC_ALL # virsh says `running` in the host's language
ENGINE_UNITS='(docker|containerd|crio|podman-restart|lxc|lxc-net|lxd|incus|libvirtd|virtqemud|virtlxcd|kubelet|k3s|k3s-agent|rke2-server|rke2-agent|snap\.docker\.dockerd|snap\.lxd\.daemon)\.service'
CONTAINER_UNITS='(systemd-nspawn|lxc)@.*\.service'
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

kept() { # what runs now, but for Docker's containers
  theirs=$(of_podman)
  { systemctl list-units --plain --no-legend --state=active --type=service 2>/dev/null | sed 's/ .*//' |
      grep -Ex "$ENGINE_UNITS|$CONTAINER_UNITS"
    printf '%s\n' "$theirs" | sed -n 's/.* \([^ ]*\.service\)$/\1/p'; } | sort -u |
    while read -r unit; do ! is_active "$unit" || ! wanted "$unit" || echo "unit $unit"; done
  ! wanted podman-restart.service || printf '%s\n' "$theirs" | sed -n 's/^\([^ ]*\) always .*/podman \1/p'
  (of_lxc) | sed 's/^/lxc /'
  # Whoever asks would start its daemon, which then has no guests.
  ! is_active libvirtd && ! is_active virtlxcd || autostarting lxc:///
  ! is_active libvirtd && ! is_active virtqemud || autostarting qemu:///system
}

autostarting() { timeout 20 virsh -q -c "$1" list --name --state-running --autostart 2>/dev/null | sed -n "s#^..*#libvirt $1 &#p"; } # URI

gone() { # ROWS, a file: those that do not run now, and how they are, one a line
  while read -r kind name more; do
    case $kind in
      unit) unit_gone "$name" ;;
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
      docker) timeout 60 docker start "$name" ;;
      podman) timeout 60 podman start "$name" ;;
      lxc) timeout 60 lxc-start -n "$name" ;;
      libvirt) timeout 60 virsh -q -c "$name" start "$more" ;;
    esac >/dev/null 2>&1 </dev/null
  done <"$1"
}

joined() { tr '\n' ';' | sed 's/;$//; s/;/; /g'; }
