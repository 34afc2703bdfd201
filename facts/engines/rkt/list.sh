# shellcheck shell=sh
# rkt, which is no longer maintained: what is left of it, by name. Pods: a folder each, below what became of them.
have rkt && engine rkt rkt
traces=
for trace in /usr/bin/rkt /usr/local/bin/rkt /opt/bin/rkt /opt/rkt/rkt /etc/rkt /usr/lib/rkt /usr/local/lib/rkt \
  /var/lib/rkt/cas /var/lib/rkt/pods/*/*-*-*-*-* \
  /usr/lib/systemd/system/rkt-*.* /etc/systemd/system/rkt-*.*; do
  [ ! -e "$trace" ] || traces="$traces$trace
"
done
[ -z "$traces" ] || run rkt.traces kept "$traces" 0
