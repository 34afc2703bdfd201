# Runs in a root that has dnf, rpm and GRUB's tools: makes of it what a RHEL host is to us, before a kernel update.
# Real: dnf, rpm, a repository with an advisory, GRUB's environment block. Stand-ins in /stand: uname, grub2-probe,
# lsinitrd and grubby, which nobody packages here; and only what is there is found, so no dpkg.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
old=503.el9 new=570.el9
mkdir -p /srv/repo /etc/yum.repos.d /etc/dnf/vars /stand /boot/grub2 /boot/loader/entries

for release in $old $new; do
  name=5.14.0-$release.x86_64
  cat >/srv/kernel.spec <<END
Name: kernel-core
Version: 5.14.0
Release: $release
Summary: A stand-in
License: none
BuildArch: x86_64
Provides: installonlypkg(kernel)
%description
A stand-in for a kernel.
%install
mkdir -p %{buildroot}/boot/loader/entries %{buildroot}/lib/modules/$name
echo kernel >%{buildroot}/boot/vmlinuz-$name
echo 'init -> usr/lib/systemd/systemd' >%{buildroot}/boot/initramfs-$name.img
echo modules >%{buildroot}/lib/modules/$name/modules.dep
printf 'title RHEL\nversion $name\nlinux /vmlinuz-$name\noptions root=/dev/vda1 ro\n' >%{buildroot}/boot/loader/entries/m-$name.conf
%files
/boot/*
/lib/modules/*
END
  rpmbuild -bb --define '_rpmdir /srv/repo' /srv/kernel.spec >/dev/null 2>&1
done
createrepo_c -q /srv/repo
cat >/srv/updateinfo.xml <<END
<?xml version="1.0" encoding="UTF-8"?>
<updates><update from="us" status="final" type="security" version="1"><id>RHSA-1</id><title>kernel</title>
<issued date="2026-01-01 00:00:00"/><severity>Important</severity><pkglist><collection short="k"><name>k</name>
<package name="kernel-core" version="5.14.0" release="$new" epoch="0" arch="x86_64">
<filename>kernel-core-5.14.0-$new.x86_64.rpm</filename></package></collection></pkglist></update></updates>
END
modifyrepo_c --mdtype=updateinfo /srv/updateinfo.xml /srv/repo/repodata >/dev/null
echo 9 >/etc/dnf/vars/releasever
printf '[own]\nname=own\nbaseurl=file:///srv/repo\nenabled=1\ngpgcheck=0\n' >/etc/yum.repos.d/own.repo
rpm -i --force-debian --nodeps /srv/repo/x86_64/kernel-core-5.14.0-$old.x86_64.rpm
printf '%s\n' 'set default="${saved_entry}"' blscfg >/boot/grub2/grub.cfg
grub-editenv /boot/grub2/grubenv create

for tool in sh bash cat sed awk grep sort head tail tr cut mkdir rm mv ls sync date sleep timeout basename dirname df du \
  stat id env base64 gzip dnf rpm findmnt; do
  ln -s "$(command -v $tool)" /stand/$tool
done
ln -s "$(command -v grub-editenv)" /stand/grub2-editenv
stand() { printf '#!/bin/sh\n%s\n' "$2" >/stand/"$1"; chmod +x /stand/"$1"; }
stand uname "[ \"\$1\" = -r ] && cat /srv/runs || echo \"\$(cat /srv/runs) #1 SMP x86_64\""
stand grub2-probe 'case $1 in *fs) echo ext2 ;; esac'
stand lsinitrd 'cat "$1"'
stand grubby 'echo "$*" >>/srv/grubby'
echo 5.14.0-$old.x86_64 >/srv/runs
