# shellcheck shell=sh
# What container engines run and a boot starts again by itself, but for Docker's containers (hullproof). POSIX sh, as
# root. Precedes other scripts in one. Each row is one of
#
#   unit NAME           a service: an engine's own, or a single container's
#   podman NAME         lxc NAME           libvirt URI NAME

ENGINE_UNITS='(docker|containerd|crio|podman-restart|lxc|lxc-net|lxd|incus|libvirtd|virtqemud|virtlxcd|kubelet|k3s|k3s-agent|rke2-server|rke2-agent|snap\.docker\.dockerd|snap\.lxd\.daemon)\.service'
CONTAINER_UNITS='(systemd-nspawn|lxc)@.*\.service'
RESTARTED='{{.Name}} {{.HostConfig.RestartPolicy.Name}} {{index .Config.Labels "PODMAN_SYSTEMD_UNIT"}}'

wanted() { # UNIT: whether something that is up wants it, so that a boot starts it
  for by in $(systemctl show -p WantedBy -p RequiredBy --value "$1" 2>/dev/null); do
    [ "$(systemctl is-active "$by")" != active ] || return 0
  done
  return 1
}

of_podman() { # "NAME POLICY UNIT" of root's containers
  command -v podman >/dev/null 2>&1 || return 0
  timeout 60 podman ps -q 2>/dev/null | while read -r id; do timeout 20 podman inspect -f "$RESTARTED" "$id" 2>/dev/null; done
}

kept() { # what runs now
  theirs=$(of_podman)
  { systemctl list-units --plain --no-legend --state=active --type=service 2>/dev/null | sed 's/ .*//' |
      grep -Ex "$ENGINE_UNITS|$CONTAINER_UNITS"
    printf '%s\n' "$theirs" | sed -n 's/.* \([^ ]*\.service\)$/\1/p'; } | sort -u |
    while read -r unit; do ! wanted "$unit" || echo "unit $unit"; done
  ! wanted podman-restart.service || printf '%s\n' "$theirs" | sed -n 's/^\([^ ]*\) always .*/podman \1/p'
  ! command -v lxc-ls >/dev/null 2>&1 || ! wanted lxc.service || timeout 60 lxc-ls -1 --running 2>/dev/null | while read -r name; do
    [ "$(timeout 20 lxc-info -n "$name" -c lxc.start.auto 2>/dev/null | sed 's/.*= *//')" != 1 ] || echo "lxc $name"
  done
  # Whoever asks would start its daemon, which then has no guests.
  [ -z "$(systemctl is-active libvirtd virtqemud virtlxcd 2>/dev/null | grep -x active)" ] || for uri in lxc:/// qemu:///system; do
    timeout 20 virsh -q -c $uri list --name --state-running --autostart 2>/dev/null | sed -n "s#^..*#libvirt $uri &#p"
  done
}

gone() { # ROWS, a file: those that do not run now, and how they are, one a line
  while read -r kind name more; do
    case $kind in
      unit)
        is=$(systemctl is-active "$name")
        # What a socket starts may end when nobody asks for it.
        case $is in
          active) continue ;;
          inactive) [ -z "$(systemctl show -p TriggeredBy --value "$name")" ] || continue ;;
        esac
        echo "$name is ${is:-gone}" ;;
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

joined() { tr '\n' ';' | sed 's/;$//; s/;/; /g'; }
