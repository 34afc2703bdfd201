"""Pods by containerd's API for Kubernetes (CRI, runtime.v1), as a kubelet asks for them: Debian has no client of it.

Messages are protobuf's: a field is a number with a text or bytes, or with a whole number.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.lab import Vm

SOCKET = "/run/containerd/containerd.sock"
NODE = 2  # the host's network: the pod needs no network of CNI's
SLICE = "system.slice"  # above pods' control groups: systemd makes them only in a slice
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


def ask(vm: Vm, service: str, method: str, *fields: Field) -> dict[int, str]:
    """What containerd answers. gRPC is HTTP/2 with a length before each message."""
    body = message(*fields)
    framed = base64.b64encode(b"\0" + len(body).to_bytes(4, "big") + body).decode()
    said = vm.ssh(
        f"echo {framed} | base64 -d | curl -sS --http2-prior-knowledge --unix-socket {SOCKET} "
        "-H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- -D /tmp/head -o /tmp/body "
        f"http://cri/runtime.v1.{service}/{method} && base64 -w 0 /tmp/body; echo; cat /tmp/head",
        timeout=300,
    ).stdout
    packed, _, head = said.partition("\n")
    assert packed or "grpc-status: 0" in head, f"{method}: {head}"
    return {number: text.decode() for number, text in texts(base64.b64decode(packed)[5:])}


def pod(vm: Vm, name: str, image: str) -> str:
    """The container of a new pod in the host's network, which names no seccomp profile."""
    context = message((1, message((1, NODE))))
    config = message((1, message((1, name), (2, name), (3, "lab"))), (8, message((1, SLICE), (2, context))))
    sandbox = ask(vm, "RuntimeService", "RunPodSandbox", (1, config))[1]
    own = message((3, message((1, NODE))))
    container = message((1, message((1, name))), (2, message((1, image))), (15, message((2, own))))
    made = ask(vm, "RuntimeService", "CreateContainer", (1, sandbox), (2, container), (3, config))[1]
    ask(vm, "RuntimeService", "StartContainer", (1, made))
    return made


def inside(vm: Vm, container: str, command: str) -> str:
    """What a shell in the container says."""
    words: list[Field] = [(2, word) for word in ("sh", "-c", f"{command} 2>&1")]
    return ask(vm, "RuntimeService", "ExecSync", (1, container), *words, (3, 60)).get(1, "")
