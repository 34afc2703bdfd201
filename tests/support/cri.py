"""Pods by containerd's API for Kubernetes (CRI, runtime.v1), as a kubelet asks for them: Debian has no client of it.

Messages are protobuf's: a field is a number with a text or bytes, or with a whole number.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab import Vm

SOCKET = "/run/containerd/containerd.sock"
NODE = 2  # the host's network: the pod needs no network of CNI's
SLICE = "system.slice"  # above pods' control groups: systemd makes them only in a slice
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = (0, 1, 4)  # frames of HTTP/2 (RFC 9113)
END_STREAM, END_HEADERS = (1, 4)
Field = tuple[int, "str | bytes | int"]


def message(*fields: Field) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: str | bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def texts(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that are texts or bytes."""
    at = 0
    while at < len(raw):
        key, at = _number(raw, at)
        value, at = _number(raw, at)
        if key & 7 == 2:
            yield key >> 3, raw[at : at + value]
            at += value


def _number(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while raw[at] & 0x80:
        value |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | raw[at] << shift, at + 1


@contextmanager
def connected(vm: Vm) -> Iterator[socket.socket]:
    """containerd's socket, by ssh."""
    path = vm.folder / "cri"
    path.unlink(missing_ok=True)
    forward = subprocess.Popen([*vm.ssh_argv("root"), "-N", "-L", f"{path}:{SOCKET}"], cwd=vm.folder)
    try:
        for _ in range(300):
            if path.exists():
                break
            time.sleep(0.2)
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(300)
            there.connect(str(path))
            yield there
    finally:
        forward.terminate()
        forward.wait()


def ask(vm: Vm, method: str, *fields: Field) -> dict[int, str]:
    """What containerd answers. gRPC is HTTP/2 with a length before each message; of its headers none is compressed."""
    headers = {":method": "POST", ":scheme": "http", ":path": f"/runtime.v1.RuntimeService/{method}",
               ":authority": "cri", "content-type": "application/grpc"}  # fmt: skip
    packed = b"".join(b"\0" + _short(name) + _short(value) for name, value in headers.items())
    body = message(*fields)
    with connected(vm) as there:
        there.sendall(PREFACE + _frame(SETTINGS) + _frame(HEADERS, packed, END_HEADERS, 1))
        there.sendall(_frame(DATA, b"\0" + len(body).to_bytes(4, "big") + body, END_STREAM, 1))
        said = b"".join(_answer(there))
    assert said, f"{method} failed: {vm.ssh('journalctl -q -u containerd -n 5 -o cat').stdout}"
    return {number: text.decode() for number, text in texts(said[5:])}


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, load: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(load).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + load


def _answer(there: socket.socket) -> Iterator[bytes]:
    """The data, up to the end of the stream."""
    with there.makefile("rb") as stream:
        while head := stream.read(9):
            load, kind, flags = stream.read(int.from_bytes(head[:3], "big")), head[3], head[4]
            if kind == SETTINGS and not flags:
                there.sendall(_frame(SETTINGS, flags=1))
            if kind == DATA:
                yield load
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return


def pod(vm: Vm, name: str, image: str) -> str:
    """The container of a new pod in the host's network, which names no seccomp profile."""
    context = message((1, message((1, NODE))))
    config = message((1, message((1, name), (2, name), (3, "lab"))), (8, message((1, SLICE), (2, context))))
    sandbox = ask(vm, "RunPodSandbox", (1, config))[1]
    own = message((3, message((1, NODE))))
    container = message((1, message((1, name))), (2, message((1, image))), (15, message((2, own))))
    made = ask(vm, "CreateContainer", (1, sandbox), (2, container), (3, config))[1]
    ask(vm, "StartContainer", (1, made))
    return made


def inside(vm: Vm, container: str, command: str) -> str:
    """What a shell in the container says."""
    words: list[Field] = [(2, word) for word in ("/bin/sh", "-c", f"{command} 2>&1")]
    return ask(vm, "ExecSync", (1, container), *words, (3, 60)).get(1, "")
