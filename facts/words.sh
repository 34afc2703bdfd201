# shellcheck shell=sh
# Command lines of the host's own processes. Each user's are read apart, as he can keep whoever reads them waiting.
believed() { # /proc/PID/status...: `USER:PID` of those that are of the host's own process namespace and have its own root
  grep -sHE '^(Uid|NSpid):' "$@" /dev/null | while read -r where first more; do
    pid=${where#/proc/} pid=${pid%%/*}
    case $where in
    *:Uid:) user=$first ;;
    *) [ -n "$more" ] || [ ! "/proc/$pid/root" -ef / ] || echo "$user:$pid" ;;
    esac
  done
}
words() { # USER:PID...: `FILE:WORD` for each word of their command lines, with the zero byte after it
  mine='' others=''
  for each in "$@"; do
    file=/proc/${each#*:}/cmdline
    case $each in 0:*) mine="$mine $file" ;; *) others="$others${each%:*} $file
" ;; esac
  done
  # shellcheck disable=SC2086 # paths without blanks
  [ -z "$mine" ] || grep -zsaHm 100 '' $mine /dev/null
  # shellcheck disable=SC2046 # paths without blanks
  [ -z "$others" ] || for user in $(printf %s "$others" | cut -d ' ' -f 1 | sort -nu); do
    timeout 2 grep -zsaHm 100 '' $(printf %s "$others" | sed -n "s/^$user //p") /dev/null | head -c 100000
  done
}
