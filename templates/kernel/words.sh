# shellcheck shell=sh disable=SC2034,SC2069,SC2174 # variables that checks.sh reads; complaints alone; parents that exist
# Boot parameters that may keep a kernel from booting, or from loading modules: a single boot has them on trial, and they
# become permanent only if it passes its health check (hullproof). Follows trial.sh and checks.sh in one script.
#
#   try_words SECONDS GO_BACK WORD...   the next boot alone has them; GO_BACK is 1 where the host may reboot by itself
#   keep_words WORD...                  every boot has them
#   forget_words WORD...                no boot has them
#
# GRUB removes `hullproof_once` from its environment before it passes it to the kernel, so the boot after that one is
# without it in any case. `hullproof` has the permanent ones. Recovery entries have neither. With Boot Loader entries,
# an entry of its own has the parameters on trial, and GRUB boots that a single time.
#
# $W            a trial under way: `words`, `seconds`, `boot_id` of the boot before, `failed`: the check and its message
# $S/words-last how the last trial ended

W=$R/etc/hullproof/words
LEAD=$R/etc/grub.d/01_hullproof
REFERENCE=$R/etc/default/grub.d/97-hullproof-words.cfg
E=$R/boot/loader/entries
OWN=hullproof-words

lead() {
  cat <<'END'
#!/bin/sh
# Written by hullproof. A single boot has boot parameters on trial. To undo, remove this file and
# /etc/default/grub.d/97-hullproof-words.cfg, and run update-grub.
cat <<'MENU'
if [ "${hullproof_once}" ]; then
  hullproof_now="${hullproof_once}"
  hullproof_once=
  if save_env hullproof_once; then hullproof="${hullproof} ${hullproof_now}"; fi
fi
export hullproof
MENU
END
}

reference() {
  cat <<'END'
# Written by hullproof: what GRUB's environment has for the kernel, on all entries but those for recovery.
GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT "'$hullproof'
END
}

led() { [ "$(cat "$LEAD" 2>/dev/null)" = "$(lead)" ] && [ "$(cat "$REFERENCE" 2>/dev/null)" = "$(reference)" ] &&
  grep -q '^[[:space:]]*linux.*[$]hullproof\( \|$\)' "$G/grub.cfg"; }

lead_menu() { # has GRUB's menu take them from its environment
  ! led || return 0
  put "$LEAD" "$(lead)" && chmod 755 "$LEAD" && put "$REFERENCE" "$(reference)" && update-grub 2>&1 || return 1
  led || { echo "another file in /etc/default/grub.d sets GRUB_CMDLINE_LINUX_DEFAULT after ours"; return 1; }
}

value() { environment list 2>/dev/null | sed -n "s/^$1=//p"; }

set_value() { # NAME VALUE
  if [ -n "$2" ]; then environment set "$1=$2"; else environment unset "$1"; fi &&
    [ "$(value "$1")" = "$2" ] && sync "$G/grubenv"
}

without() { # WORDS WORD...: those of WORDS whose name none of the others has
  left=$1; shift
  for word in $left; do
    for other; do [ "${word%%=*}" != "${other%%=*}" ] || continue 2; done
    printf '%s ' "$word"
  done
}

try_words() {
  why=$(not_once); [ -z "$why" ] || die "$why"
  seconds=$1 back=$2; shift 2
  entry=$(entry_of "$(uname -r)"); [ -n "$entry" ] || die "GRUB's menu has no entry for the running kernel"
  now=" $(tr '\n' ' ' <"$R/proc/cmdline") "
  case $now in *" panic="*) panic= ;; *) panic=" panic=30" ;; esac # a panic reboots, into what there was before
  if bls; then keep && own_entry "$entry" "$*$panic"; else lead_menu; fi || exit 1
  rm -rf "$W" "$W.new"
  mkdir -p -m 700 "$W.new" && mkdir -p "$S" && note_words "$seconds" "$back" "$@" && sync "$W.new"/* && mv "$W.new" "$W" &&
    sync "$(dirname "$W")" || die "$W could not be written"
  if bls; then set_value next_entry "$OWN"; else set_value hullproof_once "$*$panic"; fi || {
    rm -rf "$W"; die "GRUB's environment could not be written"
  }
}

note_words() { # SECONDS GO_BACK WORD...
  cat "$R/proc/sys/kernel/random/boot_id" >"$W.new/boot_id" || return 1
  printf '%s\n' "$1" >"$W.new/seconds"; printf '%s\n' "$2" >"$W.new/back"; shift 2
  printf '%s\n' "$*" >"$W.new/words"
  [ -z "$(default_routes 4; default_routes 6)" ] || true >"$W.new/routed"
  [ -z "$(ports)" ] || true >"$W.new/reached"
  kept | grep -Ex "unit $ENGINE_UNITS" >"$W.new/engines" || :
}

own_entry() { # ENTRY WORDS: a copy of it that has them too
  put "$E/$OWN.conf" "$(sed -e "s/^title.*/& (boot parameters on trial)/" -e "s/^options.*/& $2/" "$E/$1.conf")"
}

keep_words() {
  if bls; then
    grubby --update-kernel=ALL --args="$*" && rm -f "$E/$OWN.conf" || return 1
    for rescue in "$R"/boot/vmlinuz-0-rescue-*; do
      [ ! -e "$rescue" ] || grubby --update-kernel="$rescue" --remove-args="$*" || return 1
    done
  else
    lead_menu && kept=$(value hullproof) && set_value hullproof "$(without "$kept" "$@")$*"
  fi || { echo "the boot parameters could not be made permanent"; return 1; }
}

forget_words() {
  rm -rf "$W"
  if bls; then
    [ "$(value next_entry)" != "$OWN" ] || set_value next_entry ''
    rm -f "$E/$OWN.conf"
    grubby --update-kernel=ALL --remove-args="$*"
    return
  fi
  [ ! -e "$G/grubenv" ] || {
    set_value hullproof_once '' || return 1
    left=$(without "$(value hullproof)" "$@")
    set_value hullproof "${left% }" || return 1
    [ -z "$left" ] || return 0
  }
  [ ! -e "$LEAD" ] && [ ! -e "$REFERENCE" ] || { rm -f "$LEAD" "$REFERENCE" && update-grub 2>&1; }
}

# --- After the reboot

words_gate() {
  [ "$(cat "$W/boot_id")" != "$(cat "$R/proc/sys/kernel/random/boot_id")" ] || return 0 # not rebooted yet
  T=$W CHECKS="disk docker engines modules way_in"
  words=$(cat "$W/words")
  if [ -e "$W/failed" ]; then
    read -r failing why <"$W/failed"
    await_disks && end_words refused "$failing" "$why; the host has rebooted without them"
  elif ! has_words; then
    await_disks || return 0 # the next boot looks again
    [ -z "$(value hullproof_once)" ] && [ "$(value next_entry)" != "$OWN" ] || return 0 # no boot by GRUB: still to come
    end_words returned boot "the boot that had them did not get as far as the checks (a panic, a root file system that cannot be mounted, a power failure), or another entry was chosen by hand"
  elif settled_in $(($(uptime) + $(cat "$W/seconds"))); then
    [ -d "$W" ] || return 0 # an undo has ended the trial
    if said=$(keep_words $words); then end_words kept; else end_words refused grub "$said"; fi
  elif [ -d "$W" ]; then
    refuse "$failing" "$why"
  fi
}

await_disks() { end=$(($(uptime) + BACK_SECONDS)); until mounted; do [ "$(uptime)" -lt "$end" ] || return 1; sleep "$PAUSE"; done; }

has_words() { for word in $words; do case " $(cat "$R/proc/cmdline") " in *" $word "*) ;; *) return 1 ;; esac; done; }

refuse() { # CHECK WHY: the next boot is without them in any case
  if [ "$(cat "$W/back")" != 1 ]; then ! mounted || end_words refused "$1" "$2; the next boot is without them"; return; fi
  put "$W/failed" "$1 $(one_line "$2")"
  sync
  systemctl reboot || systemctl reboot --force
}

one_line() { printf '%s' "$1" | tr '\n\t' '; ' | cut -c 1-500; }

end_words() { # RESULT CHECK WHY
  put "$S/words-last" "$(printf 'words=%s\nresult=%s\ngate=%s\nwhy=%s\nboot=%s\ntime=%s\n' "$words" "$1" "${2:-}" "$(one_line "${3:-}")" \
    "$(cat "$R/proc/sys/kernel/random/boot_id")" "$(date -u +%Y-%m-%dT%H:%M:%SZ)")" || return
  ! bls || rm -f "$E/$OWN.conf"
  rm -rf "$W" "$S/began"; sync "$S" "$(dirname "$W")"
}

# What such parameters can break, whatever else has changed on the host since.

check_docker() { # where a boot starts it
  case $(systemctl is-enabled docker.service 2>/dev/null) in enabled*) ;; *) return 0 ;; esac
  timeout 20 docker ps -q 2>&1 >/dev/null
}

check_engines() { # the services of those that ran, if a boot still starts them
  [ -e "$W/engines" ] || return 0
  while read -r _ unit; do
    ! wanted "$unit" || unit_gone "$unit"
  done <"$W/engines" | { ! grep . || return 1; }
}

check_modules() { # the kernel logs which it rejected, and why
  lost=$(dmesg 2>/dev/null | grep -E 'unsigned module loading is restricted|[Ll]oading of .*module.* is rejected' | sed 's/^\[[^]]*\] *//' | sort -u | head -n 3)
  [ -z "$lost" ] || { echo "the kernel rejected modules: $lost"; return 1; }
}

check_way_in() {
  [ ! -e "$W/reached" ] || [ -n "$(ports)" ] || { echo "sshd is not listening"; return 1; }
  [ -e "$W/routed" ] || return 0
  for device in $({ default_routes 4; default_routes 6; } | sed 's/.* on //'); do
    ! ip -o link show dev "$device" | grep -q LOWER_UP || return 0
  done
  echo "no default route has a device with a link"; return 1
}
