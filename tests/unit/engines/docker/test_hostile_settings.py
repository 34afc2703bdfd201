"""Settings with which dockerd and the kernel do what their writer did not mean: tried on a real host, and said so."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked
from deploys.core.control import State
from deploys.core.json_merge import merge_text
from deploys.engines.docker.daemon import daemon_json
from facts.engines.docker.docker import Unit
from facts.kernel.sysctls import SysctlFile, as_number, taken
from tests.support import userns
from tests.support.docker import FILE, POOL, ULIMITS, docker, findings, plan, reason, state
from tests.support.hosts import container
from tests.support.kernel_host import FORWARD, KERNEL, planned, policy_of, survey_of, sysctls_of, verdict_of

# ------------------------------------------------------------------------------------------------ daemon.json


# What `dockerd --validate` of 26.1.5 refuses, and what it takes.
REFUSED: dict[str, list[Any]] = {
    "insecure-registries": [True, "a b", {"a": 1}, [1]],
    "icc": ["false", 0],
    "hosts": ["tcp://0.0.0.0:2375", 5, {}],
    "dns": [True, "1.1.1.1"],
    "log-opts": [{"max-file": 3}, []],
    "default-ulimits": [{"nofile": 5}, []],
    "default-address-pools": [{"base": "10.0.0.0/8"}, [5]],
    "mtu": ["1500", 1500.5, True],
    "userns-remap": [True, 0],
    "features": [{"buildkit": "true"}],
    "runtimes": [[]],
    "default-network-opts": [{"bridge": {"a": 1}}, {"bridge": []}, []],
    "live-restore": ["true"],
    "seccomp-profile": [3],
    "log-driver": [["x"]],
    "group": [3],
    "metrics-addr": [9323],
    "tlsverify": [1],
}
TAKEN: dict[str, list[Any]] = {
    "insecure-registries": [None, []],
    "icc": [None, False],
    "log-opts": [{"max-file": "3"}],
    "features": [{"buildkit": True}],
    "default-network-opts": [{"bridge": {"a": "1"}}],
    "default-shm-size": ["64M"],
    "proxies": [{"http-proxy": "http://u:p@h"}],
}
RULES: dict[str, Any] = {
    "live_restore": True, "no_new_privileges": True, "userland_proxy": False, "log_driver": "journald",
    "log_opts": {"journald": {"tag": "x"}, "json-file": {"max-file": "3"}}, "log_level": "warn",
    "default_ulimits": ULIMITS, "default_address_pools": [POOL], "iptables": True,
    "tcp": "none", "insecure_registries": [], "experimental": False, "file_modes": True, "trusted_users": [],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in REFUSED.items() for value in values])
def test_a_type_with_which_dockerd_does_not_start_is_a_finding(key: str, value: Any) -> None:
    reading = docker({key: value})
    assert state("daemon-json", reading) is State.FAIL
    assert f"{key} is not " in reason("daemon-json", reading)
    assert "so dockerd does not start with it" in reason("daemon-json", reading)
    context, _ = findings(reading, **RULES)
    said = [finding.verdict.reason for finding in context.findings.values()]
    assert not [text for text in said if "makes no sense" in text or "make sense" in text]
    assert all(isinstance(change, Blocked) or change.subject != "docker" or "daemon.json" not in change.what
               for change in plan(reading, **RULES))  # fmt: skip
    change = daemon_json(context, "x", "what", put={"icc": False})
    assert isinstance(change, Blocked)
    assert f"{key} is not " in change.why


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in TAKEN.items() for value in values])
def test_a_type_with_which_it_starts_is_none(key: str, value: Any) -> None:
    assert state("daemon-json", docker({key: value})) is State.PASS


def test_the_control_of_such_a_key_is_unknown_and_says_why() -> None:
    reading = docker({"insecure-registries": True})
    assert state("insecure-registries", reading, insecure_registries=[]) is State.UNKNOWN
    said = reason("insecure-registries", reading, insecure_registries=[])
    assert said == f"{FILE}: insecure-registries is not a list of texts, so dockerd does not start with it"


@pytest.mark.parametrize(
    ("name", "value", "control"),
    [
        ("Swarm", 5, "live-restore"),
        ("Swarm", ["active"], "no-tcp"),
        ("SecurityOptions", 5, "no-new-privileges"),
        ("DefaultAddressPools", "x", "default-address-pools"),
        ("RegistryConfig", [], "insecure-registries"),
        ("RegistryConfig", {"IndexConfigs": [5]}, "insecure-registries"),
        ("RegistryConfig", {"IndexConfigs": {"r": 5}}, "insecure-registries"),
        ("RegistryConfig", {"IndexConfigs": {"r": {"Secure": "no"}}}, "insecure-registries"),
        ("RegistryConfig", {"InsecureRegistryCIDRs": "0.0.0.0/0"}, "insecure-registries"),
        ("LiveRestoreEnabled", "yes", "live-restore"),
        ("LoggingDriver", ["journald"], "log-driver"),
        ("Driver", ["overlay2"], "storage-driver"),
    ],
)
def test_what_docker_info_makes_no_sense_of_is_unknown(name: str, value: Any, control: str) -> None:
    reading = docker({}, {name: value}, containers=(container(),))
    rules = {**RULES, "refused_storage_drivers": ["aufs"]}
    assert state(control, reading, **rules) is State.UNKNOWN
    assert f"docker info: {name} " in reason(control, reading, **rules) or name == "RegistryConfig"


def test_a_mode_that_is_none() -> None:
    reading = dataclasses.replace(docker({}), unit=Unit(socket_mode="rw-rw----"))
    assert state("file-modes", reading, file_modes=True) is State.UNKNOWN
    assert "rw-rw----, which is not a mode" in reason("file-modes", reading, file_modes=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"mtu": ' + "9" * 5000 + "}", "too many digits"),
        ('{"mtu": NaN}', "NaN is no JSON"),
        ('{"mtu": 1e999}', "1e999 is no JSON"),
    ],
)
def test_json_that_dockerd_takes_for_none(text: str, why: str) -> None:
    reading = docker(text, running=False)
    assert state("daemon-json", reading) is State.FAIL
    assert why in reason("daemon-json", reading)


def test_half_a_character_does_not_keep_the_file_from_being_written() -> None:
    text = '{"labels": ["\\ud800"], "icc": true}'
    assert state("daemon-json", docker(text)) is State.PASS
    assert json.loads(merge_text(text, {"icc": False}).encode()) == {"labels": ["\ufffd"], "icc": False}


# ------------------------------------------------------------------------------------------------ sysctl.d


# Written by systemd-sysctl 257 on Linux 6.12.117 from `net.ipv4.conf.all.rp_filter = VALUE`, where it was 0 before, and
# the live value afterwards: 0 where the kernel refused ("Invalid argument"). sysctl -p of procps 4.0.4 did the same.
WRITTEN = {
    "1  # strict, see ticket 4711": 1, "1 ; x": 1, "strict": 0, "1strict": 0, "0x1": 1, "01": 1, "+1": 0, "-1": -1,
    "1 2": 1, "": 0, '"1"': 0, "1#": 0, "1,2": 0, "yes": 0, "2.5": 0,
}  # fmt: skip
RP = "net.ipv4.conf.all.rp_filter"


@pytest.mark.parametrize(("value", "live"), WRITTEN.items())
def test_a_value_is_what_the_kernel_takes_of_it(value: str, live: int) -> None:
    assert (as_number(taken(" ".join(value.split()))) or 0) == live


def test_what_is_no_list_of_numbers_stays() -> None:
    assert taken("|/bin/false # c") == "|/bin/false # c"
    assert taken("4 4 1 7 # c") == "4 4 1 7"
    assert taken("9" * 5000) == "9" * 5000


@pytest.mark.parametrize(
    ("value", "live", "want", "says"),
    [
        ("2  # loose, see ticket 4711", "2", State.PASS, "is 2 on disk and live"),
        ("0  # off", "2", State.FAIL, "/etc/sysctl.d/x.conf sets rp_filter to 0 at boot"),
        (
            "loose",
            "2",
            State.FAIL,
            "/etc/sysctl.d/x.conf sets rp_filter to loose, which is not a number: the kernel rejects it",
        ),
        ("2", "many", State.UNKNOWN, f"{RP} is many, which is not a number"),
    ],
)
def test_rp_filter_with_words_behind_it(value: str, live: str, want: State, says: str) -> None:
    kernel = replace(KERNEL, sysctls=sysctls_of({RP: live}, {"/etc/sysctl.d/x.conf": f"{RP} = {value}\n"}))
    verdict = verdict_of("kernel.rp-filter", survey_of(kernel), rp_filter=2)
    assert verdict.state is want
    assert says in verdict.reason


@pytest.mark.parametrize(
    ("value", "want", "says"),
    [
        ("1 # restricted", State.PASS, "on disk and live"),
        ("yes", State.FAIL, "sets it to yes at boot, which is not a number: the kernel rejects it"),
    ],
)
def test_sysctls_with_words_behind_them(value: str, want: State, says: str) -> None:
    key = "kernel.dmesg_restrict"
    kernel = replace(KERNEL, sysctls=sysctls_of({key: "1"}, {"/etc/sysctl.d/x.conf": f"{key} = {value}\n"}))
    verdict = verdict_of(f"kernel.sysctl.{key}", survey_of(kernel), sysctls={key: 1})
    assert verdict.state is want
    assert says in verdict.reason


@pytest.mark.parametrize(
    ("value", "want"), [("1 # for Docker", State.PASS), ("0 # CIS 3.3.1", State.FAIL), ("yes", State.FAIL)]
)
def test_forwarding_with_words_behind_it(value: str, want: State) -> None:
    files = {"/etc/sysctl.d/x.conf": f"{FORWARD} = {value}\n"}
    survey = survey_of(replace(KERNEL, sysctls=sysctls_of({FORWARD: "1"}, files)))
    assert verdict_of("kernel.forwarding", survey, forwarding=True).state is want
    assert bool(planned(survey, policy_of(forwarding=True))) is (want is State.FAIL)


def test_limits_and_switches_with_words_behind_them() -> None:
    few = SysctlFile("/etc/sysctl.d/x.conf", "user.max_user_namespaces = 9000 # few\n")
    verdict = userns.context(rules=userns.LIMITED, files=(few,)).findings["userns.limits"].verdict
    assert (verdict.state, verdict.disk) == (State.FAIL, 9000)
