"""Networks: a container reaches its sibling though nothing was published, or the host's own services, or forges."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploys.networks.isolation import NetworksRules, covers
from facts.engines.docker.docker import Network
from tests.verify import scenarios
from tests.verify.probe import Outcomes, Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict, forgery_stopped, frames_stopped, neighbour_kept, unreached

DEFAULT = Network("bridge", "bridge", "docker0", False, False, (), ())
DEFAULTS = {"docker": DEFAULT, "podman": Network("podman", "bridge", "podman0", False, False, (), ())}
OWN = Network("", "bridge", "br-", False, False, (), ())  # its name is made when the probe is: no policy gives it


def asked(rules: NetworksRules, network: Network) -> bool:
    return rules.icc is False and covers(rules, network, default=network is DEFAULT)


def settle(prober: Prober, proof: Proof, network: Network, attempt: Callable[[], Verdict]) -> None:
    if asked(prober.policy[NetworksRules], network):
        proof.settle(attempt)
    else:
        proof.settle(lambda: Verdict(None, "the policy does not keep containers on this network apart"))


def reach(prober: Prober, network: str) -> Verdict:
    found = scenarios.containers(prober, "docker")
    return unreached(found[f"sibling:{network}"], found[f"host:{network}"])


@pytest.mark.proof("a container reaches its sibling on the default bridge", control="networks.icc")
def test_default_bridge(prober: Prober, proof: Proof) -> None:
    settle(prober, proof, DEFAULT, lambda: reach(prober, "default"))


@pytest.mark.proof("a container reaches its sibling on a network made with default options", control="networks.icc")
def test_own_network(prober: Prober, proof: Proof) -> None:
    settle(prober, proof, OWN, lambda: reach(prober, "own"))


@pytest.mark.proof("a container reaches its sibling on the default bridge by raw frames", control="networks.icc")
def test_raw_frames(prober: Prober, proof: Proof) -> None:
    def attempt() -> Verdict:
        prober.version("docker")  # the bridge is Docker's: without it there is none to send on
        return frames_stopped(scenarios.frames(prober, ["docker0"]))

    settle(prober, proof, DEFAULT, attempt)


def service(prober: Prober, network: str) -> Verdict:
    found = scenarios.containers(prober, "docker")
    return unreached(found[f"sibling-service:{network}"], found[f"host-service:{network}"])


def closed(prober: Prober, network: Network) -> str:
    """Why the policy does not close the host's services, or this one, to a network."""
    rules = prober.policy[NetworksRules]
    if rules.host_services is None or not covers(rules, network, default=network is DEFAULT):
        return "the policy does not close the host's services to this network"
    return "the policy names the very port" if f"tcp/{scenarios.SERVICE}" in rules.host_services else ""


@pytest.mark.proof("a container reaches what listens on the host", control="networks.host-services")
def test_host_service(prober: Prober, proof: Proof) -> None:
    why = closed(prober, DEFAULT)
    proof.settle(lambda: Verdict(None, why) if why else service(prober, "default"))


@pytest.mark.proof(
    "a container on a network just made reaches what listens on the host", control="networks.host-services"
)
def test_host_service_later(prober: Prober, proof: Proof) -> None:
    why = closed(prober, OWN)
    proof.settle(lambda: Verdict(None, why) if why else service(prober, "own"))


@pytest.mark.parametrize("engine", DEFAULTS)
@pytest.mark.proof("a container sends from an address that is not its own", control="networks.antispoof")
def test_forged_address(prober: Prober, proof: Proof, engine: str) -> None:
    as_itself(prober, proof, engine, forgery_stopped)


@pytest.mark.parametrize("engine", DEFAULTS)
@pytest.mark.proof("a container is taken for its neighbour by the host", control="networks.antispoof")
def test_neighbours_place(prober: Prober, proof: Proof, engine: str) -> None:
    as_itself(prober, proof, engine, neighbour_kept)


def as_itself(prober: Prober, proof: Proof, engine: str, verdict: Callable[[Outcomes], Verdict]) -> None:
    rules = prober.policy[NetworksRules]
    if not rules.antispoof or not covers(rules, DEFAULTS[engine], default=True):
        proof.settle(lambda: Verdict(None, "the policy does not ask for it on this network"))
    else:
        proof.settle(lambda: verdict(scenarios.containers(prober, engine)))
