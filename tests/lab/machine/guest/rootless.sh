# Runs in a stock host: what users need to run containers without root, by Podman and by Docker, and one default container
# of each engine for the user ops, whose services stay.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq --no-install-recommends podman crun uidmap dbus-user-session catatonit passt slirp4netns rootlesskit \
    > /dev/null 2>&1
for user in ops opspw; do
    loginctl enable-linger $user
    until [ -S "/run/user/$(id -u $user)/bus" ]; do sleep 0.5; done
done

as_ops() { # what it starts must not read the rest of this
    runuser -u ops -- env HOME=/home/ops XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus \
        PATH="$PATH:/usr/sbin:/sbin:/usr/share/docker.io/contrib" sh -euc "cd; $1" < /dev/null
}
import="--change 'CMD [\"/bin/sh\"]' /var/lib/lab/busybox.tar lab/busybox:1"
keep='--detach --name default lab/busybox:1 sleep 1000000000'
as_ops "podman import -q $import; podman run $keep"
as_ops "systemd-run --user -q --unit rootless --setenv PATH=\$PATH dockerd-rootless.sh"
as_ops "export DOCKER_HOST=unix:///run/user/1000/docker.sock
timeout 300 sh -c 'until docker version; do sleep 1; done' > /dev/null 2>&1
docker import $import; docker run $keep"
sync
