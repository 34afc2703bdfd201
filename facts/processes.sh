# shellcheck shell=sh disable=SC2154
# Of the processes in $pids (given by what stands before it): what the kernel holds each of them to. Files are read
# with few processes, whatever their number.
status='' label='' spaces='' mounts='' nodes='' groups=''
for p in $pids; do
  status="$status /proc/$p/status /proc/$p/uid_map"
  # A kernel that was built with AppArmor has the first one also where it runs with another, and says nothing there.
  label="$label /proc/$p/attr/apparmor/current /proc/$p/attr/current"
  spaces="$spaces /proc/$p/ns" mounts="$mounts /proc/$p/mountinfo" groups="$groups /proc/$p/cgroup"
  nodes="$nodes /proc/$p/root/dev"
done
# shellcheck disable=SC2086 # lists of paths without blanks
if [ -n "$pids" ]; then
  run processes.status grep -sHE '^(Name|PPid|NSpid|Seccomp|NoNewPrivs|Cap(Eff|Bnd|Amb)):|^ *[0-9]+ +[0-9]+ +[0-9]+$' $status
  run processes.label grep -saH '' $label
  run processes.spaces find /proc/1/ns $spaces -maxdepth 1 -type l -printf '%p %l\n'
  # A container's own root on an overlay tells nothing. Of each at most 400 rows: a user may mount without end.
  run host.mounts grep -sHE ' - ' /proc/1/mountinfo
  run processes.mounts grep -sHvE -m 400 '^[0-9]+ [0-9]+ [0-9]+:[0-9]+ / / [^ ]+ .*- overlay | - (devpts|mqueue|nsfs) ' $mounts /dev/null
  # By -type what rootless engines mount over a plain file would count as that file.
  run processes.nodes timeout -k 1 5 find $nodes -xdev -maxdepth 4 ! -type l '(' -xtype b -o -xtype c ')' -printf '%p %Y\n'
  run host.masked ls -d /proc/kcore /proc/keys /proc/timer_list /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger
  run processes.cgroup grep -sH '' $groups
fi

# The limits of a control group are also those of all groups above it: a line `FILE VALUE` for each.
limit() { # FILE
  value=
  if [ -r "$1" ]; then read -r value <"$1" || :; fi
  [ -z "$value" ] || printf '%s %s\n' "$1" "$value"
}
above() { # MOUNT PATH FILE...
  mount=$1 at=$2; shift 2
  while [ -n "$at" ] && [ "$at" != / ]; do
    for name do limit "$mount$at/$name"; done
    at=${at%/*}
  done
}
limits() {
  for p in $pids; do
    [ -r "/proc/$p/cgroup" ] || continue
    while IFS=: read -r _ kind at; do
      case $kind in
      '') above /sys/fs/cgroup "$at" memory.max pids.max cpu.max ;;
      memory) above /sys/fs/cgroup/memory "$at" memory.limit_in_bytes ;;
      pids) above /sys/fs/cgroup/pids "$at" pids.max ;;
      cpu,cpuacct | cpuacct,cpu | cpu) above /sys/fs/cgroup/cpu "$at" cpu.cfs_quota_us ;;
      esac
    done <"/proc/$p/cgroup"
  done
}
[ -z "$pids" ] || run processes.limits limits
