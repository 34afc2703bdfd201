# The journal's packages: installed at once. An undo removes what that added, and that alone; it purges nothing.

packages() {
  if command -v dpkg-query >/dev/null 2>&1; then dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p'
  else rpm -qa --qf '%{NAME}\n'; fi | sort -u
}

# needrestart(1) would restart daemons, Docker too, unasked: it lists them only.
apt() { DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q -y -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 "$@" 9>&-; }
apt_install() { apt --no-install-recommends --no-remove install "$@"; } # nothing that is there makes room for it

install_packages() { # ID JSON NAME...: what was added, dependencies too, is what an undo removes
  id=$1; json=$2; shift 2
  if ! why=$( { entry "$id" "$json" "" "" && packages >"$E.new/before" && printf '%s\n' "$@" | sort -u >"$E.new/asked" && seal; } 2>&1); then
    fail "$id" "the journal cannot be written: $why"; return 1
  fi
  if command -v apt-get >/dev/null 2>&1; then
    why=$( { apt_install "$@" || { half_done; apt update && apt_install "$@"; }; } 2>&1 </dev/null)
  else
    why=$(dnf -q -y --setopt=install_weak_deps=False install "$@" 2>&1 </dev/null 9>&-)
  fi
  status=$?
  new_packages "$@" >"$J/$id/packages.new" && mv -f -- "$J/$id/packages.new" "$J/$id/packages"
  if [ $status != 0 ]; then
    said=$(printf '%s\n' "$why" | grep -v '^$')
    give_up "$id" "could not install $*: $(printf '%s\n' "$said" | grep -A 1 'REMOVED:$' | tail -n 2) $(printf '%s\n' "$said" | tail -n 3)"
    return 1
  fi
  : >"$J/$id/done"; ok "$id"
}

# What is new and came with our own command. Others may install too while that waits for its turn: what theirs brought is
# theirs. apt names what it unpacks ($why); rpm notes the transaction, and ours is the one that brought what was asked for.
new_packages() { # NAME...
  packages | comm -13 "$J/$id/before" - >"$J/$id/new" || return 1
  if command -v dpkg-query >/dev/null 2>&1; then
    printf '%s\n' "$why" | sed -n 's/^Unpacking \([^ :]*\)[^ ]* ([^ ]*) \.\.\..*/\1/p'
  else
    ours=$(rpm -q --whatprovides --qf '^%{INSTALLTID} \n' "$@" 2>/dev/null)
    rpm -qa --qf '%{INSTALLTID} %{NAME}\n' | grep -e "${ours:-^ }" | sed 's/^[^ ]* //'
  fi | sort -u | comm -12 "$J/$id/new" -
}

half_done() { DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a 9>&-; } # apt refuses where power was lost midway

remove_packages() { # FILE with their names
  names=$(packages | comm -12 "$1" -)
  [ -n "$names" ] || return 0
  if command -v apt-get >/dev/null 2>&1; then
    would=$(apt -s remove $names 2>&1) || { half_done && would=$(apt -s remove $names 2>&1); } || { echo "$would"; return 1; }
    more=$(printf '%s\n' "$would" | sed -n -e 's/^Remv \([^ :]*\).*/\1/p' -e 's/^Inst \([^ :]*\).*/\1/p' | sort -u | comm -13 "$1" -)
  else
    more=$(rpm -e --test $names 2>&1)
  fi </dev/null
  if [ -n "$more" ]; then
    # shellcheck disable=SC2027 # unquoted: one name behind the other
    echo "the packages stay ("$names"): to remove them would touch what this run did not bring ("$more")"; return 1
  fi
  if command -v apt-get >/dev/null 2>&1; then apt remove $names
  else dnf -q -y --setopt=clean_requirements_on_remove=False remove $names; fi </dev/null 9>&-
}
