"""What is tried, and where: each scenario is one script, with the attempts of several proofs."""

from __future__ import annotations

from tests.verify.probe import AS_NOBODY, Attempt, Outcomes, Prober, agenda

PORT = 7777  # where a probe container listens, in its own network namespace

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


def container(prober: Prober) -> Outcomes:
    """A container as `docker run` makes it without any option that weakens it; system calls also by the host's root."""
    prober.docker_version()
    setuid = f"cp /usr/bin/id /id && chmod 4755 /id && exec {AS_NOBODY} /id -u"
    inside = [
        attempt("uid_map", "read", "/proc/self/uid_map"),
        attempt("secret", "read", "/secret"),
        attempt("setuid", "exec", "/bin/sh", "-c", setuid),
        *system_calls(prober, "container:"),
    ]
    return prober.with_docker(f"""
echo "for the host's root only" > "$dir/secret"
chmod 600 "$dir/secret"
{prober.agent} {agenda(system_calls(prober, "host:"))}
container run --rm --network none --volume "$dir/secret:/secret:ro" "$image" \\
    {prober.agent} {agenda(inside)}
""")


def loosened(prober: Prober) -> Outcomes:
    """A container with CAP_SYS_ADMIN and all of /proc in sight: only an LSM or a user namespace is left in the way."""
    prober.docker_version()
    inside = [
        call(prober, "mount", (165, 40), "s:none", "s:/probe", "s:tmpfs", "i:0", "i:0"),
        attempt("core_pattern", "rewrite", "/proc/sys/kernel/core_pattern"),
        attempt("sysrq", "write", "/proc/sysrq-trigger", "h"),
    ]
    return prober.with_docker(f"""
container run --rm --network none --cap-add SYS_ADMIN --security-opt systempaths=unconfined --tmpfs /probe "$image" \\
    {prober.agent} {agenda(inside)}
""")


def siblings(prober: Prober) -> Outcomes:
    """Two containers on the default bridge (where there is one) and on a network made just now with default options.
    The host's own attempts show that the listener listens."""
    prober.docker_version()
    listener = agenda([attempt("listen", "listen", str(PORT))])
    return prober.with_docker(f"""
networks=$(docker network ls -q --no-trunc --filter name='^bridge$' --filter driver=bridge | sed 's/.*/bridge/')
docker network create --label "$probe" "$probe" > /dev/null || exit 1
networks="$networks $probe"
pair() {{ # name, agent …: a container on all of the networks, not yet started
    name=$1
    shift
    set -- "$image" "$@"
    first=
    for network in $networks; do
        if [ -z "$first" ]; then
            first=$network
            container create --name "$name" --network "$network" "$@" > /dev/null || exit 1
        else
            docker network connect "$network" "$name" || exit 1
        fi
    done
}}
pair "$probe-a" {prober.agent} {listener}
docker start "$probe-a" > /dev/null || exit 1
addresses=$(docker inspect -f '{{{{range $name, $it := .NetworkSettings.Networks}}}}{{{{$name}}}} {{{{$it.IPAddress}}}}
{{{{end}}}}' "$probe-a")
to_siblings() {{ # prefix: an agenda to reach the listener on each network
    printf '%s\\n' "$addresses" | while read -r network address; do
        case $network in
            bridge) printf '%s:default\\tconnect\\t%s\\t{PORT}\\n' "$1" "$address" ;;
            ?*) printf '%s:own\\tconnect\\t%s\\t{PORT}\\n' "$1" "$address" ;;
        esac
    done
}}
for try in 1 2 3 4 5; do
    seen=$({prober.agent} "$(to_siblings host)")
    case $seen in
        *-1*) sleep 1 ;;
        *) break ;;
    esac
done
printf '%s\\n' "$seen"
pair "$probe-b" {prober.agent} "$(to_siblings sibling)"
docker start -a "$probe-b"
""")


PING = "GET /_ping HTTP/1.0"


def daemon(prober: Prober) -> Outcomes:
    """Every socket on which the Docker daemon and containerd listen, tried by nobody: `unix:PATH` and
    `tcp:ADDRESS:PORT` with an HTTP request, `tls:ADDRESS:PORT` by HTTPS without a client certificate."""
    prober.docker_version()
    listing = attempt("listing", "exec", "/bin/sh", "-c", "command -v ss")
    tls = (
        "if command -v curl > /dev/null; then exec curl -iksS --max-time 4 https://$0/_ping; "
        r"elif command -v openssl > /dev/null; then printf 'GET /_ping HTTP/1.0\r\n\r\n' | "
        "timeout 4 openssl s_client -quiet -connect $0 2>&1; else exit 127; fi"
    )
    return prober.on_host(f"""
tls={agenda([attempt("tls", "exec", "/bin/sh", "-c", tls)])}
sockets() {{
    ss -Hlxp 2> /dev/null | sed -nE '/"(dockerd|containerd)"/s/^[^/]* (\\/[^ ]+) .*/\\1/p'
    ls /run/docker.sock /run/containerd/containerd.sock 2> /dev/null
}}
listeners() {{
    ss -Hlntp 2> /dev/null | awk '/"dockerd"/ {{ print $4 }}' |
        sed -E 's/%[^]:]*//; s/^\\[::ffff:([0-9.]+)\\]/\\1/; s/^(\\*|0\\.0\\.0\\.0):/127.0.0.1:/; s/^\\[::\\]:/[::1]:/'
}}
agenda=$(
    sockets | sort -u | while read -r path; do printf 'unix:%s\\tconnect\\t%s\\t-\\t{PING}\\n' "$path" "$path"; done
    listeners | sort -u | while read -r place; do
        port=${{place##*:}} address=${{place%:*}}
        address=${{address#[}} address=${{address%]}}
        printf 'tcp:%s\\tconnect\\t%s\\t%s\\t{PING}\\n' "$place" "$address" "$port"
        printf 'tls:%s\\t%s\\t%s\\n' "$place" "${{tls#*	}}" "$place"
    done
)
{prober.agent} {agenda([listing])}
[ -z "$agenda" ] || {AS_NOBODY} {prober.agent} "$agenda"
""")


def nobody(prober: Prober) -> Outcomes:
    """What an ordinary user of the host tries against the kernel and against his own other processes."""
    event = "01000000" + "40000000" + "00" * 56  # struct perf_event_attr: the cpu clock, kernel included
    array = "02000000" + "04000000" * 2 + "01000000"  # union bpf_attr: a map of one element
    trace = call(prober, "ptrace", (101, 117), f"i:{0x4206}", "i:PID", "i:0", "i:0")  # PTRACE_SEIZE
    attempts = [
        call(prober, "syslog", (103, 116), "i:3", "x:" + "00" * 256, "i:256"),  # SYSLOG_ACTION_READ_ALL
        attempt("kmsg", "read", "/dev/kmsg"),
        attempt("kallsyms", "exec", "grep", "-m", "1", "-v", "^0* ", "/proc/kallsyms"),
        call(prober, "bpf", (321, 280), "i:0", f"x:{array}", "i:16"),  # BPF_MAP_CREATE
        call(prober, "perf", (298, 241), f"x:{event}", "i:0", "i:-1", "i:-1", "i:0"),
        trace,
    ]
    return prober.on_host(f"""
{AS_NOBODY} sleep 60 &
pid=$!
trap 'kill $pid 2> /dev/null' EXIT
trap 'exit 143' HUP INT TERM
for try in 1 2 3 4 5 6 7 8 9 10; do
    read -r name < "/proc/$pid/comm" && [ "$name" = sleep ] && break
    sleep 0.2
done
{AS_NOBODY} {prober.agent} "$(printf '%s' {agenda(attempts)} | sed "s/i:PID/i:$pid/")"
""")
