# Runs in a Debian root: makes of it what a Debian host is to us, before a kernel update that its security suite offers.
# Real: apt, dpkg, GRUB's environment block. Stand-ins: uname, grub-probe, update-grub, lsinitramfs; and the kernels,
# whose unpacking and configuration take long enough to be cut off.
set -eu
suite=bookworm-security
index=/srv/debs/dists/$suite/main/binary-amd64
mkdir -p $index /stand /boot/grub

package() { # NAME VERSION FIELD...: from the tree in /srv/tree
  mkdir -p /srv/tree/DEBIAN
  { printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody\nDescription: a stand-in\n' "$1" "$2"
    [ $# -lt 3 ] || printf '%s\n' "$3"; } >/srv/tree/DEBIAN/control
  dpkg-deb -Znone --root-owner-group --build /srv/tree "/srv/debs/$1_$2.deb" >/dev/null
  rm -r /srv/tree
}

kernel() { # RELEASE VERSION
  mkdir -p /srv/tree/boot /srv/tree/lib/modules/"$1" /srv/tree/DEBIAN
  echo kernel >/srv/tree/boot/vmlinuz-"$1"
  echo modules >/srv/tree/lib/modules/"$1"/modules.dep
  head -c 50000000 /dev/zero >/srv/tree/lib/modules/"$1"/all.ko
  printf '#!/bin/sh\n: >/srv/configures; sleep 1; echo init >/boot/initrd.img-%s; update-grub\n' "$1" >/srv/tree/DEBIAN/postinst
  chmod 755 /srv/tree/DEBIAN/postinst
  package linux-image-"$1" "$2"
  mkdir -p /srv/tree
  package linux-image-cloud-amd64 "$2" "Depends: linux-image-$1 (= $2)"
  mkdir -p /srv/tree/DEBIAN # their configuration has DKMS build, where there is something to build
  printf '#!/bin/sh\n[ ! -e /srv/dkms ] || install -D /srv/dkms /lib/modules/%s/updates/dkms/zfs.ko\n' "$1" >/srv/tree/DEBIAN/postinst
  chmod 755 /srv/tree/DEBIAN/postinst
  package linux-headers-"$1" "$2"
  mkdir -p /srv/tree
  package linux-headers-cloud-amd64 "$2" "Depends: linux-headers-$1 (= $2)"
}

stand() { printf '#!/bin/sh\n%s\n' "$2" >"${3:-/stand}/$1"; chmod +x "${3:-/stand}/$1"; }
stand uname '[ "$1" = -r ] && echo 6.1.0-50-cloud-amd64 || echo "6.1.0-50-cloud-amd64 #1 SMP Debian 6.1.176-1 x86_64"'
stand grub-probe 'case $1 in *fs) echo ext2 ;; esac'
stand lsinitramfs 'cat "$1"'
stand update-grub '{ echo "set default=\"\${saved_entry}\""; for f in /boot/vmlinuz-*; do r=${f#*vmlinuz-}
printf "menuentry x \$menuentry_id_option \"gnulinux-$r-advanced-d\" {\n linux $f ro panic=30\n}\n"; done; } >/boot/grub/grub.cfg' /usr/sbin # apt gives dpkg a PATH of its own
export PATH=/stand:$PATH

kernel 6.1.0-50-cloud-amd64 6.1.176-1
dpkg -i /srv/debs/*.deb >/dev/null 2>&1
mkdir /srv/old && mv /srv/debs/linux-image-cloud-amd64_*.deb /srv/debs/linux-headers-cloud-amd64_*.deb /srv/old && rm /srv/debs/*.deb
grub-editenv /boot/grub/grubenv create
kernel 6.1.0-56-cloud-amd64 6.1.192-2
for deb in /srv/debs/*.deb; do
  dpkg-deb -f "$deb"
  printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "${deb##*/}" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d ' ' -f 1)"
done >$index/Packages
rm -f /etc/apt/sources.list
echo "deb [trusted=yes] file:/srv/debs $suite main" >/etc/apt/sources.list.d/security.list
apt-get -qq update
