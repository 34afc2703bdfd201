# shellcheck shell=sh disable=SC2154
# How systemd starts a machine (systemd-nspawn@.service): by its name, from a tree that it gives to other ids. The file
# that asks for /kept counts only where settings of machines' own do.
machine=/var/lib/machines/$probe settings=/run/systemd/nspawn/$probe.nspawn
alone() {
    cp -a "$tree" "$machine" && first "$machine" && mkdir -p "${settings%/*}" || return
    printf '[Files]\nBindReadOnly=%s:/kept\n' "$kept" > "$settings"
    timeout -k 5 120 systemctl start "systemd-nspawn@$probe.service" && told "$machine"
}
leave() { # a machine that is killed leaves a mount and a lock
    timeout -k 5 60 systemctl kill --signal=KILL "systemd-nspawn@$probe.service" 2> /dev/null
    timeout -k 5 60 systemctl stop "systemd-nspawn@$probe.service" 2> /dev/null
    systemctl reset-failed "systemd-nspawn@$probe.service" 2> /dev/null
    umount "/run/systemd/nspawn/unix-export/$probe" 2> /dev/null
    rm -rf --one-file-system "$machine" "/run/systemd/nspawn/propagate/$probe" "/run/systemd/nspawn/unix-export/$probe"
    rm -f "$settings" "${machine%/*}/.#${machine##*/}.lck"
}
