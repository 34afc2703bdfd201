# shellcheck shell=sh
# What every scenario with containers has on the host: probe, the name that all of it carries; dir, a folder, and in it
# kept, with a file that only the host's root may read; store, a folder where programs run (below /run many hosts run none);
# a process, a mount and shared memory; and the host's own attempts.
# All of it goes when the script ends, however it ends, and first what the scenario says (`leave`).
# Given: the agent (agent, option, source), the names of what is the host's alone (sentinel, memory), the agenda outside.
# shellcheck disable=SC2034,SC2154 # given: see above
probe=hullproof-probe-$$-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
dir=$(mktemp -d /run/hullproof-probe.XXXXXX) || exit 1
kept=$dir/kept servers='' store=''
leave() { :; }
clean() {
    trap - EXIT
    trap '' HUP INT TERM PIPE
    # shellcheck disable=SC2086
    kill $servers 2> /dev/null
    leave
    umount "$dir/mount" 2> /dev/null
    ipcrm -M "$memory" 2> /dev/null
    rm -rf --one-file-system "$dir" "$store"
}
trap clean EXIT
trap 'clean; exit 143' HUP INT TERM PIPE

programs() { # the few programs that attempts need, and what these need; nothing where perl-base is not
    base=$(ls -d /usr/lib/*/perl-base 2> /dev/null) || return 0
    few="/usr/bin/perl /bin/sh /usr/bin/cp /usr/bin/chmod /usr/bin/id /usr/bin/setpriv"
    # shellcheck disable=SC2046,SC2086
    printf '%s\n' $base $few $(ldd $few | sed -n 's/.*[[:space:]]\(\/[^ ]*\) (0x.*/\1/p' | sort -u)
}

store=$(mktemp -d /var/lib/hullproof-probe.XXXXXX) || exit 1
chmod 711 "$dir" "$store" && mkdir -m 711 "$kept" && echo "for the host's root only" > "$kept/secret" &&
    chmod 600 "$kept/secret" && mkfifo "$dir/fifo" && mkdir "$dir/mount" || exit 1
chcon -t container_file_t "$dir" "$kept" "$kept/secret" 2> /dev/null # where there are such labels
sh -c "echo $sentinel > /proc/self/comm; read -r never" <> "$dir/fifo" &
pid=$!
servers=$pid
for_host() { printf '%s' "$1" | sed "s/i:PID/i:$pid/"; } # AGENDA: with the number of that process
mount -t tmpfs -o size=4k "$sentinel" "$dir/mount"
"$agent" "$option" "$source" "$(for_host "$outside")"
