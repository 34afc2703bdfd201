# shellcheck shell=sh disable=SC2034
# The running containers of every engine, without starting any engine's client: a line `ENGINE USER PID ID BUNDLE` for
# each, USER 0 for root's own. What lies below /run/user belongs to users, who may put there whatever they like: only
# small plain files under names of the engines' own form are opened, for a bounded time, and no bundle is read.
pids='' rows='' names='' engines=''
row() { # ENGINE USER PID ID BUNDLE
  [ -d "/proc/$3" ] || return 0
  case "$pids " in *" $3 "*) ;; *) pids="$pids $3" ;; esac
  rows="$rows$*
"
}
engine() { if have "$2"; then engines="$engines $1"; fi; } # NAME PROGRAM
numbers() { grep -sHaom1 -E '^[0-9]{1,10}' "$@" /dev/null; } # FILE...: a line `FILE:NUMBER` for each
run uid id -u

of_users() {
  timeout 2 find /run/user -xdev -maxdepth 8 -type f -size -2 '(' -name pidfile -o -name conmon.pid -o -name init.pid ')' 2>/dev/null |
    grep -E '^/run/user/[0-9]+/(containers/[a-z0-9]+-containers/[0-9a-f]{64}/userdata/(pidfile|conmon\.pid)|docker/containerd/daemon/io\.containerd\.runtime\.v2\.task/moby/[0-9a-f]{64}/init\.pid)$' |
    head -n 2000
}
theirs=
files=$(of_users)
# shellcheck disable=SC2086 # paths of a known form
[ -z "$files" ] || theirs=$(timeout 2 grep -sHaom1 -E '^[0-9]{1,10}' $files /dev/null) || [ $? -lt 124 ] || run users.late false
