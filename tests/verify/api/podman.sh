# shellcheck shell=sh
# Where root's Podman listens: by podman.socket, which systemd holds, and as services of its own.
told() { systemctl show -p Listen podman.socket 2> /dev/null | sed -n 's/^Listen=\([^ ]*\) (Stream)$/\1/p'; }
roots() { # of lines `PLACE PID`, the places of root's processes
    while read -r place pid; do [ "$(stat -c %u "/proc/$pid" 2> /dev/null)" != 0 ] || echo "$place"; done
}
sockets() {
    echo /run/podman/podman.sock
    told | grep '^/'
    ss -Hlxp 2> /dev/null | sed -nE 's/^[^/]* (\/[^ ]+) .*"podman",pid=([0-9]+).*/\1 \2/p' | roots
}
listeners() {
    told | grep -v '^/'
    ss -Hlntp 2> /dev/null | sed -nE 's/^([^ ]+ +){3}([^ ]+) .*"podman",pid=([0-9]+).*/\2 \3/p' | roots
}
