"""Containers that should not run as they do, and networks that let them meet."""

from __future__ import annotations

import shlex

from tests.lab.breaks.row import ALLOW_ALL, WIDE, Break, fails
from tests.lab.breaks.sysctls import control

IMAGE = "lab/busybox:1 sleep 1000000"
BUNDLE = "mkdir -p /srv/bundle/rootfs && cd /srv/bundle && tar -xf /var/lib/lab/busybox.tar -C rootfs"
QUADLETS = "/etc/containers/systemd"
OPENED = ("user-namespace", "capabilities", "seccomp", "confined", "devices", "masks")
OPEN_UNIT = ("[Container]", "Image=x", "Network=host", "UserNS=host", "AddDevice=/dev/vda", "SeccompProfile=unconfined",
             "AppArmor=unconfined", "Unmask=ALL", "PodmanArgs=--cap-add ALL \\", "  --volume /etc:/h")  # fmt: skip
LIMITED = "docker run -d --memory 32m --pids-limit 50"


def started(name: str, how: str, options: str, *controls: str) -> Break:
    """A container with these options, which only its owner removes; `how` completes "a container …"."""
    return Break(
        how=f"a container {how}",
        script=f"{LIMITED} --name {name} {options} {IMAGE}",
        says=fails(*(f"containers.{control}" for control in controls)),
        undo=f"docker rm -f {name}",
        names=name,
    )


CONTAINERS = (
    Break(
        how="the FORWARD policy is ACCEPT",
        script="iptables -P FORWARD ACCEPT",
        says=fails("networks.forwarding"),
    ),
    Break(
        how="a network of a Docker that does not filter IPv6 has IPv6",
        script="docker network create --ipv6 --subnet fd00:6::/64 six",
        says=fails("docker.ip6tables"),
        undo="docker network rm six",
    ),
    Break(
        how="everybody may write the program of a hook, which Podman runs as root with each container",
        script="mkdir -p /etc/containers/oci; cd /etc/containers/oci; cp /bin/true break; chmod 0777 break",
        says=fails("files.engines"),
        names="/etc/containers/oci/break",
    ),
    started("priv", "is privileged", "--privileged --userns host", "privileged", *OPENED),
    started("host", "shares the host's network", "--network host --userns host", "host-namespaces"),
    started("tree", "sees the host's control groups", "--cgroupns host --userns host", "host-namespaces"),
    started("one", "is what the next one joins", ""),
    started("two", "shares another one's processes", "--pid container:one", "joined-namespaces"),
    started("loose", "may gain privileges", "--security-opt no-new-privileges=false", "no-new-privileges"),
    started("etc", "has a folder of the host's", "-v /etc:/hostetc", "mounts"),
    started("cron", "may write what the host's cron runs", "-v /etc/cron.d:/c", "mounts"),
    started("sock", "reaches Docker's socket through a folder that it may only read", "-v /run:/r:ro", "mounts"),
    started("root", "has all of the host's files to read, sockets too", "-v /:/h:ro", "mounts"),
    started(
        "whole",
        "has a volume that is the host's root",
        "-v $(docker volume create --opt type=none --opt o=bind --opt device=/ whole):/h",
        "mounts",
    ),
    started("writer", "has a volume that another one is to have", "-v meet:/m"),
    started("reader", "reads the volume that another one writes", "-v meet:/m:ro", "shared"),
    Break(
        how="a container runs beside the slice of containers",
        script=f"{LIMITED} --name beside --cgroup-parent system.slice {IMAGE}",
        says=fails("cgroups.below"),
        undo="docker rm -f beside",
        names="beside",
    ),
    started("disk", "has the host's disk", "--device /dev/vda", "devices"),
    started("user", "runs as a user who may get capabilities back", "--user 1000 --cap-add SYS_ADMIN", "capabilities"),
    started(
        "open",
        "has a filter of its own that refuses nothing",
        f"--security-opt seccomp=$(echo '{ALLOW_ALL}' >/root/open.json; echo /root/open.json)",
        "seccomp",
    ),
    started(
        "wide",
        "has an AppArmor profile of its own, in enforce mode, that allows all",
        f"--security-opt apparmor=$({WIDE} | apparmor_parser -r && echo break-wide)",
        "confined",
    ),
    Break(
        how="systemd is to start a container by a file of Podman's that keeps nothing from it",
        script=f"mkdir -p {QUADLETS} && printf '%s\\n' {shlex.join(OPEN_UNIT)} >{QUADLETS}/wide.container",
        says=fails(*(f"containers.{name}" for name in (*OPENED, "host-namespaces", "mounts"))),
        undo=f"rm {QUADLETS}/wide.container",
        names="podman:systemd-wide",
    ),
    Break(
        how="a container has no limit of memory",
        script=f"docker run -d --name free {IMAGE}",
        says=fails("containers.limits"),
        undo="docker rm -f free",
        names="free",
    ),
    Break(
        how="redirects are sent by one interface",
        script="for f in /proc/sys/net/ipv4/conf/e*/send_redirects; do echo 1 >$f; done",
        says=fails(control("net.ipv4.conf.all.send_redirects")),
    ),
    Break(
        how="another rule comes before hullproof's and accepts everything",
        script="nft insert rule inet hullproof input accept",
        says=fails("networks.host-services"),
    ),
    Break(
        how="frames are redirected from one container's device to another's",
        script="""
set -- $(ls /sys/class/net | grep veth)
tc qdisc add dev $1 clsact
tc filter add dev $1 ingress protocol all matchall action mirred egress redirect dev $2""",
        says=fails("networks.icc"),
        undo="for d in $(ls /sys/class/net | grep veth); do tc qdisc del dev $d clsact 2>/dev/null; done; :",
    ),
    Break(
        how="Docker runs with a seccomp profile that was put in another's place, and back",
        script=f"""
cd /etc/docker && cp -p hullproof-seccomp.json /root/kept.json && echo '{ALLOW_ALL}' >hullproof-seccomp.json
systemctl restart docker; cp -p /root/kept.json hullproof-seccomp.json""",
        says={"seccomp.default-profile": "pending-restart"},
    ),
    Break(
        how="root runs a second dockerd",
        # With --bridge none it would take the first one's bridge away.
        script="ip link add brk0 type bridge; ip addr add 172.31.255.1/24 dev brk0; ip link set brk0 up; cd /\n"
        "setsid dockerd -H unix:///run/break.sock --data-root /srv/break --exec-root /run/break "
        "--pidfile /run/break.pid --config-file /dev/null --bridge brk0 --iptables=false --ip6tables=false "
        ">/dev/null 2>&1 </dev/null & sleep 20",
        says=fails("docker.other-daemons"),
        undo="kill $(cat /run/break.pid); sleep 5; ip link del brk0",
    ),
    Break(
        how="runc runs a container that no engine knows",
        script=f"""
{BUNDLE} && runc spec
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000000"/' config.json
runc run -d stray </dev/null >/dev/null 2>&1""",
        says=fails("containers.unlisted"),
        undo="runc delete -f stray",
        names="stray",
    ),
    Break(
        how="containerd runs a privileged container in a namespace that is not Docker's",
        script=f"""
{BUNDLE}
ctr -n other run -d --privileged --rootfs /srv/bundle/rootfs aside /bin/sleep 1000000""",
        says=fails("containers.privileged", "containers.seccomp"),
        undo="ctr -n other tasks kill -s KILL aside; sleep 2; ctr -n other containers rm aside",
        names="containerd:other/aside",
    ),
)
