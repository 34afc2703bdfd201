# shellcheck shell=sh disable=SC2016,SC2086
# Given: TABLE, CHAIN (firewalld's of hullproof's zone), FILES, PATTERNS (prefixes of further files), ENABLED.
links=$(ip -j -d link 2>&1); run links kept "$links" $?
case "$links" in *link_netnsid*)
  run named ip -j netns list-id
  have lsns && run spaces lsns -J -t net -o NS,PID,NETNSID,COMMAND;;
esac
run networkd grep -sHE '^(ADMIN_STATE|NETWORK_FILE)=' /run/systemd/netif/links/*
run nm grep -sHE '^(managed|nm-owned|connection-uuid)=' /run/NetworkManager/devices/*
run ifstate cat /run/network/ifstate
run interfaces grep -sHE '^[[:space:]]*iface[[:space:]]' /etc/network/interfaces /etc/network/interfaces.d/*
if have nft; then
  tables=$(nft list tables 2>&1); run tables kept "$tables" $?
  case "$tables" in *"$TABLE"*) run ours sh -c 'nft -s list table bridge "$0"; nft -s list table inet "$0"' "$TABLE";; esac
  case "$tables" in *"inet firewalld"*) run firewalld sh -c '
    l="nft list chain inet firewalld"; $l filter_INPUT_POLICIES 2>/dev/null && exit
    $l filter_INPUT_ZONES && { $l "$0" 2>/dev/null || :; }' "$CHAIN";; esac
fi
# shellcheck disable=SC1083
have firewall-cmd && run version sh -c 'dpkg-query -W -f "\${Version}" firewalld 2>/dev/null ||
  rpm -q --qf "%{VERSION}" firewalld'
grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf && run ufw ufw show added
show $FILES
for prefix in $PATTERNS; do
  for f in "$prefix"*; do [ -e "$f" ] && show "$f"; done
done
run enabled ls "$ENABLED"
