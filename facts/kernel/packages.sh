# shellcheck shell=sh
# Part of the section kernel of the survey: installed kernels, and those in the package lists.
run uname uname -rvm
run images ls /boot
if have dpkg-query; then
  rows=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}|${Architecture}|${Depends}\n' 'linux-image-*' 2>&1)
  run dpkg kept "$rows" "$?"
  if have apt-cache; then
    set -- /var/lib/apt/lists/*_Packages*
    names=$(printf '%s\n' "$rows" | sed -n 's/^.i [^|]*|\([^|]*\)|.*/\1/p; s/^.i|\([^|]*\)|.*/\1/p')
    [ -e "$1" ] && [ -n "$names" ] &&
      run apt sh -c 'apt-cache show --no-all-versions "$@" | grep -E "^(Package|Version|Depends):"' apt $names
  fi
elif have rpm; then
  run rpm rpm -q --qf '%{NAME}|%{VERSION}-%{RELEASE}|%{ARCH}|%{INSTALLTIME}\n' \
    kernel-core kernel-rt-core kernel-uek-core linux-firmware microcode_ctl glibc systemd dbus dbus-broker
  run btime grep '^btime' /proc/stat
  have dnf && run dnf dnf -C -q repoquery --qf '%{name}|%{version}-%{release}|%{arch}\n' --available kernel-core
  run locks grep -sHE 'kernel' /etc/dnf/plugins/versionlock.list /etc/dnf/versionlock.toml /etc/dnf/dnf.conf
fi
for f in /run/reboot-required /run/reboot-required.pkgs; do [ -e $f ] && show $f; done
