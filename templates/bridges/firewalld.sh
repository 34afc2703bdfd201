# shellcheck shell=sh
# Makes firewalld load its files; a firewalld that is not running reads them when it starts. A reload would lose settings
# that exist only at run time, perhaps the one that admits this connection, so it is refused where there are any besides
# interfaces, which come and go. Given: ZONE, the zone of hullproof.
systemctl -q is-active firewalld || exit 0
firewall-cmd -q --state || { echo "firewalld does not answer" >&2; exit 1; }
settings() { # one a line, after the name of its zone or policy
  { firewall-cmd "$@" --list-all-zones; firewall-cmd "$@" --list-all-policies; } |
    sed 's/ (.*//; /^  interfaces:/d' | awk '/^[^ ]/ { name = $0 } { print name $0 }' | sed "/^$ZONE/d" | sort -u
}
t=$(mktemp -d) && settings >"$t/now" && settings --permanent >"$t/kept" || exit 1
lost=$(comm -23 "$t/now" "$t/kept"); rm -r "$t"
if [ -n "$lost" ]; then
  echo "a reload would lose settings that firewalld has only at run time ($(echo $lost)): keep them with firewall-cmd --runtime-to-permanent" >&2
  exit 1
fi
firewall-cmd -q --check-config && firewall-cmd -q --reload
