"""What listens for Docker's API: dockerd itself, other daemons beside it, and programs in front of its sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from facts.core.reading import Block, Section, Unknown, known
from facts.engines.docker.shapes import Daemon, FileMode, Front

RELAYS = ("systemd-socket-", "socat", "haproxy", "nginx", "ncat", "nc", "envoy", "caddy")
_ROW = re.compile(r"(?:(?P<kind>[a-z_]+) +)?LISTEN +\d+ +\d+ +(?P<address>\S+)( .*)?")
_ONLY_ROOTS = re.compile(r"/(metrics|libnetwork/[^ ]*|control)\.sock$")


def read_listeners(section: Section, running: bool | Unknown) -> tuple[str, ...] | Unknown:
    """The TCP addresses on which dockerd listens."""
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


def _addresses(block: Block, tcp: bool = True) -> Iterator[tuple[str, str]]:
    """The local address of each of the lines of ss(8), and the line."""
    for line in block.text.splitlines():
        row = _ROW.match(line)
        if row and (row["kind"] in (None, "tcp")) is tcp:
            yield row["address"], line


def read_handed(section: Section) -> tuple[str, ...]:
    """A socket that systemd has opened for docker.service is held by both."""
    rows = _addresses(section.blocks.get("listeners") or Block(0, ""))
    return tuple(sorted(address for address, line in rows if '"dockerd"' in line and '"systemd"' in line))


def read_sockets(section: Section, running: bool | Unknown, files: Iterable[FileMode]) -> tuple[str, ...] | Unknown:
    """The API's unix sockets: Docker's usual one where it is there, and all on which a dockerd listens."""
    unread = read_listeners(section, running)  # of the same listing
    if isinstance(unread, Unknown):
        return Unknown(f"on which sockets dockerd listens is not known: {unread.unknown}")
    usual = (file.path for file in files if file.path == "/run/docker.sock" and file.kind == "socket")
    return tuple(sorted({*usual, *_sockets(section)}))


def _sockets(section: Section) -> dict[str, tuple[int, ...]]:
    """Without those that lie in folders of root's alone; and which processes have each."""
    rows = _addresses(section.blocks.get("listeners") or Block(0, ""), tcp=False)
    found = {}
    for address, line in rows:
        if address.startswith("/") and not _ONLY_ROOTS.search(address):
            pids = tuple(map(int, re.findall(r'"dockerd",pid=([0-9]{1,10}),', line)))
            found.update({re.sub("^/var/run/", "/run/", address): pids} if pids else {})
    return found


def read_others(section: Section, pid: int | None) -> tuple[Daemon, ...] | Unknown:
    """The daemons of this host but the one that is judged. A container's own has another process namespace."""
    if "processes" not in section.blocks:
        return Unknown("the processes were not listed, so it is not known which Docker daemons run")
    judged = pid if "dockerd" in section.blocks else None
    block = section.blocks.get("daemons", Block(0, ""))
    users, namespaces = _by_process(block.text, "Uid"), _by_process(block.text, "NSpid")
    sockets = _sockets(section)
    found = []
    for number in sorted(users):
        on_host = len(namespaces.get(number, "").split()) == 1
        if on_host and (number != judged or int(users[number].split()[0])):
            own = tuple(sorted(path for path, pids in sockets.items() if number in pids))
            found.append(Daemon(number, int(users[number].split()[0]), own))
    return tuple(found)


def _by_process(text: str, key: str) -> dict[int, str]:
    """From lines such as `/proc/812/status:Uid: 1000 1000 1000 1000`."""
    rows = re.findall(rf"^/proc/([0-9]{{1,10}})/status:{key}:[ \t]*([0-9][0-9 \t]*)$", text, re.M)
    return {int(number): value for number, value in rows}


def read_installed(section: Section, others: tuple[Daemon, ...] | Unknown) -> bool | Unknown:
    """Whether there is a dockerd where programs are; unknown where there is none and Docker is there all the same."""
    block = section.blocks.get("dockerd")
    if block is not None and block.status == 0:
        return True
    if isinstance(others, Unknown):
        return others
    sockets = section.blocks.get("seen", Block(0, "")).text.split()
    seen = [*map(str, others), *(f"the socket {path}" for path in sockets)]
    if not seen:
        return False
    roots = "/run/docker.sock" in sockets or any(each.user == 0 for each in others)
    what = "Docker is here, but no dockerd is in root's PATH" if roots else "only users run Docker here, without root"
    return Unknown(f"{what} ({', '.join(seen)}); hullproof judges root's Docker, whose programs are in its PATH")


def read_fronts(section: Section) -> tuple[Front, ...] | Unknown:
    """Programs and units that name a socket of Docker's and listen themselves."""
    for block in ("naming", "listeners"):
        if block not in section.blocks:
            return Unknown("which programs listen was not read, and so not whether one does before Docker's socket")
    if known(section.text("uid")).strip() != "0":
        return Unknown("which programs listen is only shown to root")
    return (*_programs(section), *_units(section))


def _programs(section: Section) -> Iterator[Front]:
    named = section.blocks.get("naming", Block(0, ""))
    pids = set(re.findall(r"^/proc/([0-9]+)/cmdline$", named.text, re.M))
    found: dict[tuple[str, str], list[str]] = {}
    block = section.blocks.get("listeners") or Block(0, "")
    for address, line in (*_addresses(block), *_addresses(block, tcp=False)):
        for name, pid in re.findall(r'\("([^"]*)",pid=([0-9]+),', line):
            if pid in pids and name not in ("dockerd", "containerd"):
                found.setdefault((name, pid), []).append(address)
    for (name, pid), addresses in found.items():
        yield Front(f"process {pid}", name, name.startswith(RELAYS), tuple(addresses))


def _units(section: Section) -> Iterator[Front]:
    """Of the operator's units those that run a relay, or start it once somebody connects."""
    paragraphs = [_properties(part) for part in section.blocks.get("fronts", Block(0, "")).text.split("\n\n")]
    by_name = {part.get("Id", ""): part for part in paragraphs}
    for name, service in by_name.items():
        program = re.search(r"path=(\S+)", service.get("ExecStart", ""))
        if not name.endswith(".service") or not program:
            continue
        relay = program[1].rpartition("/")[2]
        socket = by_name.get(f"{name.removesuffix('.service')}.socket", {})
        used = any(
            part.get("ActiveState") in ("active", "activating") or part.get("UnitFileState", "").startswith("enabled")
            for part in (service, socket)
        )
        if used and relay.startswith(RELAYS):
            yield Front(name, relay, True, tuple(re.findall(r"(\S+) \(\w+\)", socket.get("Listen", ""))))


def _properties(paragraph: str) -> dict[str, str]:
    """Of systemctl(1); what is there more than once is joined."""
    found: dict[str, str] = {}
    for line in paragraph.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found[key] = f"{found[key]} {value}" if key in found else value
    return found
