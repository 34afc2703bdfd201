# shellcheck shell=sh disable=SC2154
# What has started those that no file of root's names: a line `USER:PID` for each, and its command line. A process in a
# container can call itself what it likes: only those count that are of the host's own process namespace and have the
# host's own root. Each user's are read apart, as he can keep whoever reads them waiting.
unnamed='' parents='' monitors=''
for first in $firsts; do
  case "$ours " in *" $first "*) ;; *) unnamed="$unnamed /proc/$first/status" ;; esac
done
# shellcheck disable=SC2086 # paths without blanks
if [ -n "$unnamed" ]; then
  for word in $(grep -sh '^PPid:' $unnamed); do
    case "$word$parents " in PPid:* | *" /proc/$word/status "*) ;; *) parents="$parents /proc/$word/status" ;; esac
  done
  monitors=$(
    grep -sHE '^(Uid|NSpid):' $parents /dev/null | while read -r where first more; do
      pid=${where#/proc/} pid=${pid%%/*}
      case $where in
      *:Uid:) user=$first ;;
      *) [ -n "$more" ] || [ ! "/proc/$pid/root" -ef / ] || echo "$user:$pid" ;;
      esac
    done
  )
fi
words() { # `FILE:WORD` for each word of their command lines, with the zero byte after it
  mine='' others=''
  for each in $monitors; do
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
if [ -n "$monitors" ]; then
  run monitors kept "$monitors" 0
  run monitors.words words
fi
