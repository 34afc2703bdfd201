# shellcheck shell=sh disable=SC2154
# How libvirt starts a container (LXC): from a domain of which it keeps nothing. The profile that it makes for each one's
# number stays, and so do a log and empty folders.
read -r uuid < /proc/sys/kernel/random/uuid
profile=libvirt-$uuid
domain() { timeout -k 5 120 virsh -q -c lxc:/// "$@"; }
alone() {
    first "$tree" && cat > "$dir/domain.xml" << XML
<domain type='lxc'><name>$probe</name><uuid>$uuid</uuid><memory unit='MiB'>128</memory>
<os><type>exe</type><init>/sbin/init</init></os>
<devices><filesystem type='mount'><source dir='$tree'/><target dir='/'/></filesystem>
<filesystem type='mount'><source dir='$kept'/><target dir='/kept'/></filesystem><console type='pty'/></devices></domain>
XML
    domain create "$dir/domain.xml" > /dev/null && told "$tree"
}
leave() {
    domain destroy "$probe" > /dev/null 2>&1
    for _ in $(seq 50); do
        domain domstate "$probe" > /dev/null 2>&1 || break
        sleep 0.2
    done
    ! grep -qs "^$profile " /sys/kernel/security/apparmor/profiles ||
        printf '%s' "$profile" > /sys/kernel/security/apparmor/.remove
    rmdir "/run/libvirt/lxc/$probe".* 2> /dev/null
    rm -f "/etc/apparmor.d/libvirt/$profile" "/etc/apparmor.d/libvirt/$profile.files" "/var/log/libvirt/lxc/$probe.log"
}
