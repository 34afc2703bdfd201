# shellcheck shell=sh disable=SC2046 # words wanted as such
# Kernel packages: installs the newest, and removes old ones. Follows trial.sh in one script.

export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=l # whose hook would restart services where it is set to
apt() { apt-get -q -y -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@"; }

refresh() { # the package lists; one that cannot be refreshed does not tell what is on offer now
  if command -v apt-get >/dev/null 2>&1; then # 0 where a mirror is out of reach; older apts do not know the option
    said=$(apt -o APT::Update::Error-Mode=any update 2>&1) && ! printf '%s\n' "$said" | grep -Eq '^[WE]: (Failed to fetch|Some index files)'
  else # a repository may be set to be left out quietly
    said=$(dnf -q --refresh --setopt='*.skip_if_unavailable=0' makecache 2>&1)
  fi || {
    why=$(printf '%s\n' "$said" | grep -E 'Failed to (fetch|download)|^E(rror)?:' | head -n 1)
    why=${why:-$(printf '%s\n' "$said" | tail -n 1)}
    put "$S/unrefreshed" "$(date -u +%Y-%m-%d): $why"
    die "the package lists could not be refreshed: $why"
  }
  rm -f "$S/unrefreshed"; : >"$S/lists"
}

upgrade() { # SECURITY PACKAGE...: SECURITY is 1 where the policy wants fixes alone (apt: the controller has seen to that)
  security=$1; shift
  mkdir -p "$S"
  if command -v apt-get >/dev/null 2>&1; then
    cut=$(dpkg --audit) # what was cut off midway is brought to its end first
    [ -z "$cut" ] || dpkg --force-confold --configure -a || exit 1
    refresh
    [ -z "$cut" ] || finish_cut || die "an interrupted installation could not be finished"
    set -- $(with_headers "$@")
    plan=$(apt -s --only-upgrade install "$@") || die "apt cannot install the newest kernel: $plan"
    if printf '%s\n' "$plan" | grep -Eq '^Inst linux-(image|headers)-'; then # the image, or what asks for it where that is there already
      room
      apt --only-upgrade install "$@" || die "the kernel could not be installed"
    elif [ -z "$cut" ]; then
      echo "no newer kernel is on offer"; return 0
    fi
  else
    refresh
    room
    dnf -q -y $([ "$security" != 1 ] || echo --security) upgrade "$@" || die "the kernel could not be installed"
  fi
  bootable
}

with_headers() { # PACKAGE...: and their headers where they are installed, for which DKMS builds modules
  for package; do
    headers=${package#linux-image-}; headers=linux-headers-${headers#unsigned-}
    case $(dpkg-query -W -f '${db:Status-Want} ${db:Status-Status}' "$headers" 2>/dev/null) in
      'install installed') echo "$package $headers" ;;
      *) echo "$package" ;;
    esac
  done
}

finish_cut() { # --fix-broken does not finish packages that were interrupted while they were unpacked
  again=$(dpkg-query -W -f '${db:Status-Eflag} ${Package}\n' | sed -n 's/^reinstreq //p')
  { [ -z "$again" ] || apt --reinstall install $again; } && apt --fix-broken install
}

room() { # is there space for what the running kernel takes, and a bit more
  now=$(uname -r)
  for place in "$R/boot $R/boot/*-$now*" "$R/lib/modules $R/lib/modules/$now"; do
    need=$(($(du -skc ${place#* } | tail -n 1 | cut -f 1) * 6 / 5 + 8192))
    free=$(df -Pk "${place%% *}" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$need" ] || die "${place%% *} has $((free / 1024)) MB free, and a kernel needs $((need / 1024)) MB there: nothing was installed"
  done
}

bootable() { # the new kernel can be booted; if not, the next boot must not take it
  set -- $(newest)
  why=$(check_image "$1" && check_built "$1") || {
    back=$(uname -r)
    [ "$1" != "$back" ] || back=$(kernels | grep -Fv "$1 " | sort -V | tail -n 1 | cut -d ' ' -f 1) # its own files were replaced
    choose "$back" >/dev/null 2>&1 && default="$back is GRUB's default" || default="it may be GRUB's default"
    die "$1 was installed but cannot be booted: $why; $default"
  }
  [ ! -e "$G/grub.cfg" ] || [ -n "$(entry_of "$1")" ] || die "$1 was installed, but GRUB's menu has no entry for it"
  put "$S/upgraded" "$(uname -r)"
}

built() { # RELEASE: the modules that DKMS has built for it
  for file in "$R/lib/modules/$1"/updates/dkms/*.ko* "$R/lib/modules/$1"/extra/*.ko* "$R/lib/modules/$1"/weak-updates/*.ko*; do
    [ ! -e "$file" ] || { file=${file##*/}; echo "${file%%.ko*}"; }
  done
}

check_built() { # RELEASE: whether it has what DKMS has built for the kernel that runs
  new=$(built "$1")
  gone=$(built "$(uname -r)" | grep -Fvx -e "$new" | tr '\n' ' ')
  [ -z "$gone" ] || { echo "it lacks the modules that DKMS built for $(uname -r): ${gone% }"; return 1; }
}

with_built() { # before the newest kernel is booted, whoever installed it
  set -- $(newest)
  why=$(check_built "$1") || die "not rebooted: $1: $why"
}

prune() { # KEEP RELEASE...: while more than KEEP are installed
  keep=$1; shift
  for release; do
    [ "$(kernels | grep -c .)" -gt "$keep" ] || { echo "no more than $keep kernels are installed: $release stays"; return 0; }
    [ "$release" != "$(uname -r)" ] || die "$release is running: it was not removed"
    entry=$(entry_of "$release")
    [ -z "$entry" ] || ! environment list 2>/dev/null | grep -Fqx "saved_entry=$entry" || die "$release is GRUB's default: it was not removed"
    if command -v apt-get >/dev/null 2>&1; then
      there=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "linux-*-$release" | sed -n 's/^installed //p')
      [ -n "$there" ] || continue # it is gone already
      held=$(apt-mark showhold $there) || die "it is not known whether $release is held: it was not removed"
      [ -z "$held" ] || { echo "$held is held: $release stays"; continue; } # its headers may be
      apt purge $there
    else
      dnf -q -y remove $(rpm -qa 'kernel*' | grep -F -- "-$release")
    fi || die "$release could not be removed"
  done
}
