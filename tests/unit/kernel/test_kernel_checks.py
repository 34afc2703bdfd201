"""What a new kernel is checked for, as the host's own shell does it: containers, and how others reach the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kernel_trial_host import NEW, OLD, Host


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
    assert host.sh("BACK_SECONDS=9; gate").returncode == 0
    assert host.last()["result"] == "returned"


RA = "default via fe80::2 dev ens3 proto ra metric 1024 expires 1798sec hoplimit 64 pref medium"
HOPS = (
    "default proto static metric 20 \\\tnexthop via 10.0.0.1 dev ens3 weight 1 "
    "\\\tnexthop via 10.1.0.1 dev ens4 weight 1"
)


def ways(host: Host, four: str, six: str = "", client: str = "", get: str = "") -> list[str]:
    for name, text in (("route", four), ("route6", six), ("get", get)):
        host.put(name, text)
    return host.sh(f"ways '{client}'").stdout.splitlines()


@pytest.mark.parametrize(
    ("four", "six", "expected"),
    [
        ("default via 10.0.2.2 dev ens3 proto dhcp src 10.0.2.15 metric 100", RA,
         ["IPv4 default route via 10.0.2.2 on ens3", "IPv6 default route on ens3"]),
        ("default dev ppp0 scope link", "", ["IPv4 default route on ppp0"]),
        (HOPS, "", ["IPv4 default route via 10.0.0.1 on ens3", "IPv4 default route via 10.1.0.1 on ens4"]),
        (HOPS.replace("ens4 weight 1", "ens4 weight 1 dead linkdown"), "", ["IPv4 default route via 10.0.0.1 on ens3"]),
        ("default via inet6 fe80::1 dev ens3", "default via fe80::2 dev ens4 linkdown",
         ["IPv4 default route via inet6 on ens3"]),
        ("unreachable default metric 4278198272", "unreachable default dev lo metric 4294967295 error -101", []),
    ],
)  # fmt: skip
def test_default_routes_of_all_forms(host: Host, four: str, six: str, expected: list[str]) -> None:
    assert ways(host, four, six) == expected


@pytest.mark.parametrize(
    ("client", "get", "expected"),
    [
        ("192.0.2.7", "192.0.2.7 via 10.0.2.2 dev ens3 src 10.0.2.15 uid 0 \\    cache", []),
        ("10.9.0.7", "10.9.0.7 dev ens4 src 10.9.0.2 uid 0 \\    cache", ["IPv4 route to 10.9.0.7 on ens4"]),
        ("2001:db8::7", "2001:db8::7 from :: via fe80::3 dev ens3 proto static src 2001:db8::2 metric 9 pref medium",
         ["IPv6 route to 2001:db8::7 on ens3"]),
        ("fe80::7%ens4", "fe80::7 dev ens4 proto kernel src fe80::5054 metric 256 pref medium",
         ["IPv6 route to fe80::7%ens4 on ens4"]),
        ("127.0.0.1", "local 127.0.0.1 dev lo src 127.0.0.1 uid 0 \\    cache <local>", []),
        ("192.0.2.7", "", []),
    ],
)  # fmt: skip
def test_the_way_to_an_ssh_client_counts_where_no_default_route_is_it(
    host: Host, client: str, get: str, expected: list[str]
) -> None:
    default = "IPv4 default route via 10.0.2.2 on ens3"
    assert ways(host, "default via 10.0.2.2 dev ens3", "", client, get) == [default, *expected]


BY_SSH = "mkdir -p $R/proc/$$; printf 'A=b\\0SSH_CONNECTION=10.9.0.7 50000 10.9.0.2 22\\0' >$R/proc/$$/environ"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("", ""),
        (": >$ROOT/route6", "no IPv6 default route on ens3"),
        ("sed -i s/fe80::2/fe80::99/ $ROOT/route6", ""),
        ("sed -i s/ens3/ens5/ $ROOT/route6", "no IPv6 default route on ens3"),
        ("echo '10.9.0.7 via 10.0.2.2 dev ens3' >$ROOT/get", "no IPv4 route to 10.9.0.7 on ens4"),
        ("echo ens4 >$ROOT/no-link", "ens4 has no link"),
    ],
    ids=["all there", "no router", "another router", "another device", "by another way", "no link"],
)
def test_the_ways_that_were_there_have_to_be_there_again(host: Host, spoil: str, why: str) -> None:
    host.put("route6", RA)
    host.put("get", "10.9.0.7 dev ens4 src 10.9.0.2 uid 0")
    host.sh(f"keep; {BY_SSH}; arm 60 0 0 '' ''")
    host.boots(NEW).sh(spoil)
    assert confirmed(host) is (why == "")
    assert why in failed(host)


def test_a_host_without_a_default_route_is_checked_by_its_way_to_the_ssh_client(host: Host) -> None:
    host.put("route", "")
    host.put("get", "10.9.0.7 dev ens4 src 10.9.0.2 uid 0")
    done = host.sh(f"keep; {BY_SSH}; arm 60 0 0 '' ''")
    assert done.returncode == 0, done.stdout
    host.boots(NEW).put("get", "")
    assert not confirmed(host)
    assert failed(host) == "network no IPv4 route to 10.9.0.7 on ens4\n"
