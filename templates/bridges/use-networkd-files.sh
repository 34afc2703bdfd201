# shellcheck shell=sh
# Makes systemd-networkd read its files, where it runs, and waits until it uses all of FILES (.network files).
if systemctl -q is-active systemd-networkd; then
  networkctl reload 2>/dev/null || systemctl try-restart systemd-networkd || exit 1
fi
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
  missing=
  for f in $FILES; do grep -qsx "NETWORK_FILE=$f" /run/systemd/netif/links/* || missing="$missing $f"; done
  [ -n "$missing" ] || exit 0
  sleep 1
done
echo "systemd-networkd does not use$missing"; exit 1
