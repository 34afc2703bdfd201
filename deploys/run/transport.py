"""How we reach a host: one script per execution, sent on stdin, bounded in time and size; its answer is untrusted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import gevent
from gevent import Timeout
from paramiko import SSHClient, SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host

from deploys.run import incoming

CHANNEL_SECONDS = 30  # to open a channel; paramiko's own default is an hour
KEEPALIVE_SECONDS = 15
SILENT_SECONDS = 90  # without an answer to that, the connection is given up: a pulled cable says nothing

# Root already, or made root by pyinfra's own options: plain. Else passwordless sudo, quietly; else as we are, and the
# survey says that it was not root.
BECOME = (
    'if [ "$(id -u)" = 0 ]; then exec sh -s; '
    "elif sudo -n true >/dev/null 2>&1; then exec sudo -n -H sh -s; else exec sh -s; fi"
)


class Unreachable(Exception):
    """The host did not answer, or the connection was lost: one sentence why."""


class Overflow(Unreachable):
    """It answered, and went on and on: nothing that it says is believed."""


class Connection(Protocol):
    """A host, as far as waiting for it and connecting again needs it."""

    host: Host
    errors: list[str]
    lost: bool

    def execute(self, script: str, seconds: int) -> Sequence[str]: ...

    def reconnect(self) -> None: ...


def tune(host: Host) -> None:
    """TCP_NODELAY and a channel timeout on the host's connection, whatever inventory it came from.

    paramiko sets neither; without TCP_NODELAY each execution waits for a delayed acknowledgement.
    """
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client else None
    if transport is None:
        return
    transport.channel_timeout = CHANNEL_SECONDS
    with contextlib.suppress(OSError):  # a connection that is gone says so at the next execution
        # Behind ProxyJump or ProxyCommand it is no socket, and has no family.
        if getattr(transport.sock, "family", None) in (socket.AF_INET, socket.AF_INET6):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextlib.contextmanager
def _alive(host: Host) -> Iterator[None]:
    """Ask again and again whether the host's end is there, as ssh does (ServerAliveInterval). ConnectionError, and the
    connection is closed, where it falls silent; paramiko's own keepalive asks, but for no answer."""
    client = getattr(host.connector, "client", None)
    asking = gevent.spawn(_asked_in_vain, client) if client else None
    try:
        yield
    finally:
        silent = asking is not None and asking.ready() and asking.value
        if asking:
            asking.kill()
    if silent:
        raise ConnectionError(f"the host has been silent for {SILENT_SECONDS} s")


def _asked_in_vain(client: SSHClient) -> bool:
    """True once the host has not answered in time; False where the connection ended otherwise."""
    while True:
        gevent.sleep(KEEPALIVE_SECONDS)
        transport = client.get_transport()
        if transport is None or not transport.is_active():
            return False
        try:
            with Timeout(SILENT_SECONDS):
                transport.global_request("keepalive@openssh.com", wait=True)
        except Timeout:
            client.close()
            return True
        except (OSError, SSHException, EOFError):
            return False


def execute(host: Host, script: str, seconds: int) -> Sequence[str]:
    """Run `script` as root where we may, in one execution; its stdout as lines. Unreachable where there is none.

    The exit status says nothing here: each of our scripts frames its own answer.
    """
    arguments, _ = pop_global_arguments(host.state, host, {})
    connector: Any = {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}
    connector |= {"_stdin": [script], "_timeout": seconds}
    try:
        with Timeout(seconds + CHANNEL_SECONDS, TimeoutError()), _alive(host):
            _, output = host.run_shell_command(StringCommand(BECOME), **connector)
    except TimeoutError:
        raise Unreachable(f"no answer within {seconds} s") from None
    except (OSError, SSHException, EOFError, AttributeError) as error:  # the last: paramiko without a connection
        raise Unreachable(f"connection lost: {error or type(error).__name__}") from error
    if any(line.buffer_name == incoming.CUT_OFF for line in output):
        most = f"{incoming.BYTES // 1_000_000} MB"
        raise Overflow(f"the host answered with more than {most}, and was cut off: something prints without end there")
    if not output.stdout_lines:
        raise Unreachable(f"the host gave no answer{': ' if output.stderr else ''}{output.stderr[-200:]}")
    lines: Sequence[str] = output.stdout_lines
    return lines


def reconnect(host: Host) -> None:
    """A fresh connection; Unreachable where there is none."""
    host.disconnect()
    client = getattr(host.connector, "client", None)
    if client is not None:
        client.close()
    host.connect(reason="again, after a change", show_errors=False, raise_exceptions=False)
    if not host.connected:
        raise Unreachable("no connection could be made")
