# shellcheck shell=sh
# Succeeds once the kubelet answers at $AT (ADDRESS:PORT; "": it answers nowhere), and still does ten seconds later, in the
# same process: what it does not accept of the kernel or of its files ends it some seconds after its start.
up() {
  pid=$(systemctl show -p MainPID --value kubelet.service)
  [ "${pid:-0}" != 0 ] && [ "$(systemctl is-active kubelet.service)" = active ] || return 1
  [ -n "$AT" ] || return 0
  if command -v curl >/dev/null; then curl -q --noproxy '*' -sf -m 5 -o /dev/null "http://$AT/healthz"
  elif command -v wget >/dev/null; then http_proxy='' wget -q -T 5 -t 1 -O /dev/null "http://$AT/healthz"
  else grep -qE ":$(printf %04X "${AT##*:}") [0-9A-F]+:0000 0A " /proc/net/tcp; fi
}
[ "$(systemctl is-active kubelet.service)" != inactive ] || exit 0
up || exit 1
first=$pid
sleep "${HULLPROOF_SETTLE:-10}"
up && [ "$pid" = "$first" ]
