# shellcheck shell=sh disable=SC2154
# How systemd starts a machine (systemd-nspawn@.service): by its name, from a tree that it gives to other ids. The file
# that asks for /kept counts only where settings of machines' own do. To write it changes its folder, by which the filters
# of machines that run are known (facts/filters.py): beside such it is not written.
machine=/var/lib/machines/$probe settings=/run/systemd/nspawn/$probe.nspawn
network=/run/systemd/network/10-hullproof-probe.network
forwards() { # whether systemd-networkd, for the machine's link, would switch the host's IP forwarding on, for good
    systemctl -q is-active systemd-networkd.service &&
        grep -qsx 0 /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
}
settled() { # whether no file of systemd-networkd's has changed since its start: to have it read them does nothing else
    age=$(ps -o etimes= -p "$(systemctl show -p MainPID --value systemd-networkd.service)") || return
    changed=$(find /etc/systemd/network /run/systemd/network /usr/local/lib/systemd/network /usr/lib/systemd/network \
        ! -type d ! -path "$network" -newerct "$((age)) seconds ago" 2> /dev/null)
    [ -z "$changed" ]
}
unmanaged() {
    mkdir -p -m 755 "${network%/*}" && printf '[Match]\nName=ve-hullpr*\n[Link]\nUnmanaged=yes\n' > "$network" &&
        chmod 644 "$network" && timeout -k 5 30 networkctl reload
}
alone() {
    if forwards; then
        settled && unmanaged || { printf 'forwarding\t-1\t1\tnone\n' && return; }
    fi
    cp -a "$tree" "$machine" && first "$machine" && mkdir -p "${settings%/*}" || return
    [ -n "$(ls /run/systemd/machines 2> /dev/null)" ] || printf '[Files]\nBindReadOnly=%s:/kept\n' "$kept" > "$settings"
    timeout -k 5 120 systemctl start "systemd-nspawn@$probe.service" && told "$machine"
}
leave() { # a machine that is killed leaves a mount and a lock
    timeout -k 5 60 systemctl kill --signal=KILL "systemd-nspawn@$probe.service" 2> /dev/null
    timeout -k 5 60 systemctl stop "systemd-nspawn@$probe.service" 2> /dev/null
    systemctl reset-failed "systemd-nspawn@$probe.service" 2> /dev/null
    umount "/run/systemd/nspawn/unix-export/$probe" 2> /dev/null
    lock=$(stat -c 'inode-%d:%i' "$machine" 2> /dev/null)
    rm -rf --one-file-system "$machine" "/run/systemd/nspawn/propagate/$probe" "/run/systemd/nspawn/unix-export/$probe"
    [ ! -e "$network" ] || { rm -f "$network" && timeout -k 5 30 networkctl reload 2> /dev/null; }
    rm -f "$settings" "${machine%/*}/.#${machine##*/}.lck" "/run/systemd/nspawn/locks/${lock:-none}"
}
