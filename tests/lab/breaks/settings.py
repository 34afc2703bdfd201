"""What is changed live, and in files that count later; the kernel's settings are with each."""

from __future__ import annotations

from tests.lab.breaks.row import DAEMON_JSON, UNITS, Break, fails
from tests.lab.breaks.sysctls import DISK_SYSCTLS, LIVE_SYSCTLS

REMOVE_PROFILE = "printf %s {} >/sys/kernel/security/apparmor/.remove"

LIVE = (
    Break(
        how="a container runs",
        script="docker run -d --memory 32m --pids-limit 50 lab/busybox:1 sleep 1000000",
        says={},
    ),
    LIVE_SYSCTLS,
    Break(how="packets are not forwarded", script="sysctl -qw net.ipv4.ip_forward=0", says=fails("kernel.forwarding")),
    Break(
        how="no address is checked on the way in (rp_filter)",
        script="for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done",
        says=fails("kernel.rp-filter"),
    ),
    Break(
        how="users can make no user namespace",
        script="sysctl -qw user.max_user_namespaces=0",
        says=fails("kernel.user-namespaces", "userns.limits"),
    ),
    Break(
        how="auditd was killed, and its rules were deleted",
        script="systemctl kill auditd; sleep 2; auditctl -D",
        says=fails("audit.running", "audit.engine-files"),
    ),
    Break(
        how="profiles were taken out of the kernel",
        script="\n".join(REMOVE_PROFILE.format(name) for name in ("docker-default", "hullproof-container", "lab-tool")),
        says=fails(
            "apparmor.docker-profile",
            "apparmor.container-profile",
            "apparmor.profiles-loaded",
            "apparmor.profiles-enforced",
        ),
    ),
    Break(
        how="a user was added to the group docker",
        script="usermod -aG docker mallory",
        says=fails("docker.group-members"),
        names="mallory",
    ),
    Break(
        how="the group docker is a user's primary group",
        script="useradd -g docker trudy",
        says=fails("docker.group-members"),
        undo="usermod -g nogroup trudy",
        names="trudy",
    ),
    Break(
        how="a second group has the number of docker's",
        script="groupadd -o -g $(getent group docker | cut -d: -f3) twin; useradd -N -G twin oscar",
        says=fails("docker.group-members"),
        undo="userdel oscar; groupdel twin",
        names="oscar",
    ),
    Break(
        how="everybody may write daemon.json, runc, files of hullproof's, and the folder with all of Docker's data",
        script=f"chmod 0666 {DAEMON_JSON} /etc/hullproof/networks.nft; chmod 0777 /usr/sbin/runc /var/lib/docker\n"
        "chmod 0666 /etc/sysctl.d/*hullproof* /etc/udev/rules.d/*hullproof*",
        says=fails("docker.file-modes", "files.own", "files.engines"),
    ),
    Break(
        how="a user may run docker with sudo",
        script="mkdir -p /etc/sudoers.d; echo 'mallory ALL=(root) NOPASSWD: /usr/bin/docker' >/etc/sudoers.d/break",
        says=fails("docker.sudo"),
        undo="rm /etc/sudoers.d/break",
    ),
    Break(
        how="a unit passes connections on to Docker's socket",
        script=f"""
printf '[Socket]\\nListenStream=127.0.0.1:2376\\n' >{UNITS}/break.socket
printf '[Service]\\nExecStart=/usr/lib/systemd/systemd-socket-proxyd /run/docker.sock\\n' >{UNITS}/break.service
systemctl daemon-reload; systemctl start break.socket""",
        says=fails("docker.relays"),
        undo=f"systemctl stop break.socket break.service; rm {UNITS}/break.socket {UNITS}/break.service",
    ),
    Break(
        how="the tree of control groups was mounted without options, as lxcfs does",
        script="mount -t cgroup2 -o remount,rw none /sys/fs/cgroup",
        says=fails("cgroups.delegation"),
    ),
    Break(
        how="hullproof's tables were deleted from the kernel",
        script="nft delete table bridge hullproof; nft delete table inet hullproof",
        says=fails("networks.icc", "networks.host-services", "networks.antispoof"),
    ),
    # The last one: with the next unit that starts, systemd writes them again.
    Break(
        how="the slice of containers has lost its limits",
        script="cd /sys/fs/cgroup/machine.slice && echo max >memory.max && echo max >pids.max && echo 100 >cpu.weight",
        says=fails("cgroups.memory", "cgroups.pids", "cgroups.cpu"),
    ),
)

BOOT_WORDS = (
    "slab_nomerge", "init_on_alloc", "page_alloc.shuffle", "randomize_kstack_offset", "vsyscall", "lockdown", "debugfs",
)  # fmt: skip
# Of words that the kernel has on by itself, another value.
WEAK_WORDS = "apparmor=0 nokaslr init_on_alloc=0 randomize_kstack_offset=off vsyscall=emulate"
CHANGED = {
    "live-restore": "false", "userland-proxy": "true", "log-driver": '"journald"', "no-new-privileges": "false",
}  # fmt: skip
ADDED = {"log-level": '"debug"', "iptables": "false", "experimental": "true"}
ELSE = "; ".join(f"""s/"{key}": [^,]*/"{key}": {value}/""" for key, value in CHANGED.items())
MORE = ", ".join(f'"{key}": {value}' for key, value in ADDED.items())
DISK = (
    DISK_SYSCTLS,
    Break(
        how="the next boot's command line has lost hullproof's words, and others switch protections off",
        script="rm -f /etc/default/grub.d/*hullproof*\n"
        f"echo 'GRUB_CMDLINE_LINUX_DEFAULT=\"quiet {WEAK_WORDS}\"' >/etc/default/grub.d/zz-break.cfg\n"
        "update-grub 2>/dev/null",
        says=fails("apparmor.enabled", "kernel.weakening-parameters", *(f"kernel.boot.{name}" for name in BOOT_WORDS)),
        undo="rm /etc/default/grub.d/zz-break.cfg; update-grub 2>/dev/null",
    ),
    Break(
        how="daemon.json has other values",
        script=f"sed -i -e '{ELSE}' -e '0,/{{/s//{{ {MORE},/' {DAEMON_JSON}",
        says=fails(*(f"docker.{name}" for name in (*CHANGED, *ADDED))),
    ),
    Break(
        how="the file of audit rules was removed",
        script="rm -f /etc/audit/rules.d/*hullproof*; augenrules >/dev/null 2>&1",
        says=fails("audit.engine-files"),
    ),
    Break(
        how="no service loads AppArmor's profiles at boot",
        script="systemctl -q disable apparmor.service",
        says=fails("apparmor.installed"),
    ),
    Break(
        how="the module overlay may not be loaded",
        script="echo 'install overlay /bin/false' >/etc/modprobe.d/break.conf",
        says=fails("kernel.overlay"),
        undo="rm /etc/modprobe.d/break.conf",
    ),
    Break(
        how="two owners have the same subordinate ids",
        script="grep dockremap /etc/subuid | sed 's/dockremap/mallory/' >>/etc/subuid",
        says=fails("userns.ranges"),
        undo="sed -i /mallory/d /etc/subuid",
    ),
    Break(
        how="the unit and the file that load hullproof's tables at boot were removed",
        script="systemctl -q disable hullproof-networks.service; rm -f /etc/hullproof/networks.nft",
        says=fails("networks.host-services", "networks.antispoof"),
    ),
    # The last one: `systemctl disable` has systemd read its files again.
    Break(
        how="drop-ins that systemd has not read open the API to the network and to everybody",
        script=f"""
mkdir -p {UNITS}/docker.service.d {UNITS}/docker.socket.d
printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2375\\n' \\
  >{UNITS}/docker.service.d/zzz-break.conf
printf '[Socket]\\nSocketMode=0666\\n' >{UNITS}/docker.socket.d/zzz-break.conf""",
        says=fails("docker.no-tcp", "docker.file-modes"),
        undo=f"rm {UNITS}/docker.s*.d/zzz-break.conf; systemctl daemon-reload",
    ),
)
