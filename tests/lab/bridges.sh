# Containers' networks as namespaces and veth pairs, and every way from one to another tried by packets.
#   bridges.sh before   hand-made bridges without any protection, and namespaces on them
#   bridges.sh join     the namespaces alone: whoever manages the host's network attaches them (t-x: its engine does)
#   bridges.sh try      prints what came through, one name a line
#   bridges.sh clear    takes the namespaces away
# Segments: tenants (t-a, t-b declared, t-x attached by somebody), web.10 (web-a, web-b), web.20 (db), out (the trunk),
# and l-a, l-b on lxcbr0, a bridge as LXC makes it.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
here=$(dirname "$0")
TAGS=${TAGS:-1}   # 0 on a kernel that has no VLANs
SPACES='t-a t-b t-x web-a web-b db out l-a l-b'

mac() { case $1 in t-a) echo 02000000800a;; t-b) echo 02000000800b;; t-x) echo 020000008018;; web-a) echo 02000000810a;;
  web-b) echo 02000000810b;; db) echo 020000008114;; out) echo 0200000000ff;;
  l-a) echo 02000000f00a;; l-b) echo 02000000f00b;; esac; }
colons() { echo "$1" | sed 's/../&:/g; s/:$//'; }
address() { case $1 in t-a) echo 10.80.0.10;; t-b) echo 10.80.0.11;; t-x) echo 10.80.0.24;; web-a) echo 10.81.10.10;;
  web-b) echo 10.81.10.11;; db) echo 10.81.20.20;; l-a) echo 10.0.3.10;; l-b) echo 10.0.3.11;; esac; }
four() { printf %02x%02x%02x%02x $(echo "$1" | tr . ' '); }
port() { [ "$1" = out ] && echo up0 || echo "$1"; }

space() { # NAME: a namespace with eth0, whose other end here is called NAME
  ip netns add "$1" && ip link add "$(port "$1")" type veth peer name eth0 netns "$1" address "$(colons "$(mac "$1")")" || exit 1
  [ "$1" = out ] || ip -n "$1" addr add "$(address "$1")/24" dev eth0
  case $1 in t-*) ip -n "$1" addr add "fd00:80::$(mac "$1" | cut -c11-)/64" dev eth0 nodad;; esac
  ip -n "$1" link set eth0 up; ip -n "$1" link set lo up
}

routes() {
  for n in t-a t-b t-x; do ip -n $n route replace default via 10.80.0.1; done
  for n in web-a web-b; do ip -n $n route replace default via 10.81.10.1; done
  ip -n db route replace default via 10.81.20.1
}

before() {
  for b in br-tenants br-web; do ip link add $b type bridge; ip link set $b up; done
  ip addr add 10.80.0.1/24 dev br-tenants; ip -6 addr add fd00:80::1/64 dev br-tenants nodad
  ip addr add 10.81.10.1/24 dev br-web; ip addr add 10.81.20.1/24 dev br-web
  lxc
  for n in $SPACES; do space $n; ip link set "$(port $n)" master "$(bridge $n)" up; done
  routes; metadata
}

bridge() { case $1 in t-*) echo br-tenants;; l-*) echo lxcbr0;; *) echo br-web;; esac; }

lxc() { ip link add lxcbr0 type bridge; ip link set lxcbr0 up; }

metadata() { # a stand-in for the cloud's address: nothing leaves the host
  ip addr replace 169.254.169.254/32 dev lo
}

join() {
  lxc
  for n in $SPACES; do space $n; done
  for n in t-x l-a l-b; do ip link set $n master "$(bridge $n)" up; done
  for n in t-a t-b web-a web-b db out; do
    i=0; until [ -e "/sys/class/net/$(port $n)/master" ]; do i=$((i + 1)); [ $i -lt 100 ] || break; sleep 0.2; done
    ip link set "$(port $n)" up
  done
  routes; metadata; sleep 1
}

clear_all() {
  [ -e /tmp/hp-pids ] && kill $(cat /tmp/hp-pids) 2>/dev/null; rm -f /tmp/hp-pids
  for n in $SPACES; do ip netns del $n 2>/dev/null; done
  ip link del lxcbr0 2>/dev/null; ip addr del 169.254.169.254/32 dev lo 2>/dev/null; rm -rf /tmp/hp-seen; :
}

run_in() { # NAME COMMAND...: NAME is a namespace, or host
  n=$1; shift; if [ "$n" = host ]; then "$@"; else ip netns exec "$n" "$@"; fi
}

background() { run_in "$@" >/dev/null 2>&1 & echo $! >>/tmp/hp-pids; }

frame() { # FROM NAME HEX
  ip netns exec "$1" perl "$here/bridges.pl" send eth0 "$3" "$2"
}

udp() { # SOURCE DESTINATION: an IPv4 header and a UDP header without checksum, to port 9, for 24 bytes of marker
  sum "45000034000040004011""0000$(four "$1")$(four "$2")"; printf 03e7000900200000
}

sum() { # HEX of an IPv4 header with checksum 0: the same with it
  perl -e '$h = pack "H*", shift; $s += $_ for unpack "n*", $h; $s = ($s & 0xffff) + ($s >> 16) while $s >> 16;
    substr $h, 10, 2, pack "n", ~$s & 0xffff; print unpack "H*", $h' "$1"
}

icmp6() { # SOURCE DESTINATION (32 hex digits) BODY: ICMPv6 with its checksum, hop limit 255
  perl -e 'my ($s, $d, $b) = @ARGV; my $p = pack("H*", $b) . "hp:$ENV{MARK};"; $p .= "\0" x (length($p) % 2);
    my $t = 0; $t += $_ for unpack "n*", pack("H*", $s . $d) . pack("NN", length $p, 58) . $p;
    $t = ($t & 0xffff) + ($t >> 16) while $t >> 16; substr $p, 2, 2, pack "n", ~$t & 0xffff;
    print "60000000", unpack("H4", pack "n", length $p), "3aff", $s, $d, unpack "H*", $p' "$1" "$2" "$3"
}

LL=fe80000000000000000000fffe00   # and the last two bytes of one of our MAC addresses
ALL=ff020000000000000000000000000001; ALLMAC=333300000001; ANY=ffffffffffff
GW6=fd000080000000000000000000000001

attempts() {
  # Siblings, whatever the frames carry
  for to in t-b t-x; do
    frame t-a "raw-$to" "$(mac $to)$(mac t-a)88b5"
    frame t-a "ip4-$to" "$(mac $to)$(mac t-a)0800$(udp 10.80.0.10 "$(address $to)")"
    MARK=ip6-$to; export MARK; frame t-a "ip6-$to" "$(mac $to)$(mac t-a)86dd$(icmp6 ${LL}800a "$LL$(mac $to | cut -c9-)" 8000000000000000)"
    frame t-a "routed-$to" "$(cat /sys/class/net/br-tenants/address | tr -d :)$(mac t-a)0800$(udp 10.80.0.10 "$(address $to)")"
  done
  frame t-a arp "$ANY$(mac t-a)08060001080006040001$(mac t-a)$(four 10.80.0.10)000000000000$(four 10.80.0.11)"
  frame l-a raw-l-b "$(mac l-b)$(mac l-a)88b5"
  frame l-a ip4-l-b "$(mac l-b)$(mac l-a)0800$(udp 10.0.3.10 10.0.3.11)"
  # Spoofed, towards the host
  gw=$(cat /sys/class/net/br-tenants/address | tr -d :)
  frame t-a honest "$gw$(mac t-a)0800$(udp 10.80.0.10 10.80.0.1)"
  frame t-b honest-b "$gw$(mac t-b)0800$(udp 10.80.0.11 10.80.0.1)"
  frame t-a mac-spoof "$gw$(mac t-b)0800$(udp 10.80.0.11 10.80.0.1)"
  frame t-b mac-made-up "${gw}0200000077770800$(udp 10.80.0.11 10.80.0.1)"
  frame t-b ip-spoof "$gw$(mac t-b)0800$(udp 10.80.0.10 10.80.0.1)"
  frame t-a ip-foreign "$gw$(mac t-a)0800$(udp 192.0.2.7 10.80.0.1)"
  frame t-a arp-gateway "$ANY$(mac t-a)08060001080006040002$(mac t-a)$(four 10.80.0.1)$(mac t-a)$(four 10.80.0.1)"
  frame t-a arp-sibling "$gw$(mac t-a)08060001080006040002$(mac t-a)$(four 10.80.0.11)$gw$(four 10.80.0.1)"
  MARK=ra; export MARK; frame t-a ra "$ALLMAC$(mac t-a)86dd$(icmp6 ${LL}800a $ALL 86000000400007080000000000000000)"
  MARK=na-gateway; export MARK; frame t-a na-gateway "$ALLMAC$(mac t-a)86dd$(icmp6 ${LL}800a $ALL 8800000020000000$GW6)"
  # VLANs: untagged, tagged, tagged twice
  frame web-a vlan-ip4 "$ANY$(mac web-a)0800$(udp 10.81.10.10 10.81.20.20)"
  frame web-a vlan-raw "$ANY$(mac web-a)88b5"
  frame web-a sibling-vlan "$(mac web-b)$(mac web-a)0800$(udp 10.81.10.10 10.81.10.11)"
  if [ "$TAGS" = 1 ]; then
    frame web-a tagged-20 "$ANY$(mac web-a)810000140800$(udp 10.81.10.10 10.81.20.20)"
    frame web-a tagged-10 "$ANY$(mac web-a)8100000a0800$(udp 10.81.10.10 10.81.10.11)"
    frame web-a double "$ANY$(mac web-a)8100000a810000140800$(udp 10.81.10.10 10.81.20.20)"
    frame out trunk-20 "$(mac db)$(mac out)810000140800$(udp 10.81.20.99 10.81.20.20)"
    frame out trunk-30 "$ANY$(mac out)8100001e0800$(udp 10.81.20.99 10.81.20.20)"
  fi
  frame out trunk-none "$ANY$(mac out)0800$(udp 10.81.20.99 10.81.20.20)"
}

flows() { # NAME FROM ADDRESS PORT PROTO
  while read -r name from where port proto; do
    ip netns exec "$from" perl "$here/bridges.pl" ask "$where" "$port" "$proto" && echo "flow $name"
  done <<END
allowed web-a 10.81.20.20 5432 tcp
other-port web-a 10.81.20.20 5433 tcp
back db 10.81.10.10 5432 tcp
host-service t-a 10.80.0.1 8080 tcp
host-service6 t-a fd00:80::1 8080 tcp
host-allowed t-a 10.80.0.1 53 udp
metadata t-a 169.254.169.254 80 tcp
sibling t-a 10.80.0.11 5432 tcp
sibling6 t-a fd00:80::0b 5432 tcp
neighbour web-a 10.81.10.11 5432 tcp
END
}

try() {
  mkdir -p /tmp/hp-seen; : >/tmp/hp-pids
  for n in $SPACES; do background $n perl "$here/bridges.pl" listen /tmp/hp-seen/$n eth0; done
  background host perl "$here/bridges.pl" listen /tmp/hp-seen/host br-tenants
  background db perl "$here/bridges.pl" serve 0.0.0.0 5432 tcp; background db perl "$here/bridges.pl" serve 0.0.0.0 5433 tcp
  for n in web-a web-b t-b; do background $n perl "$here/bridges.pl" serve 0.0.0.0 5432 tcp; done
  background t-b perl "$here/bridges.pl" serve fd00:80::0b 5432 tcp
  background host perl "$here/bridges.pl" serve 10.80.0.1 8080 tcp; background host perl "$here/bridges.pl" serve 10.80.0.1 53 udp
  background host perl "$here/bridges.pl" serve fd00:80::1 8080 tcp
  background host perl "$here/bridges.pl" serve 169.254.169.254 80 tcp
  i=0; while [ "$(cat /tmp/hp-seen/* 2>/dev/null | grep -c ready)" -lt 10 ] && [ $i -lt 100 ]; do i=$((i + 1)); sleep 0.1; done
  sleep 0.5; attempts; flows; sleep 1
  for f in /tmp/hp-seen/*; do sed -n "s|^[a-z0-9-]* |${f##*/} |p" "$f"; done | sort -u
  kill $(cat /tmp/hp-pids) 2>/dev/null; rm -f /tmp/hp-pids; rm -rf /tmp/hp-seen
}

case $1 in before | join | try) $1;; clear) clear_all;; esac
