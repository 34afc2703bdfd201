# shellcheck shell=sh
# Labels every file of the host's own file systems before the kernel runs SELinux, so that one reboot is enough. Runs in
# a mount namespace of its own, where a bind mount shows what other mounts hide (mount points, the /dev on disk).
# Given: TYPE, the policy's.
root=/run/hullproof-relabel
contexts=/etc/selinux/$TYPE/contexts/files/file_contexts
[ -r "$contexts" ] || { echo "$contexts does not exist"; exit 1; }
# the policy's package may just have installed it; the first line with a mode counts
grep -Eio -m 1 '^SELINUX=[[:space:]]*(enforcing|permissive|disabled)' /etc/selinux/config | grep -qi 'permissive$' || { echo "/etc/selinux/config does not say permissive: run harden again"; exit 1; }
mkdir -p $root && mount --bind / $root || exit 1
# writable file systems on disks that can hold labels, without those of containers
awk '$3 ~ /^(ext[234]|xfs|btrfs|f2fs)$/ && $4 ~ /(^|,)rw(,|$)/ && $2 != "/" && $2 !~ /^\/(run|proc|sys|dev)\// \
  && $2 !~ /\/(overlay2|containers|netns)\// { print $2 }' /proc/mounts | grep -v '\\' | while read -r place; do
  mount --bind "$place" "$root$place"
done
if ! said=$(setfiles -q -i -m -F -r $root "$contexts" $root 2>&1); then printf '%s\n' "$said" | tail -n 5; exit 1; fi
rm -f /.autorelabel
