# shellcheck shell=sh disable=SC2154
# Podman, of root and of users: where containers/storage keeps what runs. conmon's command line has the name and the
# bundle of a container: one line `ID NAME BUNDLE` for each.
engine podman podman
monitors='' names=''
for data in /run/containers/storage/*-containers/*/userdata /run/user/*/containers/*-containers/*/userdata; do
  if number "$data/pidfile"; then
    id=${data%/userdata}
    owner "$data" && row podman "$user" "$value" "${id##*/}" -
    if number "$data/conmon.pid" && [ -e "/proc/$value/cmdline" ]; then monitors="$monitors /proc/$value/cmdline"; fi
  fi
done
named() {
  # shellcheck disable=SC2086 # paths without blanks
  head -q -c 4096 $monitors /dev/null | tr '\0' ' ' | sed 's/ -c /\n&/g' |
    sed -nE 's/^ -c ([0-9a-f]{64}) .* -n ([^ ]+) .* ?-b ([^ ]+) .*/\1 \2 \3/p;t;s/^ -c ([0-9a-f]{64}) .* -b ([^ ]+) .* -n ([^ ]+) .*/\1 \3 \2/p'
}
[ -z "$monitors" ] || names=$(named)
[ -z "$names" ] || run podman.named printf '%s\n' "$names"
