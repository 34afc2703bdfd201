# shellcheck shell=sh disable=SC2086
# Given: FILES, ENABLED, UNITS.
run addr ip -j -d addr
run route4 ip -j route
run route6 ip -j -6 route
run vlan bridge -j vlan
run switches grep -H '' /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding \
  /proc/sys/net/bridge/bridge-nf-call-iptables /proc/sys/net/bridge/bridge-nf-call-ip6tables \
  /proc/sys/net/bridge/bridge-nf-call-arptables
made_of='(br_netfilter|bridge|8021q|openvswitch|nf_tables)([[:space:]]|$)'
run settings grep -HE "^[[:space:]]*(br_netfilter|(install|blacklist)[[:space:]]+$made_of)" \
  /etc/modules /etc/modules-load.d/*.conf /run/modules-load.d/*.conf /usr/lib/modules-load.d/*.conf \
  /etc/modprobe.d/*.conf /run/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf
run filter4 iptables-save -t filter
run filter6 ip6tables-save -t filter
tables=$(nft list chains 2>&1); run tables kept "$tables" $?
case "$tables" in *'table bridge hullproof {'*) run ours nft list table bridge hullproof;; esac
case "$tables" in *'table inet hullproof {'*) run inet nft list table inet hullproof;; esac
show $FILES
qdiscs=$(tc qdisc show 2>&1); run qdiscs kept "$qdiscs" $?
case "$qdiscs" in *'qdisc ingress '*|*'qdisc clsact '*|*'qdisc prio '*|*'qdisc htb '*)
  for d in $(echo "$qdiscs" | sed -nE 's/^qdisc (ingress|clsact|prio|htb) .* dev ([^ ]+) .*/\2/p' | sort -u); do
    for where in root ingress egress; do run "tc $d $where" tc filter show dev "$d" $where; done
  done;;
esac
run enabled ls "$ENABLED"
have systemctl && run units systemctl is-active $UNITS
run netplan ls -d /etc/netplan/*.yaml
