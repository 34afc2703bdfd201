# shellcheck shell=sh disable=SC2034
# The running containers of every engine, without starting any engine's client: a line `ENGINE USER PID ID BUNDLE` for
# each, USER 0 for root's own. What lies below /run/user belongs to users, who may put there whatever they like: only
# small plain files under names of the engines' own form are opened, for a bounded time.
pids='' ours='' rows='' names='' engines='' users='' firsts=''
row() { # ENGINE USER PID ID BUNDLE
  [ -d "/proc/$3" ] || return 0
  case "$pids " in *" $3 "*) ;; *) pids="$pids $3" ;; esac
  case $1-$2 in --0) ;; *-0) ours="$ours $3" ;; *) users="$users /proc/$3/status" ;; esac
  rows="$rows$*
"
}
engine() { # NAME PROGRAM...: it is there if one of these is
  is=$1 && shift
  for program; do if have "$program"; then engines="$engines $is" && break; fi; done
}
numbers() { grep -sHaom1 -E '^[0-9]{1,10}' "$@" /dev/null; } # FILE...: a line `FILE:NUMBER` for each
run uid id -u

of_users() { # the last line is `end` where find came to its end, and nothing was left off
  {
    timeout 2 find /run/user/[0-9]* -xdev -maxdepth 7 -type f -size -2 ! -path '*[[:cntrl:]]*' '(' -name pidfile -o -name conmon.pid -o -name init.pid ')' 2>/dev/null
    [ $? -ge 124 ] || echo end
  } |
    grep -E '^end$|^/run/user/[0-9]+/(containers/[a-z0-9]+-containers/[0-9a-f]{64}/userdata/(pidfile|conmon\.pid)|docker/containerd/daemon/io\.containerd\.runtime\.v2\.task/moby/[0-9a-f]{64}/init\.pid)$' |
    head -n 1000
}
theirs=
files=$(of_users)
case $files in *end) files=${files%end} ;; *) run users.late false ;; esac
# shellcheck disable=SC2086 # paths of a known form
[ -z "$files" ] || theirs=$(timeout 2 grep -sHaom1 -E '^[0-9]{1,10}' $files /dev/null) || [ $? -lt 124 ] || run users.late false
