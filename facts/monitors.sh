# shellcheck shell=sh disable=SC2154
# What has started those that no file of root's names: a line `USER:PID` for each, and its command line. A process in a
# container can call itself what it likes: only the host's own count (words.sh).
unnamed='' parents='' monitors=''
for first in $firsts; do
  case "$ours " in *" $first "*) ;; *) unnamed="$unnamed /proc/$first/status" ;; esac
done
# shellcheck disable=SC2086 # paths without blanks
if [ -n "$unnamed" ]; then
  for word in $(grep -sh '^PPid:' $unnamed); do
    case "$word$parents " in PPid:* | *" /proc/$word/status "*) ;; *) parents="$parents /proc/$word/status" ;; esac
  done
  monitors=$(believed $parents)
fi
if [ -n "$monitors" ]; then
  run monitors kept "$monitors" 0
  # shellcheck disable=SC2086 # USER:PID each
  run monitors.words words $monitors
fi
