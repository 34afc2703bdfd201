"""A profile of ours from observation to enforcing and back, on a host where other people's containers run.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
PLAIN = "lsm: {module: auto}\napparmor: {enabled: true, containers: true}\n"
POLICY = "apparmor: {enabled: true, containers: true, container_profile: default, observe_hours: 1}\n"
HOST_TOOLS = "-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro"
RAW = "/usr/bin/perl -e 'socket(S,2,3,1) or die qq($!); print qq(raw)'"
SITE = "/etc/apparmor.d/site.tool"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]

Deploy = Callable[..., Result]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


@pytest.fixture(scope="module")
def deploy(vm: Vm, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Run a deploy under a policy of AppArmor alone; every run may start containers anew."""
    folder: Path = tmp_path_factory.mktemp("policy")
    (folder / "plain.yml").write_text(PLAIN)
    (folder / "ours.yml").write_text(POLICY)

    def go(name: str, *accept: str, policy: str = "ours") -> Result:
        names = ",".join(("container-restart", *accept))
        return run(vm, name, "--data", f"policy={folder / policy}.yml", "--data", f"accept={names}")

    return go


def web(vm: Vm) -> tuple[str, str]:
    """The process of the container, and its label."""
    pid = vm.ssh("docker inspect -f '{{.State.Pid}}' web").stdout.strip()
    return pid, vm.ssh(f"cat /proc/{pid}/attr/current").stdout.strip()


def raw_socket(vm: Vm, options: str = "") -> bool:
    """Whether a new container opens a raw socket."""
    command = f"docker run --rm {HOST_TOOLS} {options} lab/busybox:1 {RAW}"
    return vm.ssh(command, check=False, timeout=240).stdout == "raw"


def in_web(vm: Vm) -> bool:
    return vm.ssh(f"docker exec web {RAW}", check=False, timeout=120).stdout == "raw"


def mode(vm: Vm, profile: str) -> str:
    return vm.ssh(f"sed -n 's/^{profile} (\\(.*\\))$/\\1/p' /sys/kernel/security/apparmor/profiles").stdout.strip()


def by_design(vm: Vm) -> set[str]:
    """The loaded profiles that confine nobody, and only give a program a name."""
    return set(vm.ssh("sed -n 's/ (unconfined)$//p' /sys/kernel/security/apparmor/profiles").stdout.splitlines())


def test_before_containers_are_unconfined(vm: Vm, distribution: str) -> None:
    if distribution == "debian12":  # without the parser Docker 20.10 starts none
        vm.ssh("apt-get -qq install --no-install-recommends apparmor 2>&1 && systemctl restart docker", timeout=900)
    # Without auditd the kernel's log is all there is, and a clock that is set moves the boot that it begins with.
    vm.ssh("apt-get -qq install --no-install-recommends auditd 2>&1", timeout=900)
    vm.ssh(f"docker run -d --name web --restart always {HOST_TOOLS} lab/busybox:1 sleep 1000000", timeout=240)
    assert web(vm)[1] == ("docker-default (enforce)" if distribution == "debian12" else "unconfined")
    assert in_web(vm)


def test_dockers_own_profile_is_found_missing_and_loaded_again(
    vm: Vm, deploy: Deploy, story: dict[str, Any], distribution: str
) -> None:
    """It has no file, so aa-remove-unknown takes it for a stranger, and what ran under it runs unconfined."""
    plain = deploy("harden.py", policy="plain")
    assert plain.not_holding() == {}, plain.out + plain.err
    assert plain.states()["lsm.module"] == "pass"
    story["design"] = by_design(vm)
    assert distribution != "debian13" or len(story["design"]) > 12, "Debian 13 ships dozens"
    assert web(vm)[1] == "docker-default (enforce)"
    assert in_web(vm), "Docker's own lets it"
    vm.ssh("aa-remove-unknown")
    assert web(vm)[1] == "unconfined"
    drift = deploy("drift.py", policy="plain")
    assert "docker-default is not loaded" in drift.reason("apparmor.docker-profile")
    assert "web" in drift.reason("containers.confined")
    for _ in range(2):  # the profile, then what runs without it
        mended = deploy("harden.py", policy="plain")
    assert mended.not_holding() == {}, mended.out + mended.err
    assert web(vm)[1] == "docker-default (enforce)"


def test_it_is_observed_first_without_taking_protection_away(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    first = deploy("harden.py")
    story["runs"] = [first.report["run"]["id"]]
    assert first.host()["status"] == "ok", first.out + first.err
    assert mode(vm, "hullproof-container") == "complain"
    assert mode(vm, "docker-default") == "enforce", "other people's containers keep what Docker's own denies"
    assert web(vm)[1] == "docker-default (enforce)"
    assert "is observed until" in first.reason("apparmor.container-default")
    vm.ssh(f"printf 'profile site.tool /opt/site/tool flags=(complain) {{\\n}}\\n' >{SITE}; apparmor_parser -r {SITE}")


def test_what_it_would_refuse_is_collected_and_said(vm: Vm, deploy: Deploy) -> None:
    assert in_web(vm)
    assert raw_socket(vm, "--security-opt apparmor=hullproof-container"), "complaining, it lets it through"
    drift = deploy("drift.py")
    assert "docker-default recorded for perl the operation create inet raw" in drift.reason(
        "apparmor.container-default"
    )
    assert "hullproof-container" in drift.reason("apparmor.container-profile")
    assert "perl the operation create inet raw" in drift.reason("apparmor.container-profile")


def test_when_the_time_is_over_denials_hold_it_back(vm: Vm, deploy: Deploy) -> None:
    vm.ssh("date -s '+2 hours' >/dev/null")
    held = deploy("harden.py")
    assert held.host()["changes"] == []
    assert "would have caused these denials" in held.reason("apparmor.container-default")


def test_accepted_it_is_enforced_under_what_runs(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    pid, _ = web(vm)
    enforced = deploy("harden.py", "container-profile")
    story["runs"].append(enforced.report["run"]["id"])
    assert enforced.not_holding() == {}, enforced.out + enforced.err
    assert web(vm) == (pid, "docker-default (enforce)"), "the same process, confined all the time"
    assert not in_web(vm)
    assert not raw_socket(vm)
    assert not raw_socket(vm, "--security-opt apparmor=hullproof-container")
    assert raw_socket(vm, "--security-opt apparmor=unconfined"), "it is the profile that refuses"


def test_a_second_run_changes_nothing(vm: Vm, deploy: Deploy) -> None:
    again = deploy("harden.py")
    assert again.host()["changes"] == []
    assert again.not_holding() == {}


def test_it_survives_what_takes_profiles_away(vm: Vm, deploy: Deploy) -> None:
    """A restart of Docker, a stopped service, an upgrade of the package, and the removal of profiles without a file."""
    vm.ssh("systemctl restart docker", timeout=240)
    vm.ssh("systemctl stop apparmor; apt-get -qq install --reinstall apparmor 2>&1; aa-remove-unknown", timeout=600)
    assert mode(vm, "docker-default") == "enforce"
    drift = deploy("drift.py")
    assert drift.not_holding() == {}, drift.out
    assert not raw_socket(vm)


def test_torn_down_it_says_who_runs_unconfined_and_mends_it(vm: Vm, deploy: Deploy) -> None:
    vm.ssh("aa-teardown")
    assert web(vm)[1] == "unconfined"
    drift = deploy("drift.py")
    assert "not loaded" in drift.reason("apparmor.container-default")
    assert "web" in drift.reason("containers.confined")
    mended = deploy("harden.py")
    assert mended.host()["status"] == "ok", mended.out + mended.err
    again = deploy("harden.py")  # now that there is a profile, what runs without it is started anew
    assert again.not_holding() == {}, again.out + again.err
    assert web(vm)[1] == "docker-default (enforce)"
    assert not in_web(vm)


def test_other_peoples_profiles_keep_their_mode(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"apparmor_parser -r {SITE}")
    assert mode(vm, "site.tool") == "complain"
    assert by_design(vm) == story["design"]


def test_after_a_boot_it_is_there_before_docker(vm: Vm, deploy: Deploy) -> None:
    vm.reboot(timeout=900)
    vm.ssh("timeout 400 sh -c 'until docker info; do sleep 3; done'", timeout=450)
    drift = deploy("drift.py")
    assert drift.not_holding() == {}, drift.out
    assert web(vm)[1] == "docker-default (enforce)"


def test_rollback_gives_dockers_own_back_and_leaves_nobody_unconfined(
    vm: Vm, deploy: Deploy, story: dict[str, Any]
) -> None:
    pid, _ = web(vm)
    enforced = story["runs"][1]
    undone = run(vm, "rollback.py", "--data", f"run={enforced}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert web(vm) == (pid, "docker-default (enforce)")
    assert in_web(vm), "observed again, as before that run"
    assert mode(vm, "hullproof-container") == "complain"
