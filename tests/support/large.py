"""Hosts of which one part is large: blocks for the sections of a survey, in the place of those that were recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from facts.networks.networks import RULES_FILE

ROWS = 10_000
Blocks = dict[str, str]
Sections = dict[str, Blocks]


def rows(template: str, count: int = ROWS) -> str:
    """A line for each number: `#` is the number, `@` it in twelve digits, `^` it as an id of Docker's."""
    return "".join(
        template.replace("^", f"{n:064x}").replace("@", f"{n:012d}").replace("#", str(n)) + "\n" for n in range(count)
    )


def listing(make: Callable[[int], Any], count: int = ROWS) -> str:
    return json.dumps([make(n) for n in range(count)])


def answer(path: str, make: Callable[[int], Any]) -> str:
    """Of Incus's API."""
    return f'{{"status_code": 200, "metadata": {listing(make)}}}\n\n@http://daemon/1.0/{path}?recursion=1\n'


def bridge_and_port(n: int) -> dict[str, Any]:
    """Every second device is a bridge, the one after it its port."""
    if n % 2:
        kind: dict[str, Any] = {"info_kind": "veth", "info_slave_kind": "bridge", "info_slave_data": {}}
        return {"ifindex": n, "ifname": f"veth{n}", "master": f"br-{n // 2:012d}", "flags": ["UP"], "linkinfo": kind}
    address = {"local": f"10.{n >> 8 & 255}.{n & 255}.1", "prefixlen": 24}
    kind = {"info_kind": "bridge", "info_data": {"vlan_filtering": 1}}
    return {"ifindex": n, "ifname": f"br-{n // 2:012d}", "flags": ["UP"], "addr_info": [address], "linkinfo": kind}


def ports_of_one(bridge: str) -> str:
    data = {"vlan_filtering": 1, "vlan_default_pvid": 0}
    devices: list[dict[str, Any]] = [
        {"ifindex": 1, "ifname": bridge, "flags": ["UP"], "linkinfo": {"info_kind": "bridge", "info_data": data}}
    ]
    kind = {"info_kind": "veth", "info_slave_kind": "bridge", "info_slave_data": {"isolated": False}}
    for n in range(ROWS):
        port = {"ifindex": n + 2, "ifname": f"v{n}", "master": bridge, "flags": ["UP"], "linkinfo": kind}
        devices.append({**port, "link_netnsid": n})
    return json.dumps(devices)


def containers(label: str = "docker-default (enforce)") -> Sections:
    """Docker's, each with a filter of its own: what Docker says of them, and what their files and processes show."""
    host = {"auto_remove": False, "privileged": False, "network_mode": "bridge", "pid_mode": "", "userns_mode": "",
            "security_opt": None, "cap_add": None, "devices": []}  # fmt: skip
    row = {"id": "^", "name": "/c#", "status": "running", "started": "2026", "host": host, "networks": {"bridge": {}}}
    status = "CapEff:\tff", "CapBnd:\tff", "NoNewPrivs:\t0", "Seccomp:\t2"
    names = "cgroup", "ipc", "mnt", "net", "pid", "user", "uts"
    files = {
        "containers": rows("docker 0 1# ^ /run/b#"),
        "filters": rows('/run/b#/config.json {"defaultAction":"SCMP_ACT_ALLOW","n":#}'),
        "processes.status": rows("\n".join([*(f"/proc/1#/status:{line}" for line in status),
                                            "/proc/1#/uid_map: 0 0 4294967295"])),
        "processes.label": rows(f"/proc/1#/attr/current:{label}"),
        "processes.spaces": "".join(f"/proc/1/ns/{name} {name}:[7]\n" for name in names)
                            + rows("\n".join(f"/proc/1#/ns/{name} {name}:[8#]" for name in names)),
        "processes.mounts": rows("/proc/1#/mountinfo:9 8 254:1 /etc /x rw - ext4 /dev/vda1 rw"),
        "processes.cgroup": rows("/proc/1#/cgroup:0::/docker/^"),
    }  # fmt: skip
    return {"containers": files, "docker": {"inspect": rows('{"pid":1#,' + json.dumps(row)[1:])}}


def networks() -> Sections:
    """Docker's, each with a bridge, containers on it, and its rules in iptables and in our own tables."""
    ipam = {"Config": [{"Subnet": "10.9.0.0/16"}]}
    row = {"Name": "n#", "Id": "^", "Driver": "bridge", "Internal": False, "IPAM": ipam,
           "Options": {"com.docker.network.bridge.name": "br-@"},
           "Containers": {"a": {"Name": "a#"}, "b": {"Name": "b#"}}}  # fmt: skip
    rules = rows("-A FORWARD -o br-@ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
                 "-A FORWARD -o br-@ -j DOCKER\n-A FORWARD -i br-@ ! -o br-@ -j ACCEPT\n"
                 "-A FORWARD -i br-@ -o br-@ -j ACCEPT")  # fmt: skip
    known = ", ".join(f'"veth{n}"' for n in range(ROWS))
    ours = "".join([
        f"table bridge hullproof {{\n\tset known {{\n\t\ttype ifname\n\t\telements = {{ {known} }}\n\t}}\n\n",
        "\tchain forward {\n\t\ttype filter hook forward priority 0; policy accept;\n",
        rows('\t\tmeta ibrname "br-@" drop'), "\t}\n}\n",
    ])  # fmt: skip
    led = "".join([
        "table inet hullproof {\n\tchain input {\n\t\ttype filter hook input priority -1; policy accept;\n",
        rows('\t\tiifname "br-@" goto to-host'), "\t}\n\n\tchain to-host {\n\t\tdrop\n\t}\n}\n",
    ])  # fmt: skip
    tables = {"ours": ours, "inet": led, RULES_FILE: ours + led, "tables": "table bridge hullproof {\n"}
    rest = {"filter4": iptables(rules), "filter6": iptables(rules), "addr": listing(bridge_and_port, 2 * ROWS)}
    return {"docker": {"inspect": rows(json.dumps(row))}, "networks": tables | rest}


def iptables(rules: str) -> str:
    return f"*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n{rules}COMMIT\n"


def switch() -> str:
    """Open vSwitch's three tables: a bridge, its ports and their devices."""
    ports = [["uuid", f"p{n}"] for n in range(ROWS)]
    tables: list[dict[str, Any]] = [
        {"headings": ["name", "fail_mode", "ports"], "data": [["s0", "secure", ["set", ports]]]},
        {"headings": ["_uuid", "name", "interfaces", "tag", "trunks", "vlan_mode", "protected"],
         "data": [[["uuid", f"p{n}"], f"veth{n}", ["uuid", f"i{n}"], 1, ["set", []], ["set", []], False]
                  for n in range(ROWS)]},
        {"headings": ["_uuid", "name", "type", "ofport", "ofport_request"],
         "data": [[["uuid", f"i{n}"], f"veth{n}", "", n, n] for n in range(ROWS)]},
    ]  # fmt: skip
    return "\n".join(map(json.dumps, tables))


def processes(n: int) -> list[dict[str, str]]:
    return [{"profile": f"p{n}", "status": "unconfined"}]


DENIAL = 'audit: type=1400 audit(1700000#.123:#): apparmor="DENIED" operation="open" profile="p#" name="/#" comm="c#"'
ADDRESS = {"networks": {
    "addr": listing(lambda n: {"ifname": f"e{n}", "addr_info": [
        {"local": f"10.{n >> 8 & 255}.{n & 255}.1", "prefixlen": 32}]}),
    "route4": listing(lambda n: {"dst": f"10.{n >> 8 & 255}.{n & 255}.0/24", "dev": f"e{n}"}),
}}  # fmt: skip
# A table that never says who may pass: chains of a tree, each met from above.
TREE = "-A FORWARD -j C0\n" + "".join(f"-A C{n} -j C{2 * n + 1}\n-A C{n} -j C{2 * n + 2}\n" for n in range(ROWS // 2))
# Each rule leads twice to the next chain: two to the power of their number ways.
LADDER = "-A FORWARD -j C0\n" + "".join(f"-A C{n} -j C{n + 1}\n" * 2 for n in range(ROWS))

LARGE: Mapping[str, Sections] = {
    "subordinate ids": {"userns": {"/etc/subuid": rows("u#:100000:65536"), "/etc/subgid": rows("u#:#000:65536")}},
    "subordinate ids of one owner": {"userns": {"/etc/subuid": rows("a:#00000:65536"), "/etc/subgid": "root:1:9\n"}},
    "users": {"userns": {"passwd": "root:0\n" + rows("u#:1#"), "group": "root:0\n" + rows("g#:1#")}},
    "mapped ids": {"userns": {"uid_map": rows("0 1#00000 65536"), "gid_map": rows("0 1#00000 65536")}},
    "machines, LXC and libvirt": {"userns": {"machines": rows("1#000000 1#000000 /var/lib/machines/m#"),
                                    "settings": rows("/var/lib/lxc/c#/config:lxc.idmap = u 0 #00000 65536")
                                    + rows("/etc/libvirt/lxc/d#.xml:<gid start='0' target='#00000' count='65536'/>")}},
    "containers of LXC": {"lxc": {
        "configs": rows("/var/lib/lxc/c#/config"), "included": "/usr/share/lxc/config/",
        "made": rows("/var/lib/lxc/c#/config:1:lxc.include = /usr/share/lxc/config/"),
        "settings": rows("/usr/share/lxc/config/f#:1:lxc.cap.drop = bpf")}},
    "instances of Incus": {"incus": {
        "sockets": "/var/lib/incus", "running": "incusd", "api /var/lib/incus": "".join((
            answer("certificates", lambda n: {"name": f"o{n}", "fingerprint": f"{n:012}"}),
            answer("profiles", lambda n: {"name": f"p{n}", "config": {"raw.lxc": str(n)}}),
            answer("instances", lambda n: {"name": f"c{n}", "expanded_config": {"raw.lxc": str(n)}}),
        ))}},
    "bridges with a port each": {"networks": {"addr": listing(bridge_and_port)},
                                 "bridges": {"links": listing(bridge_and_port)}},
    "ports on one bridge": {
        "networks": {"addr": ports_of_one("br-web"),
                     "vlan": listing(lambda n: {"ifname": f"v{n}", "vlans": [{"vlan": 10}]})},
        "bridges": {"links": ports_of_one("br-web"), "named": listing(lambda n: {"nsid": n, "name": f"ns{n}"})}},
    "addresses and routes": ADDRESS,
    "VLANs": {"networks": {"vlan": listing(lambda n: {"ifname": f"v{n}", "vlans": [{"vlan": 1, "vlanEnd": 4094}]})}},
    "networks of Docker": networks(),
    "containers": containers(),
    "iptables: chains": {"networks": {"filter4": iptables(TREE), "filter6": iptables(TREE)}},
    "iptables: a chain in a chain": {"networks": {"filter4": iptables(LADDER)}},
    "iptables: rules": {"networks": {"filter4": iptables(rows('-A FORWARD -m comment --comment "it\\"s #" -s 10.#/32')),
                                     "filter6": iptables(rows("-A INPUT -p udp -m udp --dport # -j ACCEPT"))}},
    "nft: chains that do not end": {"networks": {
        "ours": "table bridge hullproof {\n" + rows("\tchain c# {\n\t\tdrop"),
        RULES_FILE: "\tset known {\n\t\ttype ifname\n\t\telements = {" * ROWS}},
    "nft: our rules": {"bridges": {"ours": rows('\t\tiifname "v#" drop'),
                                   "/run/hullproof/bridges.nft": rows('\t\tiifname "w#" drop')}},
    "nft: guards": {"networks": {"tables": rows(
        "table ip t# {\n\tchain c# {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}")}},
    "listeners and members": {"docker": {
        "listeners": rows('LISTEN 0 4096 0.0.0.0:# 0.0.0.0:* users:(("dockerd",pid=1,fd=#))'),
        "group": "docker:x:1:" + ",".join(f"u{n}" for n in range(ROWS)) + "\n",
        "groups": "root:x:0:\n" + rows("g#:x:1:v#"), "users": "root:0\n" + rows("w#:1"),
        "naming": rows("/proc/#/cmdline"), "sudoers": rows("/etc/sudoers:s# ALL = NOPASSWD: /usr/bin/docker, /bin/#")}},
    "files that others may change": {"files": {
        "watched": rows("/etc/hullproof/#/f"), "listed": rows("-rw-rw-rw-+ 1 u g 0  /etc/hullproof/#/f"),
        "acls": rows("# file: /etc/hullproof/#/f\nuser:u:rw-\n")}},
    "files of Docker": {"docker": {"files": rows("666 u g 179 regular file|/etc/docker/certs.d/#/ca.crt")}},
    "keys of daemon.json": {"docker": {"/etc/docker/daemon.json": json.dumps({f"k{n}": n for n in range(ROWS)})}},
    "what Docker holds": {"docker": {"volumes": rows("v#"), "layers": rows("#"), "images": json.dumps(
        {"Repositories": {f"r{n}": {f"r{n}:1": "sha256:0"} for n in range(ROWS)}})}},
    "modules": {"kernel": {"modules": rows("m#"), "modprobe": rows("/etc/modprobe.d/f#.conf:blacklist m#"),
                           "built": rows("/lib/modules/#/updates/dkms/m#.ko"),
                           "livepatch": rows("/sys/kernel/livepatch/p#/enabled:1")}},
    "kernels": {"kernel": {
        "dpkg": rows("ii |linux-image-6.12.#-cloud-amd64|6.12.#-1|amd64|"), "images": rows("vmlinuz-#"),
        "policy": rows("linux-image-6.12.#-cloud-amd64:\n  Installed: 6.12.#-1\n  Candidate: 6.12.#-2"),
        "apt": rows("Package: linux-image-6.12.#-cloud-amd64\nVersion: 6.12.#-1"),
        "/var/lib/hullproof/boot/rejected": rows("6.12.#-cloud-amd64 6.12.#-1")}},
    "boot entries": {"kernel": {"menu /boot/grub": 'set default="9999"\n' + rows(
        "menuentry '#' --class x $menuentry_id_option 'id#' {\n\tlinux /boot/vmlinuz-# root=/dev/sda1 quiet\n}")}},
    "sysctls": {"kernel": {"/etc/sysctl.d/50-many.conf": rows("net.ipv4.conf.e#.rp_filter = 0"),
                           "/etc/sysctl.d/60-globs.conf": rows("net.ipv4.conf.*#.rp_filter = 0\nkernel.*# = 1"),
                           "sysctl": rows("/proc/sys/kernel/x#:#\n/proc/sys/kernel/y:#")}},
    "sysctl files": {"kernel": {f"/etc/sysctl.d/{n}.conf": "kernel.dmesg_restrict = 0\n" for n in range(ROWS)}},
    "AppArmor profiles": {"apparmor": {
        "/sys/kernel/security/apparmor/profiles": rows("p# (enforce)"),
        "declared": rows("/etc/apparmor.d/f#:profile p# {"),
        "complain": rows("/etc/apparmor.d/one:profile p# flags=(complain) {"),
        "status": json.dumps({"processes": {f"/bin/p{n}": processes(n) for n in range(ROWS)}})}},
    "KVM": {"kvm": {
        "device": "crw-rw---- 1 0 104 10, 232 Nov 30 22:30 /dev/kvm", "nested": "kvm_intel=Y " * ROWS,
        "accounts": rows("/etc/group:g#:x:104:u#,v#"), "options": rows("/etc/modprobe.d/#.conf:options kvm nested=1")}},
    "libvirt: domains and keys": {"libvirt": {
        "domains": rows(
            "/etc/libvirt/lxc/c#.xml:<domain type='lxc'>\n/etc/libvirt/lxc/c#.xml:<name>c#</name>\n"
            "/etc/libvirt/lxc/c#.xml:<interface type='network'>\n/etc/libvirt/lxc/c#.xml:<filterref filter='f#'/>"),
        "networks": rows(
            "/etc/libvirt/nwfilter/f.xml:<filter name='f#'>\n/etc/libvirt/nwfilter/f.xml:<filterref filter='f#'/>"),
        "/etc/libvirt/qemu.conf": rows('k# = [ "a", "b" ]'), "/etc/libvirt/lxc.conf": '"""' * ROWS}},
    "audit rules": {"audit": {
        "rules": rows("-w /etc/d# -p wa -k k#"),
        "/etc/audit/rules.d/many.rules": rows("-a always,exit -F path=/etc/d# -F perm=wa -F key=k#")}},
    "denials": {"denials": {"kernel": f"[    0.000000] Linux version 6\n{rows(DENIAL)}"}},
    "devices of network managers": {"bridges": {
        "networkd": rows("/run/systemd/netif/links/#:ADMIN_STATE=configured"), "ifstate": rows("e#=e#"),
        "interfaces": rows("/etc/network/interfaces:iface e# inet dhcp"), "links": listing(bridge_and_port),
        "subnets": rows('/etc/containers/networks/n#.json: "subnet": "10.9.0.0/16"')}},
    "Open vSwitch": {"bridges": {"links": listing(bridge_and_port), "switches": switch()}},
    "what hullproof left": {"record": {
        "journal 1": '{"id":"1","kind":"harden","started":"x"}\n'
                     + rows('# 1 0 {"subject":"kernel","what":"x","kind":"file"}\t/etc/#\t'),
        "written": rows("^ /etc/#"), "digests": rows("^  /etc/#"), "owners": rows("1795387497 root /etc/#"),
        "packages": rows("2026-11-22 20:29:43 install p#:amd64 <none> 1")}},
}  # fmt: skip

SELINUX: Mapping[str, Sections] = {
    "SELinux: containers": {**containers(label="system_u:system_r:container_t:s0:c1,c#"), "selinux": {
        "podman": rows("/proc/#/cgroup:libpod-^.scope\n/proc/#/attr/current:system_u:system_r:container_t:s0:c1,c#"),
        "modules": rows("/var/lib/selinux/default/active/modules/100/permissive_d#")}},
}  # fmt: skip
