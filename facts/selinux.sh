# shellcheck shell=sh
# The section selinux of the survey. Given: FS, the kernel's; LABEL, CONFIG, MODULES, POLICIES and BOOLEANS, files and
# folders; MODULE_NAMES, arguments of find; SAMPLE, files; OBSERVED and REVERTED, our marks.
show /proc/filesystems "$FS/enforce" "$FS/policyvers" "$LABEL" "$CONFIG" /proc/cmdline
set -f
# shellcheck disable=SC2086 # one argument per word
run modules find "$MODULES" -mindepth 5 -maxdepth 5 '(' $MODULE_NAMES ')'
set +f
run policies find "$POLICIES" -mindepth 3 -maxdepth 3 -path '*/policy/policy.*' -printf '%T@ %p\n'
run setfiles command -v setfiles
# shellcheck disable=SC2086 # one argument per file
run labels stat -c %C $SAMPLE
[ -d "$BOOLEANS" ] && run booleans grep -s . "$BOOLEANS"/container_* "$BOOLEANS"/virt_sandbox_*
[ -e "$OBSERVED" ] && show "$OBSERVED"
[ -e "$REVERTED" ] && show "$REVERTED"
podman() { own=$(grep -sHoE -m 1 'libpod(-conmon|_pod)?[-_][0-9a-f]{64}.*' /proc/[0-9]*/cgroup); printf '%s\n' "$own"
  # shellcheck disable=SC2046 # one argument per file
  [ -z "$own" ] || grep -saH '' $(printf '%s\n' "$own" | sed -n 's/cgroup:.*/attr\/current/p'); }
[ -d "$BOOLEANS" ] && have podman && run podman podman
[ -e /.autorelabel ] && run relabel true
:
