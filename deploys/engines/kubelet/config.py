"""The kubelet's configuration as it is written: one change for all keys, taken up by a restart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploys.core import templates
from deploys.core.change import Activate, Change, Context, Obstacle, Service, WriteFile, by_hand
from deploys.core.control import State, some
from deploys.engines.kubelet.config_text import merged, rendered, with_keys
from deploys.engines.kubelet.managed import FOREIGN
from deploys.engines.kubelet.managed import obstacle as managed
from deploys.engines.kubelet.rules import KubeletRules
from deploys.engines.kubelet.settings import Key, say, setting
from facts.core import yaml_text
from facts.core.reading import known
from facts.engines.kubelet.kubelet import API_VERSION, DROP_IN, KIND, Kubelet, KubeletReading, Setup

SUBJECT = "kubelet"
UPGRADE = "kubeadm upgrade writes it again from the cluster's ConfigMap kubelet-config"
RESTARTS = "restarts the kubelet: pods go on running; sessions of kubectl exec, logs and port-forward end"


def service(kubelet: KubeletReading) -> Service:
    """The kubelet as a service that restarts with new files, and is healthy once it has answered for a while: what it
    does not accept, it finds some seconds after its start."""
    setup = known(kubelet.disk)
    at = _reachable(setting(setup, "healthzBindAddress").value, setting(setup, "healthzPort").value)
    return Service(
        "kubelet",
        activate=templates.text("engines/kubelet/activate.sh"),
        healthy=f"AT='{at}'\n{templates.text('engines/kubelet/healthy.sh')}",
        explain="journalctl -q -u kubelet.service -n 8 --no-pager -o cat",
        seconds=120,
        interrupts=RESTARTS,
    )


def _reachable(host: Any, port: Any) -> str:
    """ADDRESS:PORT at which it says that it is well; "" where it does not, or at no address of IPv4."""
    host, port = host or "127.0.0.1", 10248 if port is None else port
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    is_address = isinstance(host, str) and re.fullmatch("[0-9.]{7,15}", host)
    return f"{host}:{port}" if is_address and type(port) is int and 0 < port < 65536 else ""


@dataclass(frozen=True)
class _Wish:
    """A key that does not hold, and what is to be set for it; `pending`: it is in the files already."""

    key: Key
    put: Mapping[str, Any]
    pending: bool

    @property
    def what(self) -> str:
        if self.pending:
            return _taken_up([self.key.keys[0]])
        if not self.put:
            return f"have it so that {self.key.title[:1].lower()}{self.key.title[1:]}"
        return some((f"set {key} to {say(value)}" for key, value in self.put.items()), 20)


def _taken_up(names: list[str]) -> str:
    return f"restart the kubelet with {some(names)} as its files have it" if names else ""


def plan(context: Context, keys: tuple[Key, ...]) -> Iterator[Change]:
    """All that can be set is written at once; what only waits for a restart comes with it."""
    kubelet = context.survey[Kubelet]
    wishes: list[_Wish] = []
    for key in keys:
        if not context.failing(key.control):
            continue
        wish = _wish(key, context)
        if wish is None:
            yield by_hand(context.findings[key.control])
        elif obstacle := _in_the_way(wish, context):
            yield obstacle.block(SUBJECT, wish.what, controls=(key.control,))
        else:
            wishes.append(wish)
    if wishes:
        yield _change(kubelet, wishes)


def _wish(key: Key, context: Context) -> _Wish | None:
    pending = context.findings[key.control].state is State.PENDING_RESTART
    if key.put is None and not pending:
        if context.survey[Kubelet].manager not in FOREIGN:
            return None
        return _Wish(key, {}, pending=False)
    wanted = key.wanted(context.policy[KubeletRules])
    return _Wish(key, key.put(wanted) if key.put and not pending else {}, pending)


def _in_the_way(wish: _Wish, context: Context) -> Obstacle | None:
    kubelet = context.survey[Kubelet]
    if found := managed(kubelet, context):
        return found
    if wish.pending:
        return None
    setup = known(kubelet.disk)
    return _beaten(wish, setup) or _nowhere(kubelet, setup) or wish.key.first(context) or _later(wish, setup)


def _beaten(wish: _Wish, setup: Setup) -> Obstacle | None:
    """Options of the command line beat the files."""
    for key, value in wish.put.items():
        if (found := setup.flags.get(key)) and found.value != value:
            file = found.file or "the kubelet's command line"
            why = f"{file} sets {key} by an option, which beats the configuration file"
            return Obstacle(why=why, by_hand=f"take the option out of {file}, and run again")
    return None


def _nowhere(kubelet: KubeletReading, setup: Setup) -> Obstacle | None:
    if setup.folder or (setup.config and isinstance(kubelet.texts.get(setup.config), str)):
        return None
    why = f"{setup.config} cannot be read" if setup.config else "the kubelet has no configuration file (--config)"
    return Obstacle(why=why, by_hand="have the kubelet read one (--config), and run again")


def _later(wish: _Wish, setup: Setup) -> Obstacle | None:
    """Files of the folder that are read after hullproof's and set one of these keys."""
    ours = f"{setup.folder}/{DROP_IN}".split("/")
    files = [setting(setup, key).file for key in wish.put] if setup.folder else []
    if late := [file for file in files if file.startswith(f"{setup.folder}/") and file.split("/") > ours]:
        why = f"{some(late)} is read after hullproof's file"
        return Obstacle(why=why, by_hand=f"take the key out of {late[0]}, and run again")
    return None


def _change(kubelet: KubeletReading, wishes: list[_Wish]) -> Change:
    setup, restart = known(kubelet.disk), service(kubelet)
    put = {key: value for wish in wishes for key, value in wish.put.items()}
    pending = _taken_up([wish.key.keys[0] for wish in wishes if wish.pending])
    what = some(filter(None, [*(wish.what for wish in wishes if not wish.pending), pending]), 20)
    controls = tuple(wish.key.control for wish in wishes)
    if not put:
        return Activate(SUBJECT, what, interrupts=RESTARTS, service=restart, controls=controls)
    path = f"{setup.folder}/{DROP_IN}" if setup.folder else setup.config
    before = known(kubelet.texts.get(path))
    text, whole = _drop_in(before, put) if setup.folder else with_keys(before or "", put)
    lost = "" if whole else "; it is written again from its values, without its comments"
    again = "" if setup.folder or kubelet.manager != "kubeadm" else f"; {UPGRADE}"
    mode, owner = ("0600", "root:root") if before is None else ("", "")  # "": as it was
    return WriteFile(
        SUBJECT,
        f"{what} ({path}{lost}{again})",
        path=path,
        text=text,
        before=before,
        mode=mode,
        owner=owner,
        service=restart,
        shared="lines",
        interrupts=RESTARTS,
        controls=controls,
    )


def _drop_in(before: str | None, put: Mapping[str, Any]) -> tuple[str, bool]:
    """With these keys, and those that are in it already."""
    try:
        own = yaml_text.load(before or "")
    except ValueError:
        own = None
    head = {"apiVersion": API_VERSION, "kind": KIND}
    tree = merged({**head, **(own if isinstance(own, dict) else {})}, put)
    return templates.render("engines/kubelet/drop-in.conf.j2", settings=rendered(tree)), True
