# shellcheck shell=sh disable=SC2154
# systemd-nspawn. Containers are known by what has started them (monitors.sh); systemd-machined notes what they are called.
engine nspawn systemd-nspawn
set -- /run/systemd/machines/[!.]*
machines=''
[ ! -e "$1" ] || machines=$(grep -sHE '^(LEADER=[0-9]{1,10}|SERVICE=[a-z-]+)$' "$@" /dev/null)
[ -z "$machines" ] || run machines kept "$machines" 0
