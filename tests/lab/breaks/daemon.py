"""Docker's daemon, with other settings or stopped, and what the next boot starts otherwise."""

from __future__ import annotations

from tests.lab.breaks.row import DAEMON_JSON, UNITS, WIDE, Break, fails
from tests.lab.breaks.sysctls import control

DAEMON_KEYS = ("log-opts", "default-ulimits", "default-address-pools", "insecure-registries", "no-tcp", "live-restore")
WRONG_DAEMON_JSON = """{
  "hosts": ["fd://", "tcp://127.0.0.1:2375"],
  "insecure-registries": ["registry.corp.example:5000"],
  "seccomp-profile": "unconfined",
  "log-driver": "local",
  "log-opts": {"max-size": "1g"}
}"""
DAEMON = (
    Break(
        how="Docker runs with another daemon.json, on another port too",
        script=f"""
mkdir -p {UNITS}/docker.service.d
printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd\\n' >{UNITS}/docker.service.d/break.conf
cat >{DAEMON_JSON} <<'CONF'
{WRONG_DAEMON_JSON}
CONF
systemctl daemon-reload
systemctl restart docker""",
        says=fails(
            *(f"docker.{name}" for name in DAEMON_KEYS),
            *("seccomp.default-profile", "userns.docker-remap", "networks.icc", "cgroups.docker-parent"),
        ),
    ),
    Break(
        how="hullproof's table of bridges is asleep",
        script="nft add table bridge hullproof '{ flags dormant; }'",
        says=fails("networks.antispoof"),
    ),
    Break(
        how="a condition keeps the unit that loads hullproof's tables from starting",
        script=f"""
mkdir -p {UNITS}/hullproof-networks.service.d
printf '[Unit]\\nConditionPathExists=/nowhere\\n' >{UNITS}/hullproof-networks.service.d/break.conf
systemctl daemon-reload""",
        says=fails("networks.host-services"),
        undo=f"rm {UNITS}/hullproof-networks.service.d/break.conf; systemctl daemon-reload",
    ),
    Break(
        how="docker-default was replaced by a profile that allows all",
        script=f"""{WIDE.replace("break-wide", "docker-default")} | apparmor_parser -r""",
        says=fails("apparmor.docker-profile"),
        undo="printf docker-default >/sys/kernel/security/apparmor/.remove; systemctl restart docker",
    ),
)
BOOT = (
    Break(
        how="Docker was stopped, and daemon.json is no JSON",
        script=f"systemctl stop docker.socket docker; cp -p {DAEMON_JSON} /root/kept; echo '{{' >>{DAEMON_JSON}",
        says=fails("docker.running", "docker.daemon-json"),
        undo=f"cat /root/kept >{DAEMON_JSON}",
    ),
    Break(
        how="the service that applies the files of sysctl.d is masked",
        script=f"ln -s /dev/null {UNITS}/systemd-sysctl.service",
        says=fails(*map(control, ("kernel.dmesg_restrict", "kernel.kptr_restrict", "fs.protected_symlinks"))),
        undo=f"rm {UNITS}/systemd-sysctl.service",
        names="systemd-sysctl.service",
    ),
    Break(
        how="GRUB's custom.cfg starts an entry of its own, without protections",
        script="""
cat >/boot/grub/custom.cfg <<CONF
menuentry 'mine' --id mine {
	linux $(ls /boot/vmlinuz-* | tail -n 1) root=$(findmnt -no SOURCE /) ro apparmor=0 mitigations=off
}
set default=mine
CONF""",
        says=fails("kernel.weakening-parameters", "apparmor.enabled"),
        undo="rm /boot/grub/custom.cfg",
    ),
    Break(
        how="a rule before hullproof's has auditd record nothing",
        script="printf -- '-a never,exit -S all\\n' >/etc/audit/rules.d/10-break.rules",
        says=fails("audit.engine-files"),
        undo="rm /etc/audit/rules.d/10-break.rules",
        names="never,exit",
    ),
)
