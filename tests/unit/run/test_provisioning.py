"""Provision: a host whose guests Docker would cut off is not given it unasked."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.core.change import Blocked, Install
from deploys.core.policy import Policy
from deploys.engines.provisioning import engine_for
from deploys.run import ending, look, operations
from deploys.run.session import Reached, Session
from facts.core.reading import Unknown
from facts.core.record import Record
from facts.core.survey import Survey
from facts.core.system import System, SystemReading
from facts.engines.docker.docker import Docker
from facts.networks.networks import Networks
from tests.support.journal import RUN
from tests.support.networks import docker, kvm, reading


def bare(nets: Any, version: str) -> Survey:
    debian = SystemReading("debian", (), version, f"Debian {version}", "", "", 0, 0, True, None)
    nothing = docker(installed=False, running=False, networks=Unknown("no daemon"), version=None)
    return Survey({System: debian, Docker: nothing, Networks: nets})


NO_IPTABLES: dict[str, Any] = {"filter4": None, "filter6": None, "tables": None, "guards": None}
NOT_LOADED: dict[str, Any] = {**NO_IPTABLES, "br_netfilter": False, "nf_call": {}}
MET: dict[str, Any] = {**NO_IPTABLES, "nf_call": {"iptables": 1}}


@pytest.mark.parametrize(
    ("nets", "version", "says"),
    [
        (reading(**NO_IPTABLES), "13", ""),
        (kvm(**NO_IPTABLES), "13", ""),  # br_netfilter is loaded, and hands nothing over
        (kvm(**NOT_LOADED), "13", "Docker loads br_netfilter"),
        (kvm(**NOT_LOADED), "14", ""),  # whose Docker does not
        (kvm(**MET), "14", "sets iptables' FORWARD policy to DROP"),
        (kvm(bridges=Unknown("no ip")), "13", "not known: no ip"),
    ],
)
def test_docker_is_not_brought_to_a_host_whose_guests_it_would_cut_off(nets: Any, version: str, says: str) -> None:
    first = engine_for(bare(nets, version), ())[0]
    assert isinstance(first, Blocked if says else Install)
    if isinstance(first, Blocked):
        assert says in first.why
        assert "br0 (vnet0, vnet1)" in first.why or "not known" in first.why
    assert isinstance(engine_for(bare(nets, version), {"bridged-guests"})[0], Install)


@pytest.mark.parametrize("family", ["debian", "rhel"])
def test_a_host_that_got_no_engine_is_no_success(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    survey = bare(reading(**NO_IPTABLES), "13")
    system = dataclasses.replace(survey[System], id=family, pretty_name=family)
    survey = Survey({**survey.readings, System: system, Record: Unknown("none")})
    host: Any = type("Host", (), {"name": "h"})()
    session = Session(host, Policy("test", {}), [], {**RUN, "kind": "provision"})
    session.survey, session.reached = survey, Reached.SURVEY
    look.begin_with(session, engine_for(survey, ()))
    monkeypatch.setattr(look, "look", lambda session: None)
    monkeypatch.setattr(operations, "current", lambda: type("Run", (), {"sessions": {"h": session}}))
    monkeypatch.setattr(operations, "show_plan", lambda session: None)
    state: Any = None
    assert operations._plan_again(state, host)
    report = ending.report(session, Reached.END)
    assert report.status == ("ok" if family == "debian" else "error")
    assert ("install Docker: rhel packages no Docker of its own" in str(report.error)) is (family == "rhel")
