# shellcheck shell=sh disable=SC2154
# How a user's Podman makes a container: with the user's own settings. Given: user. What it stores and caches, and what it
# has while it runs, is in folders of ours, so that the user's own stay as they are.
number=$(id -u "$user" 2> /dev/null) at=$store/user
client() {
    (cd / && exec timeout -k 5 120 runuser -u "$user" -- env -i PATH="$PATH" HOME="$(getent passwd "$user" | cut -d: -f6)" \
        XDG_RUNTIME_DIR="$at/run" XDG_DATA_HOME="$at/data" XDG_CACHE_HOME="$at/cache" \
        podman --root "$at/store" --runroot "$at/run/containers" --storage-driver vfs --cgroup-manager cgroupfs "$@")
}
alone() {
    [ -n "$number" ] || { printf 'user\t-1\t2\tnone\n' && return; }
    # In a folder of the user's root makes nothing: it is given away last.
    mkdir -m 700 "$at" "$at/run" && chown "$number" "$at/run" && chown "$number" "$at" || return
    tar -c -C "$tree" . | client import - "$probe" > /dev/null 2>&1 &&
        client run --rm --name "$probe" --network none --tmpfs /scratch:exec,suid,size=4m \
            --volume "$kept:/kept:ro" "$probe" \
            "$agent" "$option" "$source" "$attempts"
}
leave() {
    client rm -f -t 0 "$probe" > /dev/null
    # What holds the user's namespaces open between commands. The file is the user's: root does not open it (it may be a
    # link or a FIFO), and kills nothing by its word. It has no end of line.
    # shellcheck disable=SC2016
    timeout -k 1 5 runuser -u "$user" -- sh -c 'read -r pause < "$1"; [ -z "$pause" ] || kill -KILL "$pause"' sh \
        "$at/run/libpod/tmp/pause.pid"
} 2> /dev/null
