"""Podman's API: whether it listens, and for whom (podman-system-service(1), systemd.socket(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, WriteFile, by_hand, mending
from deploys.core.control import Verdict, failed, passed, some
from deploys.core.policy import Policy
from deploys.engines.podman.rules import PodmanRules
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.podman.podman import SOCKET, SOCKET_DROP_IN, Podman, PodmanReading, Socket

ID = "podman.api"
ACCEPT = "podman-api"  # accepting it: clients of Podman's API lose it
TEXT = templates.text("engines/podman/socket.conf")
# systemd starts no socket whose service runs; that comes again with the next client.
APPLY = """\
systemctl daemon-reload || exit 1
if systemctl -q is-active podman.socket; then
  systemctl -q stop podman.service 2>/dev/null
  systemctl restart podman.socket
fi
"""
CLIENTS = "clients of Podman's API"
OVERRULED = (
    "run systemctl daemon-reload, and take SocketMode=, SocketUser= and SocketGroup= out of the file that "
    "`systemctl cat podman.socket` shows after hullproof's"
)


def check(survey: Survey, policy: Policy) -> Verdict:
    declared, podman = policy[PodmanRules].api, survey[Podman]
    socket = known(podman.socket)
    on_disk, live = list(_next_start(socket, declared)), list(_now(podman, socket, declared))
    if wrong := on_disk + live:
        reason = f"{some(wrong)}; the policy wants {declared} (podman.api)"
        return failed(reason, declared=declared, disk=on_disk, live=live)
    if elsewhere := list(_elsewhere(podman, socket)):
        raise UnknownReading(f"the API listens on {some(elsewhere)}, and who may use that is not read")
    return passed("who is not root cannot speak to Podman's API", declared=declared, disk=[], live=[])


def _next_start(socket: Socket, declared: str | None) -> Iterator[str]:
    if declared == "none":
        yield from ["podman.socket is enabled"] * socket.enabled
    elif socket.enabled or socket.active:
        if _loose(socket.next_mode, socket.next_owner, socket.next_group):
            yield f"podman.socket is to be {socket.next_mode} {socket.next_owner}:{socket.next_group}"
        yield from (f"podman.socket is to listen on {at}" for at in _beyond(socket))


def _now(podman: PodmanReading, socket: Socket, declared: str | None) -> Iterator[str]:
    if declared == "none":
        yield from ["podman.socket listens"] * socket.active
        yield from (f"a podman system service listens on {at}" for at in podman.serving if not at.startswith("fd:"))
        return
    yield from (f"the API listens on {at}" for at in podman.serving if at.startswith("tcp:"))
    if socket.mode and _loose(socket.mode, socket.owner, socket.group):
        yield f"{SOCKET} is {socket.mode} {socket.owner}:{socket.group}"


def _elsewhere(podman: PodmanReading, socket: Socket) -> Iterator[str]:
    """Paths of services that systemd did not start: whose their sockets are is not known."""
    for at in podman.serving:
        path = re.sub("^unix:(//)?(/var(?=/run/))?", "", at)
        if at.startswith("unix:") and path not in (SOCKET, *socket.listens):
            yield path


def _loose(mode: str, owner: str, group: str) -> bool:
    """Whether others than root may use it: what root's own group may do is no excess."""
    return bool(int(mode, 8) & (0o007 if group == "root" else 0o077)) or owner != "root"


def _beyond(socket: Socket) -> list[str]:
    """Where systemd listens for the API, and it is no file."""
    return [at for at in socket.listens if not at.startswith("/")]


def plan(context: Context) -> Iterator[Change]:
    if context.failing(ID):
        close = _close if context.policy[PodmanRules].api == "none" else _give
        yield from mending([ID], close(context))


def _close(context: Context) -> Iterator[Change]:
    socket = known(context.survey[Podman].socket)
    if not (socket.enabled or socket.active):
        yield by_hand(context.findings[ID])
        return
    what = "stop podman.socket, and have no boot start it"
    if not context.accepts(ACCEPT):
        why = "whoever speaks to Podman's API (docker-compose, a CI runner, cockpit) loses it"
        yield Blocked("podman", what, why=why, accepts=(ACCEPT,))
        return
    was = [verb for verb, true in (("enable", socket.enabled), ("start", socket.active)) if true]
    undo = " && ".join(f"systemctl -q {verb} podman.socket" for verb in was)
    yield Command("podman", what, script="systemctl -q disable --now podman.socket", undo=undo, interrupts=CLIENTS)


def _give(context: Context) -> Iterator[Change]:
    podman = context.survey[Podman]
    socket = known(podman.socket)
    ours = socket.enabled or socket.active  # else it is another service's
    if _beyond(socket) or not ours or any(at.startswith("tcp:") for at in podman.serving):
        yield by_hand(context.findings[ID])
    now = bool(socket.mode) and _loose(socket.mode, socket.owner, socket.group)
    later = ours and _loose(socket.next_mode, socket.next_owner, socket.next_group)
    if not ours or not (now or later):
        return
    what = "give podman.socket to root alone, and start it again where it listens"
    if later and podman.socket_drop_in == TEXT:
        why = f"{SOCKET_DROP_IN} says so, and a file after it something else, or systemd was not reloaded"
        yield Blocked("podman", what, why=why, by_hand=OVERRULED)
    elif not context.accepts(ACCEPT):
        why = "whoever is not root loses Podman's API, and clients of it that are connected their connection"
        yield Blocked("podman", what, why=why, accepts=(ACCEPT,))
    elif (before := known(podman.socket_drop_in)) == TEXT:
        yield Command("podman", what, script=APPLY, undo="", interrupts=CLIENTS)
    else:
        yield WriteFile(
            "podman", what, path=SOCKET_DROP_IN, text=TEXT, before=before, activate=APPLY, interrupts=CLIENTS
        )
