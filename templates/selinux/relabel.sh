# Labels every file of the host's own file systems while the kernel has no SELinux: what boots next finds its labels, so
# no second reboot is needed. Runs in a mount namespace of its own, where a bind mount shows what other mounts hide
# (mount points, /dev before it is filled). Given: TYPE, the policy's.
root=/run/hullproof-relabel
contexts=/etc/selinux/$TYPE/contexts/files/file_contexts
[ -r "$contexts" ] || { echo "$contexts is not there"; exit 1; }
# which the policy's package may just have brought; the first line that gives a mode counts
grep -Eio -m 1 '^SELINUX=[[:space:]]*(enforcing|permissive|disabled)' /etc/selinux/config | grep -qi 'permissive$' || { echo "/etc/selinux/config is not permissive: run again"; exit 1; }
mkdir -p $root && mount --bind / $root || exit 1
# what is written to a disk and can hold labels, containers' views of it left out
awk '$3 ~ /^(ext[234]|xfs|btrfs|f2fs)$/ && $4 ~ /(^|,)rw(,|$)/ && $2 != "/" && $2 !~ /^\/(run|proc|sys|dev)\// \
  && $2 !~ /\/(overlay2|containers|netns)\// { print $2 }' /proc/mounts | grep -v '\\' | while read -r place; do
  mount --bind "$place" "$root$place"
done
if ! said=$(setfiles -q -i -m -F -r $root "$contexts" $root 2>&1); then printf '%s\n' "$said" | tail -n 5; exit 1; fi
rm -f /.autorelabel
