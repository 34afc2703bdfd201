# Have firewalld load its files. Where it does not run, it reads them when it starts. What it was told for now alone a
# reload would lose, be it the door that we come in by; devices come and go. Given: ZONE, which is ours.
systemctl -q is-active firewalld || exit 0
firewall-cmd -q --state || { echo "firewalld does not answer" >&2; exit 1; }
settings() { # one a line, after the name of its zone or policy
  { firewall-cmd "$@" --list-all-zones; firewall-cmd "$@" --list-all-policies; } |
    sed 's/ (.*//; /^  interfaces:/d' | awk '/^[^ ]/ { name = $0 } { print name $0 }' | sed "/^$ZONE/d" | sort -u
}
t=$(mktemp -d) && settings >"$t/now" && settings --permanent >"$t/kept" || exit 1
lost=$(comm -23 "$t/now" "$t/kept"); rm -r "$t"
if [ "$lost" ]; then
  echo "firewalld would lose what it was told for now alone ($(echo $lost)): see firewall-cmd --runtime-to-permanent" >&2
  exit 1
fi
firewall-cmd -q --check-config && firewall-cmd -q --reload
