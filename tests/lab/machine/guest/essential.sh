# Runs once the essential packages are there and before the kernel and GRUB are installed. $1 is the new root.
set -eu
root=$1

# A small initramfs: an emulated processor unpacks it at every boot, and a kernel update writes it anew.
mkdir -p "$root/etc/initramfs-tools/conf.d"
cat > "$root/etc/initramfs-tools/conf.d/lab" <<'CONF'
MODULES=list
COMPRESS=zstd
COMPRESSLEVEL=1
CONF
printf '%s\n' virtio_pci virtio_blk ext4 crc32c_generic > "$root/etc/initramfs-tools/modules"

echo 'grub-pc grub-pc/install_devices_empty boolean true' | chroot "$root" debconf-set-selections
