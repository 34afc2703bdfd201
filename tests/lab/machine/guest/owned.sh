# Runs in a stock host: settings, data and running containers of other people, all of which must outlive a hardening.
set -eu

DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends apparmor > /dev/null

# Valid, but in nobody's style: what merges into it must keep the keys and their order.
cat > /etc/docker/daemon.json <<'CONF'
{
   "labels": ["owner=corp", "rack=7"],
      "log-opts": {
        "max-size": "7m",
     "max-file": "3" },
  "registry-mirrors": ["https://mirror.corp.example"],
	"shutdown-timeout": 20
}
CONF
mkdir -p /etc/systemd/system/docker.service.d
cat > /etc/systemd/system/docker.service.d/10-corp.conf <<'CONF'
# Owned by the platform team. Ask before you change it.
[Service]
# which site this host is in; read by the inventory job
Environment="CORP_SITE=berlin"
CONF
cat > /etc/sysctl.d/60-corp.conf <<'CONF'
# for the search cluster
vm.max_map_count = 262144
; for the proxies
net.core.somaxconn = 8192
CONF
sysctl -q -p /etc/sysctl.d/60-corp.conf

useradd --create-home --shell /bin/bash alice
useradd --create-home --shell /bin/bash bob
printf 'alice:165536:65536\nbob:100000:65536\n' | tee /etc/subuid > /etc/subgid

systemctl daemon-reload
systemctl restart docker.service
until docker version > /dev/null 2>&1; do sleep 0.5; done

docker network create --subnet 10.77.0.0/24 --gateway 10.77.0.1 corp > /dev/null
docker volume create corp-data > /dev/null
# A first process that heeds no TERM would cost ten seconds at every stop.
keep='--detach --restart unless-stopped --stop-timeout 1'
# shellcheck disable=SC2086
docker run $keep --name web --publish 8080:80 lab/busybox:1 \
    sh -c 'echo "hello from web" > /www/index.html; exec httpd -f -p 80 -h /www' > /dev/null
# shellcheck disable=SC2086
docker run $keep --name db --network corp --ip 10.77.0.10 --volume corp-data:/data lab/busybox:1 \
    sh -c 'echo "ledger of corp" > /data/ledger.txt; exec sleep 1000000000' > /dev/null
# shellcheck disable=SC2086
docker run $keep --name hostnet --network host lab/busybox:1 sleep 1000000000 > /dev/null
sync
