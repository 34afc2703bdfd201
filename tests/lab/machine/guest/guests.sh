# Runs in a stock host: what a KVM host has beside Docker. A bridge of the operator's own carries two guests and the LAN,
# and what passes within it stays off iptables, as libvirt's documentation says.
set -eu

cat > /etc/systemd/network/20-br0.netdev <<'CONF'
[NetDev]
Name=br0
Kind=bridge
CONF
# The way on is by a router on the bridge, as where the host's own network card is a port of it.
cat > /etc/systemd/network/20-br0.network <<'CONF'
[Match]
Name=br0

[Network]
Address=10.90.0.1/24
LinkLocalAddressing=no
IPv6AcceptRA=no
ConfigureWithoutCarrier=yes

[Route]
Destination=198.51.100.0/24
Gateway=10.90.0.254
CONF
cat > /etc/sysctl.d/60-kvm.conf <<'CONF'
# Guests on br0 are no business of this host's firewall.
net.bridge.bridge-nf-call-iptables = 0
net.bridge.bridge-nf-call-ip6tables = 0
net.bridge.bridge-nf-call-arptables = 0
CONF
# Docker loads br_netfilter long after /etc/sysctl.d has been read; newer ones when they need it.
cat > /etc/udev/rules.d/60-kvm.rules <<'CONF'
ACTION=="add", SUBSYSTEM=="module", KERNEL=="br_netfilter", RUN+="/usr/sbin/sysctl -q -p /etc/sysctl.d/60-kvm.conf"
CONF

# Guests stand in network namespaces, which do not outlive a boot: a service makes them again. The device of each has
# the name that libvirt gives it. `lan` is the router, with something beyond it at 198.51.100.1.
cat > /usr/local/sbin/guests <<'CONF'
#!/bin/sh
set -eu
join() { # NAME ADDRESS PORT
    ip netns add "$1"
    ip link add "$3" type veth peer name eth0 netns "$1"
    ip -n "$1" link set lo up
    ip -n "$1" address add "$2" dev eth0
    ip -n "$1" link set eth0 up
    ip link set "$3" master br0 up
}
join guest-a 10.90.0.11/24 vnet0
join guest-b 10.90.0.12/24 vnet1
join lan 10.90.0.254/24 lan0
ip -n lan address add 198.51.100.1/24 dev lo
for guest in guest-a guest-b; do ip -n "$guest" route add default via 10.90.0.254; done
CONF
chmod 755 /usr/local/sbin/guests
cat > /etc/systemd/system/guests.service <<'CONF'
[Unit]
Description=Guests on br0
After=systemd-networkd-wait-online.service
Wants=systemd-networkd-wait-online.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/guests

[Install]
WantedBy=multi-user.target
CONF
mkdir -p /etc/systemd/system/systemd-networkd-wait-online.service.d
cat > /etc/systemd/system/systemd-networkd-wait-online.service.d/br0.conf <<'CONF'
[Service]
ExecStart=
ExecStart=/usr/lib/systemd/systemd-networkd-wait-online --interface=br0:no-carrier
CONF

systemctl daemon-reload
networkctl reload
udevadm control --reload
[ ! -e /proc/sys/net/bridge ] || sysctl -q -p /etc/sysctl.d/60-kvm.conf
systemctl enable -q --now guests.service

# ping(8), and whatever else a guest wants to be.
tar -xOf /var/lib/lab/busybox.tar ./bin/busybox > /usr/local/bin/busybox
chmod 755 /usr/local/bin/busybox

docker run --detach --restart unless-stopped --stop-timeout 1 --name web --publish 8080:80 lab/busybox:1 \
    sh -c 'echo "hello from web" > /www/index.html; exec httpd -f -p 80 -h /www' > /dev/null
for to in 10.90.0.12 10.90.0.1 198.51.100.1; do
    ip netns exec guest-a busybox ping -q -c 1 -W 5 "$to" > /dev/null
done
sync
