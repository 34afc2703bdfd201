# shellcheck shell=sh
# Written by hullproof: reads the addresses of the ports of engines' bridges into the sets of `table bridge hullproof`. The
# other end of a port is in a container's network namespace, where only CAP_NET_ADMIN can change its addresses.
#   ports.sh            every port
#   ports.sh PORT       a new port: it waits until the other end is up
#   ports.sh PORT gone  a port that has disappeared
LC_ALL=C; PATH=/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
SPACES=${SPACES:-/run/docker/netns /run/netns} PORTS=${PORTS:-/sys/class/net} RULES=${RULES:-/etc/hullproof/networks.nft}
SETS='known macs four six targets'

covered() { # whether the rules name the bridge of $port, or an engine created it later
  bridge=$(readlink "$port/master") || return 1
  bridge=${bridge##*/}
  case $bridge in br-???????????? | podman[0-9]*) return 0 ;; esac
  grep -q "ibrname \"$bridge\" iifname @known" "$RULES"
}

theirs() { # [PORT]: for each port the index of its other end, its own index, and its name
  for port in "$PORTS"/${1:-veth*}; do
    covered && read -r there <"$port/iflink" && read -r here <"$port/ifindex" && echo "$there $here ${port##*/}"
  done
}

given() { # PORT: what $seen says of the index $there, as elements of the sets
  printf '%s\n' "$seen" | sed -n "
    s,^$there: .* link/ether \([0-9a-f:]*\) .*,macs \1,p
    s,^$there: .* inet \([0-9.]*\)/.*,four \1,p
    /^[0-9a-f]\{32\} $(printf %02x "$there") / {
      s/ .*//; h; s/..../&:/g; s/:\$//; s/^/six /p
      g; s/^/targets 0x/p
    }
    \$s/.*/known/p" | sed "s/\([^ ]*\) \(.*\)/\1 { \"$1\" . \2 }/; s/^known\$/& { \"$1\" }/; s/^/add element bridge hullproof /"
}

learn() { # [PORT]: succeeds where addresses were read
  ports=$(theirs "$@"); learnt=1
  [ -n "$ports" ] || return 1
  # shellcheck disable=SC2045,SC2046,SC2086 # the names are engines', and only ls sorts by time
  for space in $(ls -td $(printf '%s/* ' $SPACES) 2>/dev/null); do # newest first; `default` is the host's own
    [ "${space##*/}" != default ] || continue
    seen=$(nsenter --net="$space" sh -c 'ip -o link show up; ip -o -4 addr; cat /proc/net/if_inet6' 2>/dev/null)
    for ends in $(printf '%s\n' "$seen" | sed -n 's,^\([0-9]*\): [^ ]*@if\([0-9]*\): .* link/ether .*,\1-\2,p'); do
      there=${ends%-*}; port=$(printf '%s\n' "$ports" | sed -n "s/^$there ${ends#*-} //p")
      [ -z "$port" ] || { given "$port" | nft -f - && learnt=0; }
    done
    [ $# = 0 ] || [ $learnt = 1 ] || return 0
  done
  return $learnt
}

forget() { # PORT
  for set in $SETS; do
    nft list set bridge hullproof $set 2>/dev/null | grep -o "\"$1\"[^,}]*" |
      sed "s/.*/delete element bridge hullproof $set { & }/"
  done | nft -f -
}

case $#${2-} in
  2gone) forget "$1" ;;
  1)
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
      [ -e "$PORTS/$1" ] || exit 0
      if learn "$1"; then
        [ -e "$PORTS/$1" ] || forget "$1" # it disappeared meanwhile
        exit 0
      fi
      sleep 0.5
    done
    ;;
  0) learn ;;
esac
:
