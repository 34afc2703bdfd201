# shellcheck shell=sh
# Runs FILE, which fills the chain CHAIN of iptables and ip6tables; without FILE, deletes that chain.
if [ -e "$FILE" ]; then sh "$FILE"; exit; fi
for t in iptables ip6tables; do
  command -v $t >/dev/null || continue
  $t -w -D FORWARD -j "$CHAIN" 2>/dev/null
  $t -w -F "$CHAIN" 2>/dev/null && $t -w -X "$CHAIN"
done
:
