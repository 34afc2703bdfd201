# shellcheck shell=sh disable=SC2154
# How root's LXC makes a container: with the lines that lxc-create copies, and a name and a proc as every
# template asks for them.
alone() {
    lxc-create -P "$dir/lxc" -n "$probe" -t none > /dev/null || return
    cat >> "$dir/lxc/$probe/config" << CONF
lxc.rootfs.path = dir:$tree
lxc.uts.name = $probe
lxc.net.0.type = empty
lxc.mount.auto = proc:mixed sys:mixed
lxc.mount.entry = $kept kept none bind,ro 0 0
lxc.mount.entry = tmpfs scratch tmpfs size=4m 0 0
CONF
    timeout -k 5 120 lxc-execute -P "$dir/lxc" -n "$probe" -- "$agent" "$option" "$source" "$attempts" < /dev/null
}
leave() {
    timeout -k 5 60 lxc-stop -P "$dir/lxc" -n "$probe" -k 2> /dev/null
    rm -rf "/run/lxc/lock$dir" /var/cache/lxc/apparmor/*/"lxc-${probe}_"*
}
