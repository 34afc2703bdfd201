# shellcheck shell=sh disable=SC2154
# Podman, of root and of users: where containers/storage keeps what runs. conmon's command line has the name and, of
# root's, the bundle of a container: a line `USER ID NAME BUNDLE` for each.
engine podman podman
monitors=
for at in $(numbers /run/containers/storage/*-containers/*/userdata/pidfile /run/containers/storage/*-containers/*/userdata/conmon.pid) $theirs; do
  file=${at%:*} pid=${at##*:} data=${at%/userdata/*}
  case $file in /run/user/*) user=${file#/run/user/} user=${user%%/*} ;; *) user=0 ;; esac
  case $file in
  */userdata/pidfile) row podman "$user" "$pid" "${data##*/}" - ;;
  */userdata/conmon.pid) monitors="$monitors $user:$pid" ;;
  esac
done
named() {
  for user in $(printf '%s\n' $monitors | cut -d : -f 1 | sort -u); do
    files=
    for monitor in $monitors; do
      case $monitor in "$user":*) [ ! -r "/proc/${monitor#*:}/cmdline" ] || files="$files /proc/${monitor#*:}/cmdline" ;; esac
    done
    # shellcheck disable=SC2086 # paths without blanks
    { head -q -c 4096 $files /dev/null | tr '\0\n' '  ' && echo; } | sed 's/ -c /\n&/g' |
      sed -nE "s/^ -c ([0-9a-f]{64}) .* -n ([^ ]+) .* ?-b ([^ ]+) .*/$user \1 \2 \3/p;t;s/^ -c ([0-9a-f]{64}) .* -b ([^ ]+) .* -n ([^ ]+) .*/$user \1 \3 \2/p"
  done
}
[ -z "$monitors" ] || names=$(named)
[ -z "$names" ] || run podman.named printf '%s\n' "$names"
# What root's were made from, as storage keeps it: the lines `"id":"ID"` and `image-name\":\"NAME`, by turns.
stores=$(printf '%s\n' "$names" | sed -nE 's|^0 .* (/[^ ]*)/[0-9a-f]{64}/userdata$|\1/containers.json|p' | sort -u)
# shellcheck disable=SC2086 # paths without blanks
[ -z "$stores" ] || run podman.images grep -ohsE '"id": ?"[0-9a-f]{64}"|image-name\\": ?\\"[^"\]*' $stores
# What systemd starts by files of Podman's (Quadlet), and their drop-ins: each line but comments, since one may go on in the
# next. A file may be a link.
set --
for one in /run/containers/systemd /etc/containers/systemd /usr/share/containers/systemd; do [ ! -d "$one" ] || set -- "$@" "$one"; done
[ $# = 0 ] || run podman.quadlets grep -RasHvE -D skip --include='*.container' --include='*.pod' --include='*.kube' --include='*.conf' '^[[:space:]]*([#;]|$)' "$@"
