# attempt.pl for hosts without perl: the same attempts, the same lines. Python 3.6 and later.
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple  # noqa: UP035

Done = Tuple[int, int, str]  # noqa: UP006

SECONDS = 5
MORE = 30  # for what takes work on a busy host, and waits for nobody
libc = ctypes.CDLL(None, use_errno=True)


def value(text: str) -> Any:
    kind, rest = text.split(":", 1)
    if kind == "i":
        return ctypes.c_long(int(rest))
    return ctypes.create_string_buffer(bytes.fromhex(rest) if kind == "x" else rest.encode())


def call(number: str, *given: str) -> Done:
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(int(number)), *[value(one) for one in given])
    return result, ctypes.get_errno() if result == -1 else 0, ""


def read(path: str) -> Done:
    return 0, 0, os.read(os.open(path, os.O_RDONLY), 4096).decode("ascii", "replace")


def write(path: str, text: str) -> Done:
    return os.write(os.open(path, os.O_WRONLY), text.encode()), 0, ""


def rewrite(path: str) -> Done:
    return write(path, read(path)[2])


def connect(where: str, port: str, say: Optional[str] = None) -> Done:  # noqa: UP045
    family = socket.AF_UNIX if port == "-" else socket.AF_INET6 if ":" in where else socket.AF_INET
    peer = socket.socket(family)
    peer.connect(where if port == "-" else (where, int(port)))
    if say is None:
        return 0, 0, ""
    peer.sendall((say + "\r\n\r\n").encode())
    return 0, 0, peer.recv(4096).decode("ascii", "replace")


def listen(port: str, where: str = "") -> Done:
    signal.alarm(0)
    server = socket.socket()
    server.bind((where, int(port)))
    server.listen(8)
    while True:
        server.accept()[0].close()


def forge(source: str, to: str, text: str) -> Done:
    """A datagram to discard (RFC 863), from an address of choice."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    ends = socket.inet_aton(source) + socket.inet_aton(to)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 1, 0, 64, 17, 0) + ends
    sender.sendto(head + struct.pack("!HHHH", 9, 9, 8 + len(text), 0) + text.encode(), (to, 9))
    return 0, 0, ""


def masquerade(device: str, who: str, to: str) -> Done:
    """ARP's question (RFC 826), as of somebody else."""
    sender = socket.socket(17, socket.SOCK_RAW, socket.htons(0x806))  # AF_PACKET
    sender.bind((device, 0x806))
    mac: bytes = sender.getsockname()[4]
    ends = mac + socket.inet_aton(who) + bytes(6) + socket.inet_aton(to)
    sender.send(b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x806, 1, 0x800, 6, 4, 1) + ends)
    return 0, 0, ""


def sniff(device: str, last: str) -> Done:
    """The texts of such datagrams, until the last."""
    listener = socket.socket(17, socket.SOCK_DGRAM, socket.htons(3))  # AF_PACKET, ETH_P_ALL: what leaves, too
    listener.bind((device, 3))
    listener.settimeout(60)
    signal.alarm(0)
    found: List[str] = []  # noqa: UP006
    try:
        while last not in found:
            packet = listener.recv(2048)
            if len(packet) > 28 and packet[9] == 17 and packet[22:24] == b"\0\t":
                found.append(packet[28:].decode("ascii", "replace"))
    except socket.timeout:  # noqa: UP041
        pass
    return 0, 0, " ".join(found)


def forks(most: str) -> Done:
    """So many children at once, which go when we do."""
    signal.alarm(MORE)
    end, go = os.pipe()
    made: List[int] = []  # noqa: UP006
    try:
        while len(made) < int(most):
            child = os.fork()
            if not child:
                os.close(go)
                os.read(end, 1)
                os._exit(0)
            made.append(child)
    finally:
        os.close(go)
        for child in made:
            os.waitpid(child, 0)
    return len(made), 0, ""


def fill(most: str) -> Done:
    """So many bytes of memory."""
    signal.alarm(MORE)
    return len(b"x" * int(most)), 0, ""


def execute(*command: str) -> Done:
    signal.alarm(MORE)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return status, 0, done.stdout.decode("ascii", "replace")


VERBS: Dict[str, Callable[..., Done]] = {  # noqa: UP006
    "call": call,
    "read": read,
    "write": write,
    "rewrite": rewrite,
    "connect": connect,
    "listen": listen,
    "forge": forge,
    "masquerade": masquerade,
    "sniff": sniff,
    "forks": forks,
    "fill": fill,
    "exec": execute,
}


def attempt(name: str, verb: str, *given: str) -> None:
    signal.alarm(SECONDS)
    try:
        result, errno, text = VERBS[verb](*given)
    except OSError as error:
        result, errno, text = -1, error.errno or 5, ""
    text = "".join(c if " " <= c <= "~" else " " for c in text[:400])
    os.write(1, f"{name}\t{result}\t{errno}\t{text}\n".encode())


for line in sys.argv[1].split("\n"):
    fields = line.split("\t")
    child = os.fork()
    if not child:
        attempt(*fields)
        os._exit(0)
    number = os.waitpid(child, 0)[1] & 127
    if number == 14:
        os.write(1, (fields[0] + "\t-1\t110\tno answer\n").encode())
    elif number:
        os.write(1, f"{fields[0]}\t-1\t0\tkilled by signal {number}\n".encode())
