"""How a run is divided: which hosts when, with whom, and what does not begin after a failure."""

from __future__ import annotations

import pytest

from hullproof.fleet.parts import End, Part, split
from hullproof.fleet.run import Asked, FleetError, carry_out
from hullproof.fleet.whole import whole
from tests.support.fleet import JOB, Team, about, ended, listed

EIGHT = [f"h{number}" for number in range(8)]


def hosts(parts: list[Part]) -> list[str]:
    return [" ".join(part.hosts) for part in parts]


@pytest.mark.parametrize(
    ("slots", "most", "parts"),
    [
        (1, 250, ["h0 h1 h2 h3 h4 h5 h6 h7"]),
        (3, 250, ["h0 h1", "h2 h3 h4", "h5 h6 h7"]),
        (20, 250, EIGHT),
        (2, 3, ["h0 h1", "h2 h3 h4", "h5 h6 h7"]),
    ],
)
def test_parts_are_equal_and_not_too_great(slots: int, most: int, parts: list[str]) -> None:
    assert hosts(split(listed(*EIGHT).hosts, {"": slots}, most=most)) == parts


def test_a_part_is_of_one_region() -> None:
    parts = split(listed("a@eu", "b@us", "c@eu", "d").hosts, {"eu": 1, "us": 5, "": 6})
    assert [(part.region, part.hosts) for part in parts] == [("eu", ("a", "c")), ("us", ("b",)), ("", ("d",))]


def test_what_only_reads_is_one_wave() -> None:
    team = Team(statuses={"h0": "error"})
    carry_out(JOB, listed("canary1", *EIGHT), team, reads_only=True)
    assert hosts(team.begun) == ["canary1 h0 h1 h2", "h3 h4 h5 h6 h7"]


def test_changes_go_to_canaries_first_and_then_by_batches() -> None:
    team = Team()
    carry_out(JOB, listed("h0", "canary1", *EIGHT[1:], batches=("50%", "3")), team, reads_only=False)
    assert hosts(team.begun) == ["canary1", "h0", "h1 h2", "h3", "h4 h5", "h6", "h7"], "the smaller batch is kept to"


@pytest.mark.parametrize(
    ("statuses", "goes_on"),
    [
        ({"canary1": "error"}, False),
        ({"canary1": "unreachable"}, False),
        ({"h0": "error"}, False),
        ({"h0": "unreachable changed"}, False),
        ({"h0": "unreachable"}, True),
    ],
)
def test_after_a_failure_nothing_else_begins(statuses: dict[str, str], goes_on: bool) -> None:
    team = Team(statuses=statuses)
    ends = carry_out(JOB, listed("canary1", *EIGHT), team, reads_only=False)
    assert ("h7" in " ".join(hosts(team.begun))) is goes_on
    (failed,) = statuses
    last = next(end for end in ends if "h7" in end.part.hosts)
    said = f"not begun, since something went wrong on {failed}: it broke"
    assert last.problem == ("" if goes_on else said)


def test_why_no_host_reboots_reaches_the_parts_that_follow() -> None:
    team = Team(stopped="the canary canary1 warns: no")
    carry_out(JOB, listed("canary1", "h0"), team, reads_only=False)
    assert [part.stopped for part in team.begun] == ["", "the canary canary1 warns: no"]


@pytest.mark.parametrize("size", ["0", "many"])
def test_a_batch_that_makes_no_sense_is_refused_before_anything_begins(size: str) -> None:
    team = Team()
    with pytest.raises(FleetError, match=f"batch={size}: want a number of hosts"):
        carry_out(JOB, listed(*EIGHT, batches=(size,)), team, reads_only=False)
    assert team.begun == []


def test_hosts_of_a_region_without_a_worker_are_out_of_reach() -> None:
    found = listed("a@eu", "b@us", "c")
    made = whole(about(), found.hosts, carry_out(JOB, found, Team({"eu": 1, "": 1}), reads_only=True))
    assert {name: (host["status"], host["error"]) for name, host in made["hosts"].items()} == {
        "a": ("ok", None),
        "b": ("unreachable", "no worker of the region us is connected to the scheduler"),
        "c": ("ok", None),
    }
    assert made["exit_code"] == 1


def test_the_hosts_are_chosen_once_and_each_part_reports_to_its_own_folder() -> None:
    words = ["--limit", "a", "-vv", "--data", "report=x", "--exclude", "b", "--data", "batch=2", "--data", "policy=p"]
    assert Asked("drift", "i", words).job("").options == ("-vv", "--data", "policy=p")
    assert Asked("harden", "i", ["-y"]).job("").options == ("-y", "--data", "batch=100%")
    assert Asked("harden", "i", ["--dry"]).job("").options == ("--dry",)


def test_one_report_comes_out_in_the_order_of_the_inventory() -> None:
    found = listed("a", "b", "c", "d")
    only = {"asked": ["docker"], "controls": 1, "of": 2}
    ends = [
        ended(Part(("d", "b")), about("r2", only=only)),
        End(Part(("a",)), problem="a signal ended pyinfra (SIGKILL)"),
        End(Part(("c",)), ended(Part(())).report),
    ]
    made = whole(about("whole"), found.hosts, ends)
    assert list(made["hosts"]) == ["a", "b", "c", "d"]
    assert made["hosts"]["a"]["error"] == "a signal ended pyinfra (SIGKILL)"
    assert "its inventory lacks the host" in made["hosts"]["c"]["error"]
    assert (made["run"]["id"], made["run"]["only"], made["run"]["policy"]) == ("whole", only, "baseline")
    assert made["exit_code"] == 1


def test_a_part_that_was_refused_says_why() -> None:
    made = whole(
        about(), listed("a").hosts, [End(Part(("a",)), ended(Part(()), about(problem="no such option")).report)]
    )
    assert made["hosts"]["a"]["error"] == "no such option"


def test_a_run_that_ended_before_its_time_says_so() -> None:
    made = whole(about(problem="the scheduler is gone"), listed("a").hosts, [ended(Part(("a",)))])
    assert (made["run"]["problem"], made["exit_code"], made["hosts"]["a"]["status"]) == (
        "the scheduler is gone",
        1,
        "ok",
    )


def test_no_host_is_lost() -> None:
    made = whole(about(), listed("a", "b").hosts, [ended(Part(("a",)))])
    assert made["hosts"]["b"]["error"] == "the run ended before it came to this host"
    assert made["exit_code"] == 1


def test_no_host_at_all_is_an_error() -> None:
    found = listed(batches=())
    made = whole(about(), found.hosts, carry_out(JOB, found, Team(), reads_only=False))
    assert (made["hosts"], made["exit_code"]) == ({}, 1)
