# Makes a bare host of a fresh root. $1 is the root; LAB_HOSTNAME, LAB_PUBKEY, LAB_REPOSITORY and LAB_UUID come from image.py.
set -eu
root=$1
archives=$root/var/cache/apt/archives
repo=$root/var/lib/lab-apt
in_root() { chroot "$root" "$@"; }

account() { # name
    in_root useradd --create-home --shell /bin/bash "$1"
    authorise "$1" "$root/home/$1"
}

authorise() { # name, home
    mkdir -p "$2/.ssh"
    printf '%s\n' "$LAB_PUBKEY" > "$2/.ssh/authorized_keys"
    chmod 700 "$2/.ssh"
    chmod 600 "$2/.ssh/authorized_keys"
    in_root chown -R "$1:" "${2#"$root"}/.ssh"
}

# A flat repository of what tests install later: a lab host reaches nothing outside itself.
local_repository() {
    mkdir -p "$repo"
    in_root apt-get update -qq
    # shellcheck disable=SC2086
    in_root apt-get install -qq --no-install-recommends --download-only $LAB_REPOSITORY > /dev/null
    # Asked with an empty cache: apt names only what it would have to fetch.
    mkdir -p "$root/tmp/none/partial"
    # shellcheck disable=SC2086
    in_root apt-get install -qq --no-install-recommends --print-uris -o Dir::Cache::archives=/tmp/none $LAB_REPOSITORY |
        cut -d' ' -f2 | while read -r deb; do cp "$archives/$deb" "$repo/"; done
    for deb in "$repo"/*.deb; do
        in_root dpkg-deb --field "${deb#"$root"}"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
            "$(basename "$deb")" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
    done > "$root/tmp/Packages"
    # What the mirror says of the kernel that is there: a host whose package source has none of its kernel never gets a fix.
    # shellcheck disable=SC2046
    in_root apt-cache show --no-all-versions \
        $(in_root dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'linux-image-*' | sed -n 's/^ii *//p') \
        >> "$root/tmp/Packages"
    mv "$root/tmp/Packages" "$repo/Packages"
    rm -r "$root/tmp/none"
    chmod -R a+rX "$repo"
}

# Only the local repository from here on, so that `apt-get update` is offline and quick.
local_sources() {
    rm -rf "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/* "$root/etc/apt/apt.conf.d/99mmdebstrap"
    rm -rf "$root"/var/lib/apt/lists/*
    echo 'deb [trusted=yes] file:/var/lib/lab-apt ./' > "$root/etc/apt/sources.list"
    in_root apt-get update -qq
}

# An image without any registry: a static busybox and its links.
container_image() {
    tree=$root/tmp/tree
    mkdir -p "$tree/bin" "$tree/etc" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/root" "$tree/tmp" "$tree/www"
    in_root sh -c 'cd /tmp && apt-get download -qq busybox-static && dpkg-deb -x busybox-static_*.deb bb && rm busybox-static_*.deb'
    cp "$(find "$root/tmp/bb" -path '*bin/busybox' -type f)" "$tree/bin/busybox"
    for applet in $("$tree/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' > "$tree/etc/passwd"
    echo 'user:x:1000:1000:user:/tmp:/bin/sh' >> "$tree/etc/passwd"
    printf 'root:x:0:\nuser:x:1000:\n' > "$tree/etc/group"
    chmod 1777 "$tree/tmp"
    mkdir -p "$root/var/lib/lab"
    tar -C "$tree" --owner=0 --group=0 -cf "$root/var/lib/lab/busybox.tar" .
    rm -rf "$tree" "$root/tmp/bb"
}

network() {
    echo "$LAB_HOSTNAME" > "$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$LAB_HOSTNAME" > "$root/etc/hosts"
    # No resolver: where nothing outside can be reached, a lookup must fail at once and not hang.
    rm -f "$root/etc/resolv.conf"
    : > "$root/etc/resolv.conf"
    mkdir -p "$root/etc/systemd/network"
    # Matched by driver: a match by type would also take the containers' veth devices.
    cat > "$root/etc/systemd/network/10-lab.network" <<'CONF'
[Match]
Driver=virtio_net

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
IPv6AcceptRA=no
CONF
    in_root systemctl enable -q systemd-networkd.service
}

# What runs by itself on a timer costs minutes on an emulated processor and disturbs measurements.
quiet_services() {
    for unit in apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer e2scrub_reap.service \
        fstrim.timer dpkg-db-backup.timer; do
        in_root systemctl disable -q "$unit" 2> /dev/null || true
    done
    # The message of the day forks half a dozen programs at every login.
    chmod -x "$root"/etc/update-motd.d/* 2> /dev/null || true
}

# GRUB as grub-install would leave it; the host's own first boot replaces grub.cfg through update-grub.
bootloader() {
    mkdir -p "$root/boot/grub/i386-pc"
    cp "$root"/usr/lib/grub/i386-pc/*.mod "$root"/usr/lib/grub/i386-pc/*.lst "$root"/usr/lib/grub/i386-pc/boot.img \
        "$root/boot/grub/i386-pc/"
    in_root grub-mkimage -O i386-pc -p '(,msdos1)/boot/grub' -o /boot/grub/i386-pc/core.img biosdisk part_msdos ext2
    in_root grub-editenv /boot/grub/grubenv create
    cat > "$root/etc/default/grub" <<'CONF'
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
GRUB_TERMINAL=serial
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
CONF
    kernel=$(basename "$root"/boot/vmlinuz-*)
    version=${kernel#vmlinuz-}
    cat > "$root/boot/grub/grub.cfg" <<CONF
linux /boot/vmlinuz-$version root=UUID=$LAB_UUID ro console=tty0 console=ttyS0,115200
initrd /boot/initrd.img-$version
boot
CONF
    printf '%s\n' 'grub-pc grub-pc/install_devices_empty boolean false' \
        'grub-pc grub-pc/install_devices multiselect /dev/vda' | in_root debconf-set-selections
    echo "UUID=$LAB_UUID / ext4 errors=remount-ro 0 1" > "$root/etc/fstab"
}

accounts() {
    authorise root "$root/root"
    account ops
    account opspw
    account nobodyops
    in_root usermod -aG sudo -p "$(in_root perl -e 'print crypt("lab-only", q($6$lab$))')" opspw
    echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/ops"
    chmod 440 "$root/etc/sudoers.d/ops"
}

container_image
local_repository
local_sources
accounts
network
quiet_services
bootloader
