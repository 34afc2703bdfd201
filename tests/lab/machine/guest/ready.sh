# Runs in a host after its first boot: what only a booted host can make of itself, before its snapshot is taken.
set -eu
# The build's own: on a real host a package starts what it brings.
rm -f /usr/sbin/policy-rc.d
update-grub > /dev/null 2>&1
if command -v dockerd > /dev/null; then
    until docker version > /dev/null 2>&1; do sleep 0.5; done
    docker import --change 'CMD ["/bin/sh"]' /var/lib/lab/busybox.tar lab/busybox:1 > /dev/null
fi
# Settled: a snapshot taken while services still start would be busy for the first minute of every test.
systemctl is-system-running --wait > /dev/null || systemctl --failed
sync
