# shellcheck shell=sh
# The section userns of the survey: limits, and who uses which ids.
run ns ls /proc/self/ns
run limits grep -H '' /proc/sys/user/max_user_namespaces /proc/sys/kernel/unprivileged_userns_clone \
  /proc/sys/kernel/apparmor_restrict_unprivileged_userns
show /etc/subuid /etc/subgid /etc/sysctl.d/99-zz-hullproof-userns.conf
names() { getent "$1" | cut -d: -f1,3; }
run passwd names passwd
run group names group
run machines stat -c '%u %g %n' /var/lib/machines/*
lxc=$(sed -nE 's/^[[:space:]]*lxc\.lxcpath[[:space:]]*=[[:space:]]*"?([^"[:space:]]+).*/\1/p' /etc/lxc/lxc.conf 2>/dev/null | tail -n 1)
case ${lxc%/} in ''|/var/lib/lxc) set -- ;; *) set -- "${lxc%/}"/*/config ;; esac
run settings grep -HE '^[[:space:]]*(lxc[.]id_?map|root-auto-userns-user|<[ug]id start=)' \
  /etc/lxc/default.conf /var/lib/lxc/*/config "$@" /etc/containers/storage.conf /usr/share/containers/storage.conf \
  /etc/libvirt/lxc/*.xml /run/libvirt/lxc/*.xml
maps() { cat /proc/[0-9]*/"$1" 2>/dev/null | sort -u; }
run uid_map maps uid_map
run gid_map maps gid_map
root=$(sed -n 's/.*"data-root"[[:space:]]*:[[:space:]]*"\(\/[^"]*\)".*/\1/p' /etc/docker/daemon.json 2>/dev/null)
d=${root:-/var/lib/docker}; d=${d%/*}; set --
while [ -n "$d" ]; do set -- "$d" "$@"; d=${d%/*}; done
run parents stat -L -c '%a %n' "$@"
:
