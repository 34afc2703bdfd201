"""The metadata address is closed where nobody lives by it, and for whoever does once that is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.bridges.metadata import WHAT
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.plan import unit_text as unit
from deploys.bridges.rules import BridgesRules
from deploys.bridges.rules import without_metadata as without
from deploys.core.change import Blocked, Change, WriteFile
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.engines.docker.docker import Network
from facts.networks.bridges import RULES_FILE, UNIT_FILE
from tests.support.bridges import BARE, LISTED, NO_DOCKER, RULES, context, device, plan, reading, reason, state
from tests.support.hosts import container
from tests.support.hosts import docker as engine

CLOSED = BridgesRules(metadata="closed")
BRIDGE = Network("bridge", "bridge", "docker0", False, True, ("172.17.0.0/16",), ("web",))
MACVLAN = Network("lan", "macvlan", "", False, True, (), ())
WEB = container("web", networks=("bridge",))
BR0 = (*BARE, device("br0", "bridge"), device("vnet0", "tun", "br0"), device("eno1", "", "br0"))


def docker(*containers: Any, **more: Any) -> Any:
    return engine({}, **{"networks": (BRIDGE, MACVLAN), "containers": containers, **more})


def written(changes: list[Change]) -> dict[str, WriteFile]:
    return {change.path: change for change in changes if isinstance(change, WriteFile)}


@pytest.mark.parametrize(
    ("host", "devices", "who"),
    [
        (docker(WEB), BARE, "running containers (web)"),
        (docker(), BR0, "guests on br0 (vnet0)"),
        (NO_DOCKER, BR0, "guests on br0 (vnet0)"),
        (docker(containers=Unknown("docker inspect: no")), BARE, "169.254.169.254: docker inspect: no"),
        # nobody sends by a bridge
        (docker(), BARE, ""),
        (NO_DOCKER, BARE, ""),
        (docker(running=False, containers=Unknown("down"), networks=Unknown("down")), BARE, ""),
        (docker(container("web", networks=("host",)), container("lan", networks=("lan",))), BARE, ""),
        (docker(), (*BARE, device("br0", "bridge"), device("eno1", "", "br0")), ""),
    ],
)  # fmt: skip
def test_whoever_runs_may_live_by_it(host: Any, devices: Any, who: str) -> None:
    where = context(reading(devices=devices), rules=CLOSED, docker=host)
    assert state(where, "filter") is State.FAIL
    assert "bridges reach the cloud's metadata addresses" in reason(where, "filter")
    changes = plan(where)
    blocked = [change for change in changes if isinstance(change, Blocked)]
    assert [change.what for change in blocked] == ([WHAT] if who else [])
    assert all(who in change.why and change.accepts == ("metadata",) for change in blocked)
    assert (RULES_FILE in written(changes)) is not bool(who)


def test_accepted_it_is_said_who_loses_what() -> None:
    changes = plan(context(reading(devices=BR0), rules=CLOSED, docker=docker(WEB), accept="metadata"))
    assert not any(isinstance(change, Blocked) for change in changes)
    rule = written(changes)[RULES_FILE]
    assert rule.text == filter_text(CLOSED)
    assert (
        "running containers (web) and guests on br0 (vnet0) no longer get the instance's credentials" in rule.interrupts
    )


def test_what_is_closed_already_is_asked_no_more() -> None:
    old = filter_text(CLOSED).replace("\t\tmeta l4proto { tcp, udp } th dport 53 return\n", "")  # names too, as it was
    files = {**reading().files, RULES_FILE: old, UNIT_FILE: unit()}
    where = context(reading(files=files, unit_enabled=True, listed=LISTED, loaded=LISTED), rules=CLOSED,
                    docker=docker(WEB))  # fmt: skip
    (rule,) = plan(where)
    assert isinstance(rule, WriteFile)
    assert rule.text == filter_text(CLOSED)
    assert rule.interrupts == ""


def test_the_rest_is_done_meanwhile_and_then_nothing_is_left_but_that() -> None:
    rules = RULES.model_copy(update={"metadata": "closed"})
    changes = plan(context(rules=rules, docker=docker(WEB)))
    assert written(changes)[RULES_FILE].text == filter_text(without(rules))
    guarded = BridgesRules(guarded_engines={"lxc": ()}, metadata="closed")
    files = {**reading().files, RULES_FILE: filter_text(without(guarded)), UNIT_FILE: unit()}
    where = context(reading(files=files, unit_enabled=True, listed=LISTED, loaded=LISTED), rules=guarded,
                    docker=docker(WEB))  # fmt: skip
    assert (
        reason(where, "filter")
        == "bridges reach the cloud's metadata addresses, which the policy closes (bridges.metadata)"
    )
    (blocked,) = plan(where)
    assert isinstance(blocked, Blocked)
