# Writes the root ($1) to the disk image named by LAB_DISK: no loop device and no privilege beyond the build's own.
set -eu
truncate -s "$LAB_DISK_SIZE" "$LAB_DISK"
printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk -q "$LAB_DISK"
size=$(($(stat -c %s "$LAB_DISK") / 1024 - 1024))
plain=$(mktemp -d)
# The build keeps /proc, /sys and /dev mounted below the root: a plain bind mount shows the root without them.
# The features are those that GRUB 2.06 and every e2fsprogs of the last ten years know.
LAB_SIZE=$size unshare --mount sh -euc '
    mount --bind "$1" "$2"
    mke2fs -q -F -t ext4 -L root -U "$LAB_UUID" -d "$2" -E offset=1048576,lazy_itable_init=0 -O none,has_journal,ext_attr,\
resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum \
        "$LAB_DISK" "${LAB_SIZE}k"
' disk "$1" "$plain"
rmdir "$plain"
dd if="$1/boot/grub/i386-pc/boot.img" of="$LAB_DISK" bs=446 count=1 conv=notrunc status=none
dd if="$1/boot/grub/i386-pc/core.img" of="$LAB_DISK" bs=512 seek=1 conv=notrunc status=none
