# shellcheck shell=sh disable=SC2154
# Of the processes in $pids (given by what stands before it): what the kernel holds each of them to. Files are read
# with few processes, whatever their number. $ours are those of root's engines, and $users has the
# /proc/PID/status of those of users'.
status='' label='' spaces='' mounts='' nodes='' groups='' theirs='' apart=''
for p in $pids; do
  status="$status /proc/$p/status /proc/$p/uid_map"
  # A kernel that was built with AppArmor has the first one also where it runs with another, and says nothing there.
  label="$label /proc/$p/attr/apparmor/current /proc/$p/attr/current"
  spaces="$spaces /proc/$p/ns" mounts="$mounts /proc/$p/mountinfo" groups="$groups /proc/$p/cgroup"
  case "${ours-} ${users-} " in
    *" $p "*) nodes="$nodes /proc/$p/root/dev" ;;
    *" /proc/$p/status "*) theirs="$theirs /proc/$p/root/dev" apart="$apart $p" ;;
    *) nodes="$nodes /proc/$p/root/dev" ;;
  esac
done
nodes_in() { # BLOCK FOLDER...: a user may mount there what never answers
  block=$1 && shift
  run "$block" timeout -k 1 5 find "$@" -xdev -maxdepth 4 ! -type l '(' -xtype b -o -xtype c ')' -printf '%p %Y\n'
}
# shellcheck disable=SC2086 # lists of paths without blanks
if [ -n "$pids" ]; then
  run processes.status grep -sHE '^(Name|PPid|NSpid|Seccomp|NoNewPrivs|Cap(Eff|Bnd|Amb)):|^ *[0-9]+ +[0-9]+ +[0-9]+$' $status
  labels=$(grep -saH '' $label)
  run processes.label kept "$labels" 0
  # A stack of profiles of which some only name a program, as Podman's on Debian, is `mixed`: each is asked for alone.
  case $labels in *' (mixed)'*) run processes.modes cat /sys/kernel/security/apparmor/profiles ;; esac
  run processes.allowed allowed "$(printf '%s\n' "$labels" | sed -nE 's/^[^:]*:(.*) \((enforce|kill)\)$/\1/p;t;s/^[^:]*:(.*) \(mixed\)$/\1/;T;s|//&|\n|g;p' | sort -u)"
  run processes.spaces find /proc/1/ns $spaces -maxdepth 1 -type l -printf '%p %l\n'
  # A container's own root on an overlay tells nothing, nor does where its terminals are; one that is mounted as a device
  # node does. Of each at most 400 rows: a user may mount without end.
  run host.mounts grep -sHE ' - ' /proc/1/mountinfo
  run processes.mounts grep -sHvE -m 400 '^[0-9]+ [0-9]+ [0-9]+:[0-9]+ / (/ [^ ]+ .*- overlay|.* - devpts) | - (mqueue|nsfs) ' $mounts /dev/null
  # By -type what rootless engines mount over a plain file would count as that file.
  [ -z "$nodes" ] || nodes_in processes.nodes $nodes
  [ -z "$theirs" ] || { run processes.users kept "$apart" 0; nodes_in processes.nodes.users $theirs; }
  run host.masked ls -d /proc/kcore /proc/keys /proc/timer_list /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger
  cgroups=$(grep -sH '' $groups)
  run processes.cgroup kept "$cgroups" 0
fi

# The limits of a control group are also those of all groups above it: a line `FILE VALUE` for each that there is.
limits() {
  printf '%s\n' "$cgroups" | awk -F : '
    function above(mount, at, names,   count, number, name, file, value) {
      for (count = split(names, name, " "); at != "" && at != "/" && !((mount, at) in seen); sub(/\/[^\/]*$/, "", at)) {
        seen[mount, at] = 1
        for (number = 1; number <= count; number++) {
          file = mount at "/" name[number]
          if ((getline value < file) > 0 && value !~ /^max/) print file " " value
          close(file)
        }
      }
    }
    { at = substr($0, length($1 $2 $3) + 4) }
    $3 == "" { above("/sys/fs/cgroup", at, "memory.max pids.max cpu.max") }
    $3 == "memory" { above("/sys/fs/cgroup/memory", at, "memory.limit_in_bytes") }
    $3 == "pids" { above("/sys/fs/cgroup/pids", at, "pids.max") }
    $3 == "cpu" || $3 == "cpu,cpuacct" || $3 == "cpuacct,cpu" { above("/sys/fs/cgroup/cpu", at, "cpu.cfs_quota_us") }'
}
[ -z "$pids" ] || run processes.limits limits
