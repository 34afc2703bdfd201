"""What a new kernel is checked for, as the host's own shell does it: containers, and how others reach the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kernel_trial_host import NEW, Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def confirmed(host: Host) -> bool:
    """Whether the new kernel, which the host has come up with, is kept; it is left otherwise."""
    done = host.sh("gate")
    assert done.returncode == 0, done.stderr
    left = host.get("systemctl").splitlines()[-1] == "reboot"
    assert left is (host.last().get("result") != "confirmed")
    return not left


def failed(host: Host) -> str:
    return host.get(f"{host.trial}/failed")


def made_anew(host: Host, id_: str, **words: object) -> None:
    """The container is another one after the boot, as `docker compose down` and `up` leave it."""
    (host.root / "containers" / id_).unlink()
    host.container(f"{id_}new", **{"name": f"web{id_}"} | words)


def test_a_container_that_was_made_anew_under_its_name_is_the_same_to_us(host: Host) -> None:
    host.armed().boots(NEW)
    made_anew(host, "c1", running="$([ $now -lt 40 ] && echo false || echo true)")
    assert confirmed(host)
    assert host.get("started").split() == ["c2"], "whoever makes it anew starts it"


@pytest.mark.parametrize(
    "words",
    [{"running": "false", "code": 1}, {"running": "false", "code": 0}, {"name": "webc1-2"}],
    ids=["ended", "only created", "another name"],
)
def test_a_container_that_was_made_anew_and_does_not_run_is_missed(host: Host, words: dict[str, object]) -> None:
    host.armed().boots(NEW)
    made_anew(host, "c1", **words)
    assert not confirmed(host)
    assert "webc1" in failed(host)


def test_a_name_that_another_container_s_id_begins_with_is_still_missed(host: Host) -> None:
    host.container("c1", name="c2")
    host.armed().boots(NEW)
    (host.root / "containers/c1").unlink()
    assert not confirmed(host)


@pytest.mark.parametrize("label", ["com.docker.swarm.task.id", "io.kubernetes.pod.uid"])
def test_what_an_orchestrator_runs_is_neither_missed_nor_started(host: Host, label: str) -> None:
    host.container("c1", labels=f"""'"a" "{label}" "z" '""", name="stack_web.1.qv8ukj1so2fh")
    host.armed().boots(NEW)
    assert confirmed(host)
    assert host.get("started").split() == ["c2"]


def test_a_label_that_only_mentions_an_orchestrator_changes_nothing(host: Host) -> None:
    host.container("c1", labels="""'"not.io.kubernetes.pod" '""")
    host.armed().boots(NEW)
    assert confirmed(host)
    assert host.get("started").split() == ["c1", "c2"]
