"""What a new kernel is checked for, as the host's own shell does it: containers, and how others reach the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kernel_trial_host import NEW, OLD, Host


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
    host.armed("120", "0", "0", "''", "''").boots(NEW)
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


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"running": "true", "restarting": "true"}, "webc1 is restarting"),
        ({"running": "true", "restarts": "$((now / 10))"}, "webc1 is just started"),
        ({"running": "true", "started": "$((now / 20))"}, "webc1 is just started"),
        ({"running": "true", "health": "unhealthy"}, "webc1 is unhealthy"),
        ({"running": "true", "health": "starting"}, "webc1 is starting"),
        ({"dies": 1}, "webc1 is not running"),
        ({"dies": 20}, "webc1 is"),
    ],
    ids=["backoff", "count rises", "made anew again and again", "unhealthy", "starting", "dies at once", "dies later"],
)
def test_a_container_that_does_not_stay_up_is_not_well(host: Host, words: dict[str, object], why: str) -> None:
    host.container("c1", health="healthy", interval=30_000_000_000)
    host.armed().boots(NEW).container("c1", **words)
    assert not confirmed(host)
    assert failed(host).startswith(f"containers {why}")


@pytest.mark.parametrize(
    "words",
    [
        {"restarting": "$([ $now -lt 40 ] && echo true || echo false)", "started": "$((now < 40 ? now : 40))"},
        {"health": "$([ $now -lt 40 ] && echo starting || echo healthy)"},
        {"health": "none"},
    ],
    ids=["restarts at first", "healthy in the end", "has no health check any more"],
)
def test_a_container_has_until_the_deadline_to_be_well(host: Host, words: dict[str, object]) -> None:
    host.container("c1", health="healthy")
    host.armed("120", "0", "0", "''", "''").boots(NEW).container("c1", running="true", **words)
    assert confirmed(host)


def test_what_runs_has_to_run_on_for_half_a_minute(host: Host) -> None:
    host.armed().boots(NEW)
    assert confirmed(host)
    assert float(host.get("proc/uptime").split()[0]) >= 10 + 30


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"restarts": "$((now / 10))"}, {"running": "false"}),
        ({"restarting": "true"}, {"running": "true"}),
        ({"health": "unhealthy"}, {"running": "true", "health": "unhealthy"}),
        ({"health": "healthy", "interval": 3_600_000_000_000}, {"running": "true", "health": "starting"}),
    ],
    ids=["restarted then, too", "waited to be restarted", "unhealthy then, too", "asked once an hour"],
)
def test_what_was_not_well_before_tells_nothing_of_a_kernel(
    host: Host, before: dict[str, object], after: dict[str, object]
) -> None:
    host.container("c1", **before)
    host.armed().boots(NEW).container("c1", **after)
    assert confirmed(host)


def test_a_container_that_we_started_may_end_by_itself(host: Host) -> None:
    host.armed().boots(NEW).container("c1", code=0, dies=5)
    host.sh("sed -i 's/code=1/code=0/' $ROOT/bin/docker")
    assert confirmed(host)
    assert host.get("started").split() == ["c1", "c2"]


def test_one_that_dies_since_another_is_not_up_yet_is_started_again(host: Host) -> None:
    host.armed("120", "0", "0", "''", "''").boots(NEW).container("c1", dies="$((now < 40 ? 1 : 1000))")
    assert confirmed(host)


def test_under_the_old_kernel_containers_are_waited_for_though_one_never_comes(host: Host) -> None:
    host.armed().boots(OLD).container("c1", dies=1)
    assert host.sh("gate").returncode == 0
    assert host.last()["result"] == "returned"
