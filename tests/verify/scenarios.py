"""What is tried, and where: each scenario is one script, with the attempts of several proofs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from deploys.bridges.rules import BridgeNetwork, BridgesRules, Prefix
from deploys.engines.lxc.rules import LxcRules
from deploys.engines.nspawn.rules import NspawnRules
from deploys.engines.podman.rules import PodmanRules
from deploys.engines.rootless.rules import RootlessRules
from tests.verify.probe import AS_NOBODY, HERE, ORDINARY, Attempt, CannotTell, Outcomes, Prober, agenda

PORT = "7777"  # where a probe container listens, in its own network namespace
SERVICE = "7778"  # where the host listens for containers, at its addresses on their networks
MOST_FORKS, MOST_BYTES = 512, 256 << 20  # what an attempt may take of a host
SPARE = 16 << 20
LIMITED: dict[str, type[PodmanRules | LxcRules | NspawnRules]] = {
    "podman": PodmanRules,
    "lxc": LxcRules,
    "nspawn": NspawnRules,
}
FORGED = "198.51.100.7"  # nobody's (RFC 5737), as is where it is sent to
NOBODY_THERE = "203.0.113.2"

# Each call's numbers (x86_64, aarch64) and arguments. All but unshare are given arguments that the kernel itself
# answers with EINVAL, EFAULT, EBADF or ENOKEY before it asks for any capability: EPERM comes from the filter alone.
SYSTEM_CALLS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "unshare": (272, 97, (0x10000000,)),  # CLONE_NEWUSER
    "setns": (308, 268, (-1, 0)),
    "keyctl": (250, 219, (0, -1, 0)),  # KEYCTL_GET_KEYRING_ID of the thread
    "add_key": (248, 217, (0, 0, 0, 0, 0)),
    "mount": (165, 40, (0, 0, 0, 0, 0)),
    "userfaultfd": (323, 282, (0x40000001,)),  # UFFD_USER_MODE_ONLY, which needs no privilege, and no such flag
    "perf_event_open": (298, 241, (0, 0, -1, -1, -1)),
    "io_uring_setup": (425, 425, (0, 0)),
}


# What stands on the host for what is its own: a process, a mount and a piece of shared memory (see containers.sh).
# Where an agenda says i:PID, the script puts the number that this process has on the host.
SENTINEL = "hp-sentinel"
SHARED_MEMORY = 0x68705342  # a key of System V's (shmget(2))
SEEN = {
    "process": 'for f in /proc/[0-9]*/comm; do read -r c <"$f" && '
    f"case $c in {SENTINEL}) echo seen ;; esac; done 2>/dev/null; :",
    "mount": f"while read -r line; do case $line in {SENTINEL}*) echo seen ;; esac; done </proc/self/mounts",
}


def attempt(name: str, verb: str, *arguments: str) -> Attempt:
    return Attempt(name, verb, arguments)


def call(prober: Prober, name: str, numbers: tuple[int, int], *arguments: str) -> Attempt:
    """A system call; arguments as in attempt.pl: i:NUMBER, s:STRING, x:BYTES in hexadecimal."""
    return attempt(name, "call", prober.number(*numbers), *arguments)


def system_calls(prober: Prober, prefix: str) -> list[Attempt]:
    return [
        call(prober, prefix + name, (x86_64, aarch64), *(f"i:{number}" for number in arguments))
        for name, (x86_64, aarch64, arguments) in SYSTEM_CALLS.items()
    ]


def shared_memory(prober: Prober, name: str, flags: int = 0) -> Attempt:
    return call(prober, name, (29, 194), f"i:{SHARED_MEMORY}", "i:4096", f"i:{flags}")  # of shmget(2)


def of_the_hosts(prober: Prober, prefix: str) -> list[Attempt]:
    """What only who shares the host's namespaces finds."""
    seen = [attempt(f"{prefix}hosts-{what}", "exec", "/bin/sh", "-c", script) for what, script in SEEN.items()]
    signal = call(prober, f"{prefix}hosts-signal", (62, 129), "i:PID", "i:0")  # of kill(2), which sends nothing
    memory = shared_memory(prober, f"{prefix}hosts-memory")
    return [*seen, memory, signal, attempt(f"{prefix}hosts-name", "read", "/proc/sys/kernel/hostname")]


def limits(prober: Prober, engine: str) -> list[Attempt]:
    """What goes past a container's limits, where the policy sets them so low that a host in use does not suffer."""
    rules = LIMITED.get(engine)
    if rules is None:
        return []
    pids, memory = prober.policy[rules].pids, prober.policy[rules].memory
    most = [attempt("forks", "forks", str(pids + 1))] if pids and pids <= MOST_FORKS else []
    return [*most, attempt("fill", "fill", str(memory + SPARE))] if memory and memory <= MOST_BYTES else most


def unaided(prober: Prober) -> list[Attempt]:
    """What is tried in a container that was made without a word. /scratch is a folder to which its root may write."""
    ordinary = f"setpriv --reuid={ORDINARY} --regid={ORDINARY} --clear-groups"
    setuid = f"exec 2>&1; cd /scratch && cp /usr/bin/id . && chmod 4755 id && exec {ordinary} /scratch/id -u"
    disk = ("s:/scratch/disk", f"i:{0o60600}", f"i:{8 << 8}")  # S_IFBLK; major 8, minor 0: a host's first disk
    return [
        attempt("uid_map", "read", "/proc/self/uid_map"),
        attempt("secret", "read", "/kept/secret"),
        attempt("setuid", "exec", "/bin/sh", "-c", setuid),
        *system_calls(prober, "container:"),
        *of_the_hosts(prober, "container:"),
        call(prober, "raw_socket", (41, 198), "i:2", "i:3", "i:1"),  # AF_INET, SOCK_RAW, IPPROTO_ICMP
        call(prober, "mknod", (259, 33), "i:-100", *disk),  # of mknodat(2); AT_FDCWD
    ]


def outside(prober: Prober) -> dict[str, str]:
    """The stage (stage.sh), and for comparison what the host's own root tries there (`host:…`)."""
    attempts = [
        *system_calls(prober, "host:"),
        shared_memory(prober, "made-memory", 0o1600),  # IPC_CREAT; with kernel.shm_rmid_forced it goes with who made it
        *of_the_hosts(prober, "host:"),
        attempt("io_uring_disabled", "read", "/proc/sys/kernel/io_uring_disabled"),
        attempt("first", "read", "/proc/1/attr/current"),
    ]
    return {"outside": agenda(attempts), "sentinel": SENTINEL, "memory": hex(SHARED_MEMORY)}


def containers(prober: Prober, engine: str) -> Outcomes:
    """What is tried in containers of Docker's or Podman's, which speak alike, on networks."""
    prober.version(engine)
    plain = [
        *unaided(prober),
        call(prober, "packet_socket", (41, 198), "i:17", "i:3", "i:768"),  # AF_PACKET, SOCK_RAW, ETH_P_ALL
        attempt("own_file", "read", "/own/file"),
        *limits(prober, engine),
        attempt("listen", "listen", PORT),
    ]
    loose = [
        call(prober, "mount", (165, 40), "s:none", "s:/probe", "s:tmpfs", "i:0", "i:0"),
        attempt("core_pattern", "rewrite", "/proc/sys/kernel/core_pattern"),
        attempt("sysrq", "write", "/proc/sysrq-trigger", ""),  # which opens it, and writes nothing
        attempt("siblings_file", "read", "/siblings/file"),
        attempt("hosts_file", "read", "/host/file"),
        attempt("forged", "forge", FORGED, NOBODY_THERE, "forged"),
        attempt("unforged", "forge", "0.0.0.0", NOBODY_THERE, "own"),  # the kernel gives it the container's own
    ]
    return prober.run(
        "containers.sh",
        "stage.sh",
        f"engines/{engine}.sh",
        "engines/common.sh",
        plain=agenda(plain),
        loose=agenda(loose),
        ear=agenda([attempt("ear", "sniff", "hp-nobody", "own")]),
        port=PORT,
        service=SERVICE,
        **outside(prober),
    )


def alone(prober: Prober, engine: str, **given: str) -> Outcomes:
    """What is tried in a container of another engine's, which has no network: with a proc of its own mounting too."""
    prober.version(engine)
    if not prober.about.copies:
        raise CannotTell("cannot tell: without perl-base nothing can make the attempts in such a container")
    plain = [
        *unaided(prober),
        call(prober, "mount", (165, 40), "s:none", "s:/probe", "s:tmpfs", "i:0", "i:0"),
        call(prober, "proc", (165, 40), "s:none", "s:/mnt", "s:proc", "i:0", "i:0"),
    ]
    for prefix, proc in (("", "/proc"), ("fresh_", "/mnt")):
        plain.append(attempt(f"{prefix}core_pattern", "rewrite", f"{proc}/sys/kernel/core_pattern"))
        plain.append(attempt(f"{prefix}sysrq", "write", f"{proc}/sysrq-trigger", ""))
    plain += limits(prober, engine)
    launcher = f"engines/{engine}.sh"
    found = prober.run("alone.sh", "stage.sh", launcher, plain=agenda(plain), **outside(prober), **given)
    if "forwarding" in found:
        raise CannotTell("cannot tell: for the proof's machine systemd-networkd would switch IP forwarding on")
    return found


def users(prober: Prober) -> dict[str, Outcomes]:
    """What is tried in a container of each user who may run some, by the user's name."""
    prober.version("podman-user")
    names = prober.policy[RootlessRules].users
    if not names:
        raise CannotTell("the policy names no user who may run containers (rootless.users)")
    found = {name: alone(prober, "podman-user", user=name) for name in names}
    there = {name: said for name, said in found.items() if "user" not in said}
    if not there:
        raise CannotTell(f"there is no user {', '.join(names)} here")
    return there


def inside(prober: Prober, engine: str) -> dict[str, Outcomes]:
    """What is tried in containers of an engine, by whose they are; "" is root."""
    if engine == "podman-user":
        return users(prober)
    return {"": containers(prober, engine) if engine in ("docker", "podman") else alone(prober, engine)}


def api(prober: Prober, engine: str) -> Outcomes:
    """Every socket on which an engine listens, tried by nobody."""
    prober.version(engine)
    return prober.run("api.sh", f"api/{engine}.sh", as_nobody=AS_NOBODY)


def frames(prober: Prober, bridges: Iterable[str]) -> Outcomes:
    """Raw frames on these bridges. One that is given with addresses (`br0,10.80.0.254`) gets frames of IP as well."""
    if not any(agent.endswith("perl") for agent in prober.about.agents):
        raise CannotTell("cannot tell: without perl nobody sends raw frames")
    return prober.run("bridges.sh", bridges=" ".join(bridges), frames=(HERE / "frames.pl").read_text())


def bridges(prober: Prober) -> Outcomes:
    """Raw frames on the bridges that the host's policy keeps apart."""
    networks = prober.policy[BridgesRules].networks.values()
    apart = [",".join([net.bridge, *senders(net)]) for net in networks if net.isolate != "none"]
    if not apart:
        raise CannotTell("the policy keeps nobody apart on a bridge")
    return frames(prober, apart)


def senders(net: BridgeNetwork) -> list[str]:
    """What a port that only joined may send from: of each subnet the last address that is no port's, most likely
    nobody's. Frames that antispoof drops never come as far as the isolation. With vlans such a port is in none."""
    if net.vlans:
        return []
    taken = {address for port in net.ports.values() for address in port.addresses}
    found = [text for subnet in net.subnets if (text := _free(ipaddress.ip_network(subnet), taken))]
    # ARP from nobody passes wherever the network is: then it asks for an address of no network (RFC 5737).
    return found if any("." in text for text in found) else [*found, "192.0.2.1"]


def _free(prefix: Prefix, taken: set[str]) -> str | None:
    last = (str(prefix[-number]) for number in range(2, prefix.num_addresses - 1))  # the first one is the host's
    return next((text for text in last if text not in taken), None)


def nobody(prober: Prober) -> Outcomes:
    """What an ordinary user of the host tries against the kernel and against his own other processes."""
    event = "01000000" + "40000000" + "00" * 56  # struct perf_event_attr: the cpu clock, kernel included
    array = "02000000" + "04000000" * 2 + "01000000"  # union bpf_attr: a map of one element
    attempts = [
        call(prober, "syslog", (103, 116), "i:3", "x:" + "00" * 256, "i:256"),  # SYSLOG_ACTION_READ_ALL
        attempt("kmsg", "read", "/dev/kmsg"),
        attempt("kallsyms", "exec", "grep", "-m", "1", "-v", "^0* ", "/proc/kallsyms"),
        call(prober, "bpf", (321, 280), "i:0", f"x:{array}", "i:16"),  # BPF_MAP_CREATE
        call(prober, "perf", (298, 241), f"x:{event}", "i:0", "i:-1", "i:-1", "i:0"),
        call(prober, "ptrace", (101, 117), f"i:{0x4206}", "i:PID", "i:0", "i:0"),  # PTRACE_SEIZE
    ]
    return prober.run("nobody.sh", as_nobody=AS_NOBODY, agenda=agenda(attempts))
