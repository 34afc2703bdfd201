# Runs in a stock host: a bad configuration as somebody in a hurry leaves it. Every bit of it survives a reboot.
set -eu

# It audits, but nothing of Docker's.
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends auditd > /dev/null 2>&1

echo '{"defaultAction": "SCMP_ACT_ALLOW"}' > /etc/docker/seccomp-allow.json
cat > /etc/docker/daemon.json <<'CONF'
{
  "hosts": ["fd://", "tcp://127.0.0.1:2375"],
  "insecure-registries": ["registry.corp.example:5000"],
  "seccomp-profile": "/etc/docker/seccomp-allow.json"
}
CONF
# The unit's own -H and the file's hosts exclude each other: whoever opens the TCP port meets this and does as follows.
mkdir -p /etc/systemd/system/docker.service.d /etc/systemd/system/docker.socket.d
cat > /etc/systemd/system/docker.service.d/override.conf <<'CONF'
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd --containerd=/run/containerd/containerd.sock
CONF
printf '[Socket]\nSocketMode=0666\n' > /etc/systemd/system/docker.socket.d/open.conf

useradd --create-home --shell /bin/bash --groups docker mallory
mkdir -p ~mallory/.ssh
cp ~ops/.ssh/authorized_keys ~mallory/.ssh/
chown -R mallory: ~mallory/.ssh

cat > /etc/sysctl.d/99-zz-tuning.conf <<'CONF'
# makes perf and strace work for everybody
kernel.dmesg_restrict=0
kernel.kptr_restrict=0
kernel.yama.ptrace_scope=0
kernel.unprivileged_bpf_disabled=0
kernel.perf_event_paranoid=-1
# from a checklist for hosts without containers; Docker turns it on for itself
net.ipv4.ip_forward=0
CONF
sysctl -q -p /etc/sysctl.d/99-zz-tuning.conf

# Without the parser Docker 26 runs containers unconfined, without a word; 20.10 runs none at all, so there somebody
# has switched AppArmor off.
if grep -q '^VERSION_ID="12"' /etc/os-release; then
    sed -i 's/^GRUB_CMDLINE_LINUX="/&apparmor=0 /' /etc/default/grub
    update-grub > /dev/null 2>&1
    touch /run/reboot-required
    exit
fi

systemctl daemon-reload
systemctl stop docker.service
systemctl restart docker.socket
systemctl start docker.service
until docker -H tcp://127.0.0.1:2375 version > /dev/null 2>&1; do sleep 0.5; done
sync
