# shellcheck shell=sh disable=SC2046 # what newest prints is two words
# Boots a new kernel on trial, with a way back to the one that runs (hullproof). POSIX sh, as root.
#
#   keep               makes the running kernel GRUB's default, so that GRUB boots any other a single time only
#   arm                records what runs here, has GRUB boot the newest installed kernel a single time, and reboots
#   gate               the boot health check: confirms the kernel on trial, or goes back to the one before; then that
#                      of the boot parameters on trial (words.sh)
#   settled BOOT_ID    prints how the trial that was armed in that boot ended
#   restore RELEASE    makes that kernel the default again, and ends a trial; `prefer`: even if newer ones are installed
#
# $T           a trial under way, and the state of the host before; on the root file system, which is always mounted.
#              `armed`: GRUB's environment is set; `began`: the health check runs under the new kernel; `failed`: the
#              check that failed, and its message
# $S/last      how the last trial ended      $S/rejected   "RELEASE VERSION" of kernels that failed their health check

R=${HULLPROOF_ROOT:-} # another root for tests
S=$R/var/lib/hullproof/boot
T=$R/etc/hullproof/trial
# By its tools, since the health check starts before /boot is mounted.
if command -v grub2-editenv >/dev/null 2>&1; then P=grub2; else P=grub; fi
G=$R/boot/$P
DROP_IN=$R/etc/default/grub.d/98-hullproof-boot.cfg
PAUSE=3
BACK_SECONDS=600 # how long to wait for containers under a kernel that is known to be good

die() { echo "$*"; exit 1; }
bls() { [ -n "$(ls "$R"/boot/loader/entries/*.conf 2>/dev/null)" ] && grep -q blscfg "$G/grub.cfg"; }
environment() { "$P-editenv" "$G/grubenv" "$@"; }
put() { mkdir -p "$(dirname "$1")" && printf '%s\n' "$2" >"$1.new" && sync "$1.new" && mv -f "$1.new" "$1" && sync "$(dirname "$1")"; }

# --- What is installed

kind() { printf '%s\n' "$1" | sed -n 's/^[^-]*\(-[^a-z][^-]*\)*-\([a-z].*\)$/\2/p'; } # cloud-amd64 of 6.1.0-50-cloud-amd64

kernels() { # "RELEASE VERSION" of each installed kernel of the running one's kind
  if command -v dpkg-query >/dev/null 2>&1; then
    dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' 'linux-image-*' 2>/dev/null | while read -r state package version; do
      release=${package#linux-image-}; release=${release#unsigned-}
      case $state/$release in installed/[0-9]*-dbg | installed/[0-9]*-unsigned) ;; installed/[0-9]*)
        [ "$(kind "$release")" != "$(kind "$(uname -r)")" ] || echo "$release $version" ;;
      esac
    done
  else
    rpm -q --qf '%{VERSION}-%{RELEASE}.%{ARCH} %{VERSION}-%{RELEASE}\n' kernel-core | grep '^[0-9]'
  fi
}

newest() {
  if command -v dpkg-query >/dev/null 2>&1; then
    kernels | { best=; while read -r release version; do
      if [ -z "$best" ] || dpkg --compare-versions "$version" gt "${best#* }"; then best="$release $version"; fi
    done; echo "$best"; }
  else
    kernels | sort -V | tail -n 1
  fi
}

check_image() { # RELEASE: whether its image, modules and initial RAM disk exist and can be read
  [ -s "$R/boot/vmlinuz-$1" ] || { echo "/boot/vmlinuz-$1 does not exist"; return 1; }
  [ -s "$R/lib/modules/$1/modules.dep" ] || { echo "/lib/modules/$1 is incomplete"; return 1; }
  disk=$R/boot/initrd.img-$1
  [ ! -e "$R/boot/initramfs-$1.img" ] || disk=$R/boot/initramfs-$1.img
  [ -s "$disk" ] || { echo "$disk does not exist"; return 1; }
  if command -v lsinitramfs >/dev/null 2>&1; then list=lsinitramfs; else list=lsinitrd; fi
  if ! said=$("$list" "$disk" 2>&1) || ! printf '%s\n' "$said" | grep -Eq '(^|^\./| )init($| -> )'; then
    echo "$disk cannot be read, or has no init: $(printf '%s\n' "$said" | tail -n 1)"; return 1
  fi
}

# --- GRUB

entry_of() { # RELEASE: its entry's id, SUBMENU>ENTRY; never an entry that boots whatever is newest
  if bls; then
    file=$(grep -lE "^linux[[:space:]]+.*vmlinuz-$1\$" "$R"/boot/loader/entries/*.conf | grep -v "/$OWN.conf\$" | head -n 1)
    [ -z "$file" ] || basename "$file" .conf
    return 0
  fi
  awk -v image="vmlinuz-$1" -v release="$1" '
    function id(line) { sub(/.*\$menuentry_id_option ./, "", line); sub(/[^-_.+:A-Za-z0-9].*/, "", line); return line }
    /^submenu / { inside = id($0) ">" }
    /^}/ { inside = "" }
    /^[ \t]*menuentry / { entry = id($0) }
    /^[ \t]*linux(16|efi)?[ \t]/ {
      path = $2; sub(/.*\//, "", path)
      if (path == image && index(entry, release) && entry !~ /recovery/) { print inside entry; exit }
    }' "$G/grub.cfg"
}

command_line() { # RELEASE: the kernel parameters of its entry
  if bls; then
    sed -n 's/^options[[:space:]]*//p' "$R/boot/loader/entries/$(entry_of "$1").conf"
    environment list | sed -n 's/^kernelopts=//p'
  else
    sed -n "s/^[[:space:]]*linux[a-z0-9]*[[:space:]].*vmlinuz-$1[[:space:]]//p" "$G/grub.cfg" | head -n 1
  fi
}

not_once() { # prints why GRUB could not boot an entry a single time; nothing where it can
  [ -e "$G/grub.cfg" ] || { echo "this host has no GRUB menu"; return 0; }
  [ -e "$G/grubenv" ] || { echo "this host has no GRUB environment file"; return 0; }
  on=$("$P-probe" --target=abstraction "$G/grubenv" 2>&1) || { echo "$P-probe: $on"; return 0; }
  [ -z "$on" ] || { echo "GRUB cannot write its environment on $on, so it would boot the new kernel every time"; return 0; }
  on=$("$P-probe" --target=fs "$G/grubenv" 2>&1)
  case $on in ext2 | xfs | fat) ;; *) echo "GRUB cannot write its environment on $on" ;; esac
}

set_default() { # RELEASE
  entry=$(entry_of "$1")
  [ -n "$entry" ] || { echo "GRUB's menu has no entry for $1"; return 1; }
  environment set "saved_entry=$entry" && environment list | grep -Fqx "saved_entry=$entry" && sync "$G/grubenv"
}

keep() {
  why=$(not_once); [ -z "$why" ] || die "$why"
  choose "$(uname -r)" || exit 1
  ! bls || leave_panics ALL || exit 1
}

choose() { # RELEASE: make it GRUB's default, even if newer ones are installed
  set_default "$1" || return 1 # before the menu follows it
  ! bls && ! chosen || return 0
  put "$DROP_IN" "$(drop_in)" && update-grub 2>&1 || return 1
  grep -q 'set default="${saved_entry}"' "$G/grub.cfg" || { echo "another file in /etc/default/grub.d sets GRUB_DEFAULT later than hullproof's"; return 1; }
  set_default "$1"
}

chosen() { [ "$(cat "$DROP_IN" 2>/dev/null)" = "$(drop_in)" ] && [ "$G/grub.cfg" -nt "$DROP_IN" ] && grep -q 'set default="${saved_entry}"' "$G/grub.cfg"; }

leave_panics() { # KERNEL, or ALL: the words, which DROP_IN has too, that its Boot Loader entry lacks
  if [ ! -e "$S/words" ]; then
    there=" $(command_line "$(uname -r)" | tr '\n' ' ') "
    put "$S/words" "$(for word in panic=30 rd.shell=0 rd.emergency=reboot; do
      case $there in *" ${word%%=*}="*) ;; *) printf '%s ' "$word" ;; esac
    done)"
  fi
  ! grep -q . "$S/words" || grubby --update-kernel="$1" --args="$(cat "$S/words")"
}

drop_in() {
  cat <<'END'
# Written by hullproof. The default is the last kernel that passed its boot health check, and GRUB boots a new one on
# trial, a single time. After a panic the host boots the default again.
GRUB_DEFAULT=saved
GRUB_SAVEDEFAULT=false
case " $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT " in
*" panic="*) ;;
*) GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX panic=30" ;;
esac
END
}

restore() { # RELEASE
  rm -rf "$T"
  [ ! -e "$G/grubenv" ] || environment unset next_entry
  set -- "$1" $(newest)
  if [ "$1" = "$2" ] && [ -e "$DROP_IN" ]; then # the newest is the default by itself
    rm -f "$DROP_IN" && environment unset saved_entry && update-grub 2>&1
  elif bls || [ -e "$DROP_IN" ]; then
    set_default "$1" || return 1
    if [ "$1" = "$2" ] && grep -qs . "$S/words"; then
      grubby --update-kernel=ALL --remove-args="$(cat "$S/words")" && rm -f "$S/words"
    fi
  fi
}

prefer() { # RELEASE: make it the default again, although a newer one was installed while it ran, and stays
  grep -Fqsx "$1" "$S/upgraded" || return 0 # nothing was installed
  rm -f "$S/upgraded"
  choose "$1" && restore "$1"
}

# --- Before the reboot

arm() { # SECONDS UNTIL RETRY BEFORE AFTER: UNTIL is the last moment (epoch; 0: any), the last two are commands
  set -- "$@" $(newest)
  new=$6; now=$(uname -r)
  if [ "$new" = "$now" ]; then echo "not rebooted: the newest installed kernel is running already"; exit 0; fi
  [ "$2" = 0 ] || [ "$(date +%s)" -lt "$2" ] || die "not rebooted: the maintenance window is over"
  if [ "$3" != 1 ] && grep -Fqsx "$new $7" "$S/rejected"; then die "not rebooted: $new $7 failed its boot health check before"; fi
  why=$(not_once); [ -z "$why" ] || die "not rebooted: $why"
  why=$(check_image "$new") || die "not rebooted: $why"
  entry=$(entry_of "$new"); [ -n "$entry" ] || die "not rebooted: GRUB's menu has no entry for $new"
  ! bls || leave_panics "$R/boot/vmlinuz-$new" || die "not rebooted: grubby could not set panic= for $new"
  panics=$(command_line "$new" | tr ' ' '\n' | sed -n 's/^panic=//p' | tail -n 1)
  [ "${panics:-0}" != 0 ] || die "not rebooted: the host would not reboot after a panic of $new (panic=${panics:-0} on its command line)"
  environment list | grep -Fqx "saved_entry=$(entry_of "$now")" || die "not rebooted: $now is not GRUB's default"
  [ -e "$R/etc/systemd/system/sysinit.target.wants/hullproof-boot-gate.service" ] || die "not rebooted: the boot health check (hullproof-boot-gate.service) is not enabled"
  why=$(note "$@") || die "not rebooted: the state of the host could not be recorded${why:+: $why}"
  said=$(timeout 900 sh -c "$4" 2>&1 </dev/null) || stay "$5" "the command before the reboot (kernel.drain.before) failed: $said"
  rm -rf "$T" && mv "$T.new" "$T" && sync "$(dirname "$T")" || stay "$5" "$T could not be written"
  environment set "next_entry=$entry" && environment list | grep -Fqx "next_entry=$entry" && sync "$G/grubenv" ||
    stay "$5" "GRUB's environment could not be set to boot $new"
  true >"$T/armed"; sync "$T"
  systemd-run -q --on-active=3 --timer-property=AccuracySec=100ms systemctl reboot || stay "$5" "systemd could not schedule the reboot"
}

stay() { # AFTER WHY: undo what was prepared for a reboot
  rm -rf "$T" "$T.new"; environment unset next_entry
  timeout 300 sh -c "$1" >/dev/null 2>&1 </dev/null
  die "not rebooted: $2"
}

# --- After the reboot

uptime() { cut -d. -f1 "$R/proc/uptime"; }

mounted() { [ -d "$S" ] && [ -e "$G/grubenv" ]; }

gate() {
  [ ! -d "$T" ] || kernel_gate
  [ -d "$T" ] || [ ! -d "$W" ] || words_gate # a kernel that is not settled is left by a reboot
}

kernel_gate() {
  [ "$(cat "$T/boot_id")" != "$(cat "$R/proc/sys/kernel/random/boot_id")" ] || return 0 # not rebooted yet
  if [ "$(uname -r)" != "$(cat "$T/release")" ]; then
    returned
  elif [ -e "$T/failed" ]; then
    read -r failing why <"$T/failed"
    remain "$failing" "$why; the host rebooted to go back, but GRUB booted the same kernel again"
  else
    try
  fi
}

try() {
  rm -f "$T"/started.* "$T/spans"; old=$(cat "$T/old")
  settled_in $(($(uptime) + $(cat "$T/seconds"))) || { go_back "$failing" "$why"; return; }
  set_default "$(uname -r)" || { go_back default "GRUB's default could not be set"; return; }
  [ -d "$T" ] || { set_default "$old"; return; } # an undo has ended the trial
  [ ! -e "$S/rejected" ] || put "$S/rejected" "$(grep -Fvx "$(cat "$T/release") $(cat "$T/version")" "$S/rejected")"
  finish confirmed
}

go_back() { # CHECK WHY. Staying with the new kernel is better than rebooting forever.
  [ -d "$T" ] || return 0 # an undo has ended the trial
  set_default "$old"; environment unset next_entry
  if booted_again; then remain "$1" "$2; a reboot would boot the same kernel again"; return; fi
  put "$T/failed" "$1 $(one_line "$2")"
  [ ! -d "$W" ] || put "$W/failed" "kernel the kernel that was on trial in the same boot failed its health check ($1)"
  sync
  systemctl reboot || systemctl reboot --force
}

booted_again() { # whether GRUB would boot the new kernel again; if /boot is not mounted, arm has made sure that it would not
  [ -e "$G/grubenv" ] || return 1
  environment list | grep -q '^next_entry=.' || ! environment list | grep -Fqx "saved_entry=$(entry_of "$old")"
}

remain() { # CHECK WHY
  ! mounted || { reject; finish remained "$1" "$2"; }
}

reject() {
  grep -Fqsx "$(cat "$T/release") $(cat "$T/version")" "$S/rejected" ||
    put "$S/rejected" "$(cat "$S/rejected" 2>/dev/null; echo "$(cat "$T/release") $(cat "$T/version")")"
}

returned() { # under another kernel than the one on trial: record why; never reboot
  end=$(($(uptime) + BACK_SECONDS))
  until mounted; do [ "$(uptime)" -lt "$end" ] || return 0; sleep "$PAUSE"; done # the next boot looks again
  if environment list | grep -q '^next_entry=.'; then
    environment unset next_entry
    finish not-tried grub "GRUB did not boot it; maybe another entry was chosen by hand"
    return
  fi
  if [ ! -e "$T/armed" ]; then
    finish not-tried before "the host went down before GRUB was set to boot it"
    return
  fi
  reject
  rm -f "$T"/started.* "$T/spans"
  while { ! check_engine || ! check_containers; } >/dev/null 2>&1 && [ "$(uptime)" -lt "$end" ]; do sleep "$PAUSE"; done
  if [ -e "$T/failed" ]; then
    read -r check why <"$T/failed"
    finish returned "$check" "$why"
  elif [ -e "$T/began" ]; then
    finish returned crash "the host went down before all checks had passed: a crash or a power failure"
  else
    why="a panic, a broken initial RAM disk, a root file system that cannot be written, or a power failure"
    finish returned boot "the boot did not get as far as the checks: $why"
  fi
}

settled() { # BOOT_ID: how the trial that was armed in that boot ended; nothing while it is under way
  [ ! -d "$T" ] || return 0
  if ! grep -Fqsx "boot_id=$1" "$S/last"; then echo "ok not rebooted: no newer kernel is installed"; return 0; fi
  said() { sed -n "s/^$1=//p" "$S/last"; }
  case $(said result) in
    confirmed) echo "ok $(said release) $(said version) is running, and passed its boot health check$(said why)" ;;
    remained) echo "fail $(said release) $(said version) failed its boot health check ($(said gate): $(said why)), and is still running" ;;
    *) echo "fail $(said release) $(said version) failed its boot health check ($(said gate): $(said why)); the host runs $(uname -r)" ;;
  esac
}

finish() { # RESULT CHECK WHY
  said=$(timeout 300 sh -c "$(cat "$T/after")" 2>&1 </dev/null) || after="the command after the reboot (kernel.drain.after) failed: $said"
  put "$S/last" "$(for key in boot_id release version old; do echo "$key=$(cat "$T/$key")"; done
    printf 'result=%s\ngate=%s\nwhy=%s\ntime=%s\n' "$1" "${2:-}" "$(printf '%s' "${3:-}${after:+; $after}" | tr '\n\t' '; ')" "$(date -u +%Y-%m-%dT%H:%M:%SZ)")" || return
  rm -rf "$T" "$S/began"; sync "$S" "$(dirname "$T")"
}
