# shellcheck shell=sh
# Runs FILE, which reads the addresses of all ports, and checks that those of ALL (names) are known then.
sh "$FILE"
left=
for port in $ALL; do
  [ ! -e "/sys/class/net/$port" ] || nft list set bridge hullproof known | grep -q "\"$port\"" || left="$left $port"
done
[ -z "$left" ] || { echo "no container of an engine's is behind$left, which can therefore send from any address"; exit 1; }
