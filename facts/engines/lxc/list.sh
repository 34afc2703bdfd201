# shellcheck shell=sh disable=SC2154
# LXC, and what is made of it. Containers are known by what has started them (monitors.sh): here are only root's whose
# process namespace is the host's or another container's (lxc.namespace.keep, lxc.namespace.share.pid).
engine lxc lxc-start
engine incus /usr/libexec/incus/incusd /opt/incus/bin/incusd
engine lxd lxd /snap/bin/lxd
# shellcheck disable=SC2044 # paths without blanks
if have lxc-start; then
  for at in $(find /proc/[0-9]*/exe -maxdepth 0 -user 0 '(' -lname '/usr/*/lxc-start*' -o -lname '/usr/*/lxc-execute*' ')' -printf '%h\n' 2>/dev/null); do
    child=''
    [ ! "$at/root" -ef / ] || { read -r child _ <"$at/task/${at#/proc/}/children"; } 2>/dev/null
    [ -z "$child" ] || firsts="$firsts $child"
  done
fi
