# Runs in a stock host: every container engine that Debian has, each with a container as it makes one by default.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq --no-install-recommends apparmor podman crun uidmap dbus-user-session lxc lxcfs systemd-container \
    libvirt-daemon-system libvirt-clients libvirt-daemon-driver-lxc libvirt-daemon-driver-qemu qemu-system-x86 > /dev/null 2>&1
# Docker looks for the AppArmor parser when it starts.
systemctl restart docker.service
tree() { # FOLDER
    mkdir -p "$1/usr" "$1/sbin"
    tar -xf /var/lib/lab/busybox.tar -C "$1"
    ln -sf ../bin/busybox "$1/sbin/init"
}
forever='sleep 1000000000'

start() {
    # shellcheck disable=SC2086
    docker run --detach --name web lab/busybox:1 $forever > /dev/null
    podman import -q --change 'CMD ["/bin/sh"]' /var/lib/lab/busybox.tar lab/busybox:1
    # shellcheck disable=SC2086
    podman run --detach --name web lab/busybox:1 $forever > /dev/null

    # LXC, root's: as lxc-create makes one, and one that includes what the templates of distributions include.
    for name in plain common; do
        lxc-create -n $name -t none
        tree /var/lib/lxc/$name/rootfs
        cat >> /var/lib/lxc/$name/config << CONF
lxc.rootfs.path = dir:/var/lib/lxc/$name/rootfs
lxc.uts.name = $name
lxc.net.0.type = empty
lxc.init.cmd = /bin/$forever
CONF
    done
    echo 'lxc.include = /usr/share/lxc/config/common.conf' >> /var/lib/lxc/common/config
    # A container that has the host's process namespace is the first process of none.
    sed 's/plain/shared/' /var/lib/lxc/plain/config > /root/shared
    cp -r /var/lib/lxc/plain /var/lib/lxc/shared
    { cat /root/shared; echo 'lxc.namespace.keep = pid user'; } > /var/lib/lxc/shared/config
    for name in plain common shared; do lxc-start -n $name; done

    # LXC, a user's.
    loginctl enable-linger ops
    chmod o+x ~ops
    cat > /tmp/unprivileged << CONF
lxc.include = /usr/share/lxc/config/common.conf
lxc.include = /usr/share/lxc/config/userns.conf
lxc.idmap = u 0 $(sed -n 's/^ops:\([0-9]*\):\([0-9]*\)/\1 \2/p' /etc/subuid)
lxc.idmap = g 0 $(sed -n 's/^ops:\([0-9]*\):\([0-9]*\)/\1 \2/p' /etc/subgid)
lxc.apparmor.profile = lxc-container-default-cgns
lxc.rootfs.path = dir:/home/ops/.local/share/lxc/web/rootfs
lxc.uts.name = web
lxc.net.0.type = empty
lxc.init.cmd = /bin/$forever
CONF
    tree /home/ops/.local/share/lxc/web/rootfs
    mv /tmp/unprivileged /home/ops/.local/share/lxc/web/config
    chown -R ops: ~ops/.local
    chmod -R o+x ~ops/.local
    until [ -S /run/user/1000/bus ]; do sleep 0.5; done
    su - ops -c 'XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus lxc-unpriv-start -n web'

    # systemd-nspawn: as a service, and by hand.
    for at in /var/lib/machines/web /srv/hand; do tree $at; echo ID=lab > $at/etc/os-release; done
    systemctl start systemd-nspawn@web.service
    # shellcheck disable=SC2086
    setsid systemd-nspawn --quiet --register=no --directory=/srv/hand --machine=hand /bin/$forever < /dev/null > /dev/null 2>&1 &

    # libvirt: a container and a guest without a disk.
    tree /srv/domain
    cat > /root/domain.xml << 'CONF'
<domain type='lxc'><name>web</name><memory unit='MiB'>128</memory>
<os><type>exe</type><init>/bin/sleep</init><initarg>1000000000</initarg></os>
<devices><filesystem type='mount'><source dir='/srv/domain'/><target dir='/'/></filesystem><console type='pty'/></devices>
</domain>
CONF
    cat > /root/guest.xml << 'CONF'
<domain type='qemu'><name>a guest</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os></domain>
CONF
    virsh -q -c lxc:/// create /root/domain.xml
    virsh -q -c qemu:///system create --paused /root/guest.xml

    # containerd: in a namespace of its own, and a pod as Kubernetes has it.
    tree /srv/aside
    # shellcheck disable=SC2086
    ctr -n other run --detach --rootfs /srv/aside aside /bin/$forever
    cri=io.kubernetes.cri
    pod="--annotation $cri.sandbox-id=pod1 --annotation $cri.sandbox-name=shop --annotation $cri.sandbox-namespace=default"
    # shellcheck disable=SC2086
    ctr -n k8s.io run --detach $pod --annotation $cri.container-type=sandbox --rootfs /srv/aside pod1 /bin/$forever
    pause=$(cat /run/containerd/io.containerd.runtime.v2.task/k8s.io/pod1/init.pid)
    # shellcheck disable=SC2086
    ctr -n k8s.io run --detach $pod --annotation $cri.container-type=container --annotation $cri.container-name=till \
        --annotation $cri.image-name=registry.example/till:1 --with-ns "network:/proc/$pause/ns/net" \
        --with-ns "ipc:/proc/$pause/ns/ipc" --rootfs /srv/aside c1 /bin/$forever
}
# Whatever is started must not read the rest of this.
start < /dev/null
sync
