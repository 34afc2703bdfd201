# shellcheck shell=sh
# What each AppArmor profile of a list lets a process write of what confinement is there to keep from it, whatever the
# profile is called, as the kernel itself answers (security/apparmor/apparmorfs.c, query_label; of a stack it asks only what
# is of the host's namespace unless it is asked for all of it): a line `PATH PERMISSIONS PROFILE` for each that is loaded.
allowed() { # PROFILES, a line each
  printf '%s\n' "$1" | while read -r profile; do
    for path in /proc/sysrq-trigger /proc/sys/kernel/core_pattern; do
      { printf 'labelall\000%s\000\002%s' "$profile" "$path" >&3 && read -r says <&3 && echo "$path ${says#allow } $profile"; } 3<>/sys/kernel/security/apparmor/.access 2>/dev/null
    done
  done
}
