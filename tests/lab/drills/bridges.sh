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
SWITCH=${SWITCH:-linux}   # or openvswitch: on what tenants and web are
SPACES='t-a t-b t-x web-a web-b db out l-a l-b'

mac() { case $1 in t-a) echo 02000000800a;; t-b) echo 02000000800b;; t-x) echo 020000008018;; web-a) echo 02000000810a;;
  web-b) echo 02000000810b;; db) echo 020000008114;; out) echo 0200000000ff;;
  l-a) echo 02000000f00a;; l-b) echo 02000000f00b;; esac; }
colons() { m=$1 c=; while [ "$m" ]; do c=$c:${m%"${m#??}"} m=${m#??}; done; echo "${c#:}"; }
address() { case $1 in t-a) echo 10.80.0.10;; t-b) echo 10.80.0.11;; t-x) echo 10.80.0.24;; web-a) echo 10.81.10.10;;
  web-b) echo 10.81.10.11;; db) echo 10.81.20.20;; l-a) echo 10.0.3.10;; l-b) echo 10.0.3.11;; esac; }
port() { [ "$1" = out ] && echo up0 || echo "$1"; }

space() { # NAME: a namespace with eth0, whose other end here is called NAME
  ip netns add "$1" && ip link add "$(port "$1")" type veth peer name eth0 netns "$1" address "$(colons "$(mac "$1")")" || exit 1
  {
    case $1 in t-*) echo "addr add fd00:80::$(mac "$1" | cut -c11-)/64 dev eth0 nodad";; esac
    [ "$1" = out ] || echo "addr add $(address "$1")/24 dev eth0"
    printf 'link set %s up\n' eth0 lo
    case $1 in t-*) way=10.80.0.1;; web-*) way=10.81.10.1;; db) way=10.81.20.1;; *) way=;; esac
    [ -z "$way" ] || echo "route replace default via $way"
  } | ip -n "$1" -batch -
}

before() {
  for b in br-tenants br-web; do
    if [ $SWITCH = linux ]; then ip link add $b type bridge; else ovs-vsctl --timeout=60 add-br $b; fi
    ip link set $b up
  done
  ip addr add 10.80.0.1/24 dev br-tenants; ip -6 addr add fd00:80::1/64 dev br-tenants nodad
  ip addr add 10.81.10.1/24 dev br-web; ip addr add 10.81.20.1/24 dev br-web
  lxc
  for n in $SPACES; do space $n; attach $n; done
  metadata
}

bridge() { case $1 in t-*) echo br-tenants;; l-*) echo lxcbr0;; *) echo br-web;; esac; }

attach() { # NAME
  case $SWITCH$1 in
    linux* | *l-?) ip link set "$(port "$1")" master "$(bridge "$1")";;
    *) ovs-vsctl --timeout=60 --may-exist add-port "$(bridge "$1")" "$(port "$1")";;
  esac
  ip link set "$(port "$1")" up
}

lxc() { ip link add lxcbr0 type bridge; ip link set lxcbr0 up; }

metadata() { # a stand-in for the cloud's address: nothing leaves the host
  ip addr replace 169.254.169.254/32 dev lo
}

join() {
  lxc
  for n in $SPACES; do space $n; done
  for n in t-x l-a l-b; do attach $n; done
  for n in t-a t-b web-a web-b db out; do
    i=0; until [ -e "/sys/class/net/$(port $n)/master" ]; do i=$((i + 1)); [ $i -lt 100 ] || break; sleep 0.2; done
    ip link set "$(port $n)" up
  done
  metadata; sleep 1
}

clear_all() {
  for n in $SPACES; do ip netns del $n 2>/dev/null; done
  ip link del lxcbr0 2>/dev/null; ip addr del 169.254.169.254/32 dev lo 2>/dev/null; :
}

LL=fe80000000000000000000fffe00   # and the last two bytes of one of our MAC addresses
ALL=ff020000000000000000000000000001; ALLMAC=333300000001; ANY=ffffffffffff
GW6=fd000080000000000000000000000001

attempts() {
  gw=$(tr -d : </sys/class/net/br-tenants/address)
  # Siblings, whatever the frames carry
  for to in t-b t-x; do
    echo "frame t-a raw-$to $(mac $to)$(mac t-a)88b5"
    echo "frame t-a ip4-$to $(mac $to)$(mac t-a)0800 udp 10.80.0.10 $(address $to)"
    echo "frame t-a ip6-$to $(mac $to)$(mac t-a)86dd icmp6 ${LL}800a $LL$(mac $to | cut -c9-) 8000000000000000"
    echo "frame t-a routed-$to $gw$(mac t-a)0800 udp 10.80.0.10 $(address $to)"
  done
  cat <<END
frame t-a arp $ANY$(mac t-a)0806 arp 1 $(mac t-a) 10.80.0.10 000000000000 10.80.0.11
frame l-a raw-l-b $(mac l-b)$(mac l-a)88b5
frame l-a ip4-l-b $(mac l-b)$(mac l-a)0800 udp 10.0.3.10 10.0.3.11
frame t-a honest $gw$(mac t-a)0800 udp 10.80.0.10 10.80.0.1
frame t-b honest-b $gw$(mac t-b)0800 udp 10.80.0.11 10.80.0.1
frame t-a mac-spoof $gw$(mac t-b)0800 udp 10.80.0.11 10.80.0.1
frame t-b mac-made-up ${gw}0200000077770800 udp 10.80.0.11 10.80.0.1
frame t-b ip-spoof $gw$(mac t-b)0800 udp 10.80.0.10 10.80.0.1
frame t-a ip-foreign $gw$(mac t-a)0800 udp 192.0.2.7 10.80.0.1
frame t-a arp-gateway $ANY$(mac t-a)0806 arp 2 $(mac t-a) 10.80.0.1 $(mac t-a) 10.80.0.1
frame t-a arp-sibling $gw$(mac t-a)0806 arp 2 $(mac t-a) 10.80.0.11 $gw 10.80.0.1
frame t-a ra $ALLMAC$(mac t-a)86dd icmp6 ${LL}800a $ALL 86000000400007080000000000000000
frame t-a na-gateway $ALLMAC$(mac t-a)86dd icmp6 ${LL}800a $ALL 8800000020000000$GW6
frame web-a vlan-ip4 $ANY$(mac web-a)0800 udp 10.81.10.10 10.81.20.20
frame web-a vlan-raw $ANY$(mac web-a)88b5
frame web-a sibling-vlan $(mac web-b)$(mac web-a)0800 udp 10.81.10.10 10.81.10.11
frame out trunk-none $ANY$(mac out)0800 udp 10.81.20.99 10.81.20.20
END
  [ "$TAGS" = 0 ] || cat <<END
frame web-a tagged-20 $ANY$(mac web-a)810000140800 udp 10.81.10.10 10.81.20.20
frame web-a tagged-10 $ANY$(mac web-a)8100000a0800 udp 10.81.10.10 10.81.10.11
frame web-a double $ANY$(mac web-a)8100000a810000140800 udp 10.81.10.10 10.81.20.20
frame out trunk-20 $(mac db)$(mac out)810000140800 udp 10.81.20.99 10.81.20.20
frame out trunk-30 $ANY$(mac out)8100001e0800 udp 10.81.20.99 10.81.20.20
END
}

flows() {
  cat <<END
serve db 0.0.0.0 5432 tcp
serve db 0.0.0.0 5433 tcp
serve web-a 0.0.0.0 5432 tcp
serve web-b 0.0.0.0 5432 tcp
serve t-b 0.0.0.0 5432 tcp
serve t-b fd00:80::0b 5432 tcp
serve host 10.80.0.1 8080 tcp
serve host 10.80.0.1 53 udp
serve host fd00:80::1 8080 tcp
serve host 169.254.169.254 80 tcp
ask web-a allowed 10.81.20.20 5432 tcp
ask web-a other-port 10.81.20.20 5433 tcp
ask db back 10.81.10.10 5432 tcp
ask t-a host-service 10.80.0.1 8080 tcp
ask t-a host-service6 fd00:80::1 8080 tcp
ask t-a host-allowed 10.80.0.1 53 udp
ask t-a metadata 169.254.169.254 80 tcp
ask t-a sibling 10.80.0.11 5432 tcp
ask t-a sibling6 fd00:80::0b 5432 tcp
ask web-a neighbour 10.81.10.11 5432 tcp
END
}

try() {
  {
    for n in $SPACES; do echo "listen $n eth0"; done
    echo "listen host br-tenants"
    attempts; flows
  } | perl "$here/bridges.pl" try
}

case $1 in before | join | try) $1;; clear) clear_all;; esac
