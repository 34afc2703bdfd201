# shellcheck shell=sh
# The section files of the survey: who may change hullproof's own files, and those that make up an engine; each with the
# folders above it, since whoever may write to one of them puts another file in its place.
run uid id -u
set --
for f in /etc/hullproof /etc/hullproof/* /etc/hullproof/*/* /var/lib/hullproof /var/lib/hullproof/* \
  /etc/systemd/system/*hullproof* /etc/systemd/system/*.d/*hullproof* /etc/systemd/network/*hullproof* \
  /etc/udev/rules.d/*hullproof* /etc/sysctl.d/*hullproof* /etc/modules-load.d/*hullproof* /etc/modprobe.d/*hullproof* \
  /etc/tmpfiles.d/*hullproof* /etc/audit/rules.d/*hullproof* /etc/apparmor.d/*hullproof* /etc/docker/*hullproof* \
  /etc/default/grub.d/*hullproof* /etc/network/interfaces.d/*hullproof* \
  /etc/NetworkManager/system-connections/*hullproof* \
  /etc/docker /etc/docker/daemon.json /etc/containerd /etc/containerd/* /etc/containerd/*/* /etc/containerd/certs.d/*/* \
  /opt/containerd/image-verifier/bin /opt/containerd/image-verifier/bin/* /etc/cni/net.d /etc/cni/net.d/* /opt/cni/bin /opt/cni/bin/* \
  /etc/libvirt /etc/libvirt/* /etc/libvirt/*/*.xml /etc/libvirt/*/*/*.xml /etc/libvirt/hooks/* /etc/libvirt/hooks/*.d/* /etc/default/libvirt* \
  /etc/containers /etc/containers/* /etc/containers/*.d/* /etc/containers/oci/* /etc/containers/oci/hooks.d/* \
  /usr/share/containers/oci/hooks.d/* /etc/containers/systemd/* /etc/containers/systemd/*/* \
  /usr/share/containers/systemd/* /usr/share/containers/systemd/*/* /var/lib/docker \
  /var/lib/containerd /var/lib/containers /etc/systemd/system/docker.* /etc/systemd/system/docker.*/* \
  /etc/systemd/system/containerd.* /etc/systemd/system/containerd.*/* /run/systemd/system/docker.*/* \
  /run/systemd/system/containerd.*/* /usr/local/lib/systemd/system/docker.* /usr/local/lib/systemd/system/containerd.* \
  /usr/lib/systemd/system/docker.* /usr/lib/systemd/system/docker.*/* /usr/lib/systemd/system/containerd.* \
  /usr/lib/systemd/system/containerd.*/* /etc/systemd/system/libvirtd.* /etc/systemd/system/libvirtd.*/* \
  /etc/systemd/system/virt*d.service /etc/systemd/system/virt*d.service.d/* /usr/lib/systemd/system/libvirtd.* \
  /usr/lib/systemd/system/virt*d.service; do
  if [ -e "$f" ]; then set -- "$@" "$f"; fi
done
for program in docker dockerd docker-init docker-proxy containerd containerd-shim-runc-v2 runc crun podman conmon \
  libvirtd virtqemud virtlxcd virtproxyd virtlogd virtlockd; do
  for d in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /usr/libexec/podman; do
    if [ -e "$d/$program" ]; then set -- "$@" "$d/$program"; fi
  done
done
if [ $# -gt 0 ]; then
  seen=
  for f do seen="$seen|$f|"; done
  while read -r f; do
    case $seen in *"|$f|"*) ;; *) seen="$seen|$f|" && set -- "$@" "$f" ;; esac
  done <<LINKED
$(readlink -f -- "$@")
LINKED
  run watched printf '%s\n' "$@"
  for f do
    while f=${f%/*} && [ -n "$f" ]; do
      case $seen in *"|$f|"*) break ;; esac
      seen="$seen|$f|"
      set -- "$@" "$f"
    done
  done
  set -- "$@" /
  modes "$@"
fi
:
