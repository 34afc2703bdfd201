"""Docker: the daemon as declared, on disk and live, its networks, and its containers as they were asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.json_text import load
from facts.core.reading import Block, Section, Unknown, known
from facts.engines.docker.containers import (
    read_containers,
    read_inspected,
    read_networks,
    read_stored,
    read_waiting,
)
from facts.engines.docker.options import config_key as config_key
from facts.engines.docker.options import known_keys, read_release
from facts.engines.docker.options import misfit as misfit
from facts.engines.docker.options import read_flags as read_flags
from facts.engines.docker.shapes import DAEMON_JSON as DAEMON_JSON
from facts.engines.docker.shapes import OVERRIDE as OVERRIDE
from facts.engines.docker.shapes import SOCKET_OVERRIDE as SOCKET_OVERRIDE
from facts.engines.docker.shapes import Container as Container
from facts.engines.docker.shapes import DaemonJson as DaemonJson
from facts.engines.docker.shapes import DockerReading as DockerReading
from facts.engines.docker.shapes import FileMode as FileMode
from facts.engines.docker.shapes import Malformed as Malformed
from facts.engines.docker.shapes import Network as Network
from facts.engines.docker.shapes import Starter as Starter
from facts.engines.docker.shapes import Stored as Stored
from facts.engines.docker.shapes import Unit as Unit
from facts.engines.docker.unread import read_unread

CAP_SYS_RESOURCE = 24  # capabilities(7)


class Docker(SectionFact[DockerReading]):
    """The Docker daemon, its configuration, networks and containers.

    The client is called only where dockerd runs: a connection to systemd's socket would start it. Environment
    variables of containers and the content of keys never leave the host.
    """

    key: ClassVar[str] = "docker"
    timeout: ClassVar[int] = 45
    script: ClassVar[str] = r"""
unset DOCKER_HOST; export DOCKER_CONTEXT=default
ask() { timeout -k 1 15 docker "$@"; }
run uid id -u
have dockerd && run dockerd command -v dockerd
if have dpkg-query; then
  run package dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' docker.io docker-ce moby-engine
elif have rpm; then
  run package rpm -q --qf 'ii  %{NAME} %{VERSION}-%{RELEASE}\n' docker-ce moby-engine docker-engine
fi
run target readlink -f /etc/docker/daemon.json
show /etc/docker/daemon.json /etc/systemd/system/docker.service.d/zz-hullproof.conf
show /etc/systemd/system/docker.socket.d/zz-hullproof.conf
run group getent group docker
properties=Id,MainPID,ExecStart,ExecMainStartTimestamp,FragmentPath,DropInPaths,SocketMode,Listen,NeedDaemonReload
services="docker.service docker.socket containerd.service"
have systemctl && units=$(systemctl show --timestamp=unix -p $properties $services 2>/dev/null ||
  systemctl show -p $properties $services 2>/dev/null) && run units kept "$units" 0
case "$units" in *NeedDaemonReload=yes*) for d in /usr/lib /run /etc; do
  set -- "$@" $d/systemd/system/docker.service $d/systemd/system/docker.socket $d/systemd/system/docker.s*.d/*.conf
  done; run unread grep -sHE '^ *(ExecStart=|Environment=.*tcp:|SocketMode=|ListenStream=)' "$@"; set --;; esac
run exec grep -sH '^ExecStart=' /usr/lib/systemd/system/docker.service /etc/systemd/system/docker.service \
  /usr/lib/systemd/system/docker.service.d/*.conf /run/systemd/system/docker.service.d/*.conf \
  /etc/systemd/system/docker.service.d/*.conf
run options grep -sHE '^ *(DOCKER_OPTS|OPTIONS)=' /etc/default/docker /etc/sysconfig/docker
tls=$(sed -nE 's/.*"tls(cacert|cert|key)" *: *"([^"]+)".*/\2/p' /etc/docker/daemon.json 2>/dev/null)
run files stat -L -c '%a %U %G %Y %F|%n' /etc/docker /etc/docker/daemon.json /etc/docker/*.pem /etc/docker/certs.d \
  /etc/docker/certs.d/*/* $tls /etc/default/docker /etc/sysconfig/docker /run/docker.sock /run/containerd \
  /run/containerd/containerd.sock /usr/lib/systemd/system/docker.service /usr/lib/systemd/system/docker.socket \
  /etc/systemd/system/docker.service /etc/systemd/system/docker.socket

pid=; case "$units" in *MainPID=*) pid=${units#*MainPID=}; pid=${pid%%[!0-9]*};; esac
[ "${pid:-0}" = 0 ] && [ -r /run/docker.pid ] && read -r pid </run/docker.pid
processes=$(grep -sHxE 'docker(d|-proxy)' /proc/[0-9]*/comm | sed 's|^/proc/||; s|/comm:| |')
run processes kept "$processes" 0
[ -e "/proc/${pid:-0}/cmdline" ] || { pid=$(echo "$processes" | sed -n 's/ dockerd$//p'); pid=${pid%%[!0-9]*}; }
if [ -z "$pid" ]; then
  have dockerd && have journalctl && run log journalctl -q -u docker.service -n 40 --no-pager -o cat
  exit 0
fi
show /proc/$pid/cmdline
starter=; case "$units" in *MainPID=*MainPID=*) starter=${units##*MainPID=}; starter=${starter%%[!0-9]*};; esac
[ "${starter:-0}" != 0 ] || starter=$pid
run starter grep -hE '^(Name|CapEff):|^Max |^[0-9]+$|^ +0 +[0-9]+ +[0-9]+$' /proc/$starter/status \
  /proc/$starter/limits /proc/$starter/uid_map /proc/sys/fs/nr_open
have ss && { listeners=$(ss -Hltnp 2>&1); run listeners kept "$listeners" $?; }
info=$(ask info --format '{{json .}}' 2>&1); run info kept "$info" $?
root=${info#*\"DockerRootDir\":\"}; root=${root%%\"*}
[ "$root" = "$info" ] && exit 0
ids=$(cd "$root/containers" 2>/dev/null && echo *); [ "$ids" != '*' ] || ids=
networks=$(ask network ls -q --no-trunc 2>&1); run networks kept "$networks" $?
# Through `index`, the client gives up its typed form and lets one template serve containers and networks.
inspected=$(ask inspect --format '{{if index . "IPAM"}}{"Name":{{json .Name}},"Id":{{json .Id}},"Driver":'\
'{{json .Driver}},"Internal":{{json .Internal}},"IPAM":{{json .IPAM}},"Options":{{json .Options}},"Containers":'\
'{{json .Containers}}}{{else}}{"pid":{{json .State.Pid}},"id":{{json .Id}},"name":{{json .Name}},"status":'\
'{{json .State.Status}},"started":{{json .State.StartedAt}},"host":{"auto_remove":{{json .HostConfig.AutoRemove}},'\
'"privileged":{{json .HostConfig.Privileged}},"network_mode":{{json .HostConfig.NetworkMode}},"pid_mode":'\
'{{json .HostConfig.PidMode}},"userns_mode":{{json .HostConfig.UsernsMode}},"security_opt":'\
'{{json .HostConfig.SecurityOpt}},"cap_add":{{json .HostConfig.CapAdd}},"devices":{{json .HostConfig.Devices}},'\
'"ipc_mode":{{json .HostConfig.IpcMode}},"uts_mode":{{json .HostConfig.UTSMode}},"restart_policy":'\
'{{json .HostConfig.RestartPolicy.Name}}}{{if ne .State.Status "running"}},"mounts":{{json .Mounts}}{{end}},'\
'"ports":{{json .NetworkSettings.Ports}},'\
'"networks":{{json .NetworkSettings.Networks}}}{{end}}' $ids $networks 2>&1)
run inspect kept "$inspected" $?
# Those of a container that has ended by now are nobody's any more.
case "$listeners" in *'"dockerd"'*) run listening ss -Hltn;; esac
if tags=$(ls -d "$root"/image/*/repositories.json 2>/dev/null); then
  run images cat $tags
  run layers grep -rhs '' "${tags%/*}/layerdb/sha256" --include=size
else
  run images.listed ask image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}'
fi
run volumes find "$root/volumes" -mindepth 1 -maxdepth 1 -type d -printf '%f\n'
:
"""

    @staticmethod
    def parse(section: Section) -> DockerReading:
        info = _info(section)
        running = _running(section, info)
        package = _package(section)
        version = str(info.get("ServerVersion", "")) or None if isinstance(info, dict) else None
        release = read_release(version or package["package_version"])
        rows = read_inspected(section) if running is True else _silent(running)
        return DockerReading(
            installed="dockerd" in section.blocks and section.blocks["dockerd"].status == 0,
            **package,
            running=running,
            version=version,
            daemon_json=read_daemon_json(_target(section), _file_or_directory(section, DAEMON_JSON)),
            keys_known=known_keys(release),
            can_validate=release is not None and release >= (23, 0),
            flags=_flags(section),
            info=info,
            networks=read_networks(rows),
            containers=read_containers(rows),
            waiting=read_waiting(rows),
            stored=read_stored(section, rows),
            files=_files(section),
            group_members=_members(section),
            listeners=_listeners(section, running),
            handed=_handed(section),
            starter=_starter(section),
            proxies=_proxies(section),
            log=_log(section),
            unit=_unit(section),
            stale=_stale(section),
        )


def _silent(running: bool | Unknown) -> Unknown:
    return running if isinstance(running, Unknown) else Unknown("the Docker daemon does not run")


def _info(section: Section) -> dict[str, Any] | Unknown:
    block = section.blocks.get("info")
    if block is None:
        return Unknown("the Docker daemon does not run")
    if block.status == 127:
        return Unknown("docker info: the docker client is not installed")
    if block.status in (124, 137):
        return Unknown("docker info: the daemon gave no answer in 15 seconds")
    start = block.text.find("{")  # warnings of the client may stand before it
    try:
        info = load(block.text[start:]) if start >= 0 else None
    except ValueError:
        info = None
    if not isinstance(info, dict):
        return Unknown(f"docker info: {block.complaint}")
    if errors := info.get("ServerErrors"):
        return Unknown(f"docker info: {str(errors[0] if isinstance(errors, list) else errors)[:200]}")
    info.pop("ClientInfo", None)
    return info


def _running(section: Section, info: dict[str, Any] | Unknown) -> bool | Unknown:
    if isinstance(info, dict):
        return True
    if "info" in section.blocks:
        return False if "Is the docker daemon running" in info.unknown else info
    known_to_be_there = "processes" in section.blocks or "units" in section.blocks
    return False if known_to_be_there or "dockerd" not in section.blocks else Unknown("the processes were not listed")


def _package(section: Section) -> dict[str, str | None]:
    """From lines such as `ii  docker.io 20.10.24+dfsg1-1`: only installed ones count."""
    block = section.blocks.get("package")
    for line in block.text.splitlines() if block else ():
        words = line.split()
        if len(words) == 3 and words[0] == "ii":
            return {"package": words[1], "package_version": words[2]}
    return {"package": None, "package_version": None}


def _target(section: Section) -> str:
    path = section.text("target")
    return DAEMON_JSON if isinstance(path, Unknown) or not path.strip() else path.strip()


def _file_or_directory(section: Section, path: str) -> str | Unknown | None:
    text = section.file(path)
    if isinstance(text, Unknown) and "Is a directory" in text.unknown:
        return Malformed(f"{path} is a directory")
    return text


def read_daemon_json(path: str, text: str | Unknown | None) -> DaemonJson:
    """daemon.json as dockerd takes it: an absent or an empty file has no keys."""
    if isinstance(text, Unknown):
        return DaemonJson(path, Unknown(text.unknown), text)
    if text is None or not text.strip():
        return DaemonJson(path, text, {})
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = found  # the outermost object comes last
        return dict(found)

    try:
        keys = load(text, keep)
    except JSONDecodeError as error:
        reason = f"{path} is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        return DaemonJson(path, text, Malformed(reason))
    except ValueError as error:
        return DaemonJson(path, text, Malformed(f"{path} is not JSON: {error}"))
    if not isinstance(keys, dict):
        return DaemonJson(path, text, Malformed(f"{path} is JSON but not an object"))
    counts = Counter(name for name, _ in pairs)
    return DaemonJson(path, text, keys, tuple(name for name in keys if counts[name] > 1))


def _flags(section: Section) -> dict[str, str]:
    for name, block in section.blocks.items():
        if name.startswith("/proc/") and name.endswith("/cmdline") and block.status == 0:
            return read_flags(block.text.rstrip("\0").split("\0")[1:])
    unit = _unit(section)
    return read_flags(unit.exec_start.split()[1:] + unit.options.split())


_STAT = re.compile(
    r"(?P<mode>[0-7]{1,4}) (?P<owner>\S++) (?P<group>\S++) (?P<time>[0-9]{1,18}) (?P<kind>\w++)[^|]*+\|(?P<path>/.*)"
)
_KINDS = {"regular": "file", "directory": "directory", "socket": "socket", "symbolic": "link"}


def _files(section: Section) -> tuple[FileMode, ...]:
    """From lines such as `660 root docker 1790000000 socket|/run/docker.sock`."""
    block = section.blocks.get("files")
    found = {}
    for line in block.text.splitlines() if block else ():
        if match := _STAT.fullmatch(line):
            kind = _KINDS.get(match["kind"], match["kind"])
            found[match["path"]] = FileMode(match["path"], match["mode"].zfill(4), match["owner"], match["group"], kind)
    return tuple(found[path] for path in sorted(found))


def _members(section: Section) -> tuple[str, ...]:
    block = section.blocks.get("group")
    fields = block.text.strip().split(":") if block and block.status == 0 else ()
    return tuple(sorted(fields[3].split(","))) if len(fields) == 4 and fields[3] else ()


def _listeners(section: Section, running: bool | Unknown) -> tuple[str, ...] | Unknown:
    block = section.blocks.get("listeners")
    if block is None:
        return () if running is False else Unknown("ss is not installed, so dockerd's TCP listeners are not known")
    if known(section.text("uid")).strip() != "0":
        return Unknown("which TCP listeners are dockerd's is only shown to root")
    if block.status != 0:
        return Unknown(f"ss: {block.complaint}")
    still = section.blocks.get("listening")
    lasting = {address for address, _ in _addresses(still)} if still and still.status == 0 else None
    found = (address for address, line in _addresses(block) if '"dockerd"' in line)
    return tuple(sorted(address for address in found if lasting is None or address in lasting))


def _addresses(block: Block) -> Iterator[tuple[str, str]]:
    """The local address of each of the lines of ss(8), and the line."""
    for line in block.text.splitlines():
        words = line.split()
        if len(words) > 3:
            yield words[3], line


def _handed(section: Section) -> tuple[str, ...]:
    """A socket that systemd has opened for docker.service is held by both."""
    rows = _addresses(section.blocks.get("listeners") or Block(0, ""))
    return tuple(sorted(address for address, line in rows if '"dockerd"' in line and '"systemd"' in line))


def _starter(section: Section) -> Starter | Unknown | None:
    block = section.blocks.get("starter")
    if block is None:
        return None
    values = dict(re.findall(r"^(Name|CapEff):\s*(\S+)$", block.text, re.M))
    rows = re.findall(r"^(Max [a-z ]+?) {2,}\S+ +(\d+|unlimited)\b", block.text, re.M)
    if len(values) < 2 or not rows:
        return Unknown(f"the limits of what starts containers are not known: {block.complaint}")
    nr_open = re.search(r"^(\d+)$", block.text, re.M)
    # Capabilities of another user namespace than the host's do not count.
    own_ids = re.search(r"^ +0 +0 +4294967295$", block.text, re.M)
    return Starter(
        program=values["Name"],
        hard={name: -1 if hard == "unlimited" else int(hard) for name, hard in rows},
        sys_resource=bool(own_ids and int(values["CapEff"], 16) >> CAP_SYS_RESOURCE & 1),
        nr_open=int(nr_open[1]) if nr_open else None,
    )


def _proxies(section: Section) -> int | Unknown:
    block = section.blocks.get("processes")
    if block is None:
        return Unknown("the processes were not listed, so docker-proxy processes were not counted")
    return sum(line.endswith(" docker-proxy") for line in block.text.splitlines())


def _log(section: Section) -> tuple[str, ...]:
    block = section.blocks.get("log")
    return tuple(line for line in block.text.splitlines() if line) if block and block.status == 0 else ()


def _paragraph(section: Section, unit: str) -> str:
    """What systemctl(1) shows of one of the units; "" where it shows nothing."""
    block = section.blocks.get("units")
    return next((part for part in (block.text if block else "").split("\n\n") if f"Id={unit}\n" in f"{part}\n"), "")


def _properties(paragraph: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in paragraph.splitlines() if "=" in line)


def _unit(section: Section) -> Unit:
    service, socket = (_properties(_paragraph(section, name)) for name in ("docker.service", "docker.socket"))
    command = service.get("ExecStart", "").partition("argv[]=")[2].partition(" ;")
    drop_ins = tuple(service.get("DropInPaths", "").split())
    sources = [path for path, value in _grepped(section, "exec") if value.strip()]
    named = [path for path in (service.get("FragmentPath", ""), *drop_ins) if _usr(path) in sources]
    options = _grepped(section, "options")
    override, socket_override = section.file(OVERRIDE), section.file(SOCKET_OVERRIDE)
    listens = re.findall(r"^Listen=([^/@\s]\S*) \(Stream\)$", _paragraph(section, "docker.socket"), re.M)
    return Unit(
        exec_start=command[0] if command[1] else "",
        exec_source=named[-1] if named else "",
        drop_ins=drop_ins,
        options_source=options[0][0] if options else "",
        options=" ".join(value.strip().strip("\"'") for _, value in options),
        override=override if isinstance(override, str) else None,
        socket_mode=socket.get("SocketMode", ""),
        socket_override=socket_override if isinstance(socket_override, str) else None,
        socket_listens=tuple(listens),
        unread=read_unread(section, [row["Id"] for row in (service, socket) if row.get("NeedDaemonReload") == "yes"]),
    )


def _stale(section: Section) -> bool | Unknown:
    files = section.blocks.get("files")
    started = re.search(r"^ExecMainStartTimestamp=@([0-9]{1,18})$", _paragraph(section, "docker.service"), re.M)
    lines = files.text.splitlines() if files else ()
    rows = (row for line in lines if line.endswith(f"|{DAEMON_JSON}") and (row := _STAT.fullmatch(line)))
    written = next((int(row["time"]) for row in rows), None)
    if started is None:
        return Unknown("systemd does not say when the Docker daemon started")
    return written is not None and written > int(started[1])


def _usr(path: str) -> str:
    return f"/usr{path}" if path.startswith("/lib/") else path


def _grepped(section: Section, name: str) -> list[tuple[str, str]]:
    """(file, value) of `grep -H` lines such as `/etc/default/docker:DOCKER_OPTS="--icc=false"`."""
    block = section.blocks.get(name)
    rows = (line.partition(":") for line in (block.text if block else "").splitlines())
    return [(path, rest.partition("=")[2]) for path, _, rest in rows if path.startswith("/") and "=" in rest]
