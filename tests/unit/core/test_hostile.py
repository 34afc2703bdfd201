"""A host that says what nobody would: what of it makes no sense is unknown, and the rest is judged."""

from __future__ import annotations

import base64
import gzip
import subprocess
import tracemalloc
from dataclasses import replace

import pytest

from deploys.core.control import Finding, State, failed
from deploys.core.policy import Policy
from deploys.networks.isolation import NetworksRules
from deploys.run import baseline
from deploys.run.script import Script, library
from facts.containers import Containers
from facts.core.frame import SURVEY_BYTES, read_frame, unpack
from facts.core.reading import Block, Section, Unknown, UnknownReading, attempt
from facts.core.record import Record, RecordReading, Watched
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.networks.forward import Packet, read_filter
from facts.networks.networks import Networks
from tests.support import networks
from tests.support.cases import CASES, read
from tests.support.control import control
from tests.support.forward import HEAD
from tests.support.hosts import judged
from tests.support.kernel_host import KERNEL
from tests.support.survey import GOOD, Words, fact, on_host

# ------------------------------------------------------------------------------------------------ the frame


@pytest.mark.parametrize(
    "lines",
    [
        ["@hullproof "],
        ["@hullproof  "],
        ["@hullproof n\n@n section"],
        ["@hullproof n", "@n section good", "@n block say", "@n status 0 0", "@n end good 99999999999999999999999"],
        ["@hullproof n", "@n section good", "@n block say", "@n status ٣", "@n end good ²"],
        ["@hullproof n", "@n section \0", "\0\0", "@n end \0 0"],
        ["@hullproof " + "n" * 100_000],
        [base64.b64encode(gzip.compress(b"@hullproof ")).decode()],
        [base64.b64encode(b"\x1f\x8b\x08\0 and no more").decode()],
    ],
)
def test_frames_that_are_none(lines: list[str]) -> None:
    survey = Survey.parse([GOOD], lines)
    assert isinstance(survey.readings[GOOD], Unknown)


def test_any_number_of_blocks_and_a_name_that_comes_again() -> None:
    blocks = "".join(f"@n block b{n}\n\n@n status 0\n" for n in range(60_000))
    text = f"@hullproof n\n@n section good\n{blocks}@n block say\nhello\n\n@n status 0\n\n@n end good 0\n"
    section = read_frame(text.split("\n"))["good"]
    assert isinstance(section, Section)
    assert len(section.blocks) == 60_001
    assert Survey.parse([GOOD], text.split("\n"))[GOOD] == Words("hello\n")


def test_a_small_answer_that_unpacks_to_a_huge_one_takes_no_memory() -> None:
    packed = base64.b64encode(gzip.compress(b"@hullproof n\n" + b"x" * 200_000_000, 1)).decode()
    tracemalloc.start()
    try:
        assert len(unpack([packed])) == SURVEY_BYTES
        assert tracemalloc.get_traced_memory()[1] < 5 * SURVEY_BYTES
    finally:
        tracemalloc.stop()


def test_a_host_cuts_its_own_answer_and_what_was_before_is_read() -> None:
    many = [fact(f"much{n}", "run say head -c 1900000 /dev/urandom") for n in range(6)]
    survey = on_host(GOOD, *many, fact("last", "run say echo x"))
    assert survey[GOOD] == Words("hello\n")
    states = [isinstance(survey.readings[each], Unknown) for each in many]
    assert states == sorted(states)
    assert 2 <= sum(states) <= 3
    cut = {reading.unknown for reading in survey.readings.values() if isinstance(reading, Unknown)}
    assert all("cut short" in text or "ended before it" in text for text in cut)


def test_nonsense_in_a_part_costs_that_part() -> None:
    def wrong() -> str:
        raise KeyError("host")

    assert attempt("docker", wrong) == Unknown("docker: the host's answer makes no sense (KeyError: 'host')")
    assert attempt("x", lambda: "well") == "well"


# ------------------------------------------------------------------------------------------------ packet filters


@pytest.mark.parametrize(
    "rule", ['-A FORWARD -m comment --comment "unended -j ACCEPT', "-A FORWARD -i eth0 -j", "-A FORWARD -j"]
)
def test_a_rule_of_iptables_that_cannot_be_read_is_unknown(rule: str) -> None:
    table = read_filter(f"{HEAD}{rule}\nCOMMIT\n")
    assert table is not None
    with pytest.raises(UnknownReading, match="cannot parse this rule of iptables: -A FORWARD"):
        table.between_ports("docker0", ())
    reading = replace(networks.reading(), filter4=table)
    readings = {Networks: reading, Docker: networks.docker(), Kernel: KERNEL}
    context = judged(networks.SUBJECT, NetworksRules(icc=False), readings)
    assert context.findings["networks.icc"].state is State.UNKNOWN
    assert "cannot parse this rule of iptables" in context.findings["networks.icc"].verdict.reason


def test_a_rule_that_no_packet_comes_to_does_not_matter() -> None:
    table = read_filter(f'{HEAD}-A FORWARD -j DROP\n-A FORWARD -m comment --comment "unended\nCOMMIT\n')
    assert table is not None
    assert table.between_ports("docker0", ()).drop


def test_ports_and_addresses_that_are_none_match_sometimes() -> None:
    packet = Packet("a", "", ("10.0.0.0/8",), (), "tcp", 80)
    for rule in ("-p tcp --dport http -j ACCEPT", "-s nonsense -j ACCEPT", "--dport 99999999 -j ACCEPT"):
        table = read_filter(f"{HEAD.replace('INPUT ACCEPT', 'INPUT DROP')}-A INPUT {rule}\nCOMMIT\n")
        assert table is not None
        assert not table.verdict(packet).drop


def test_chains_are_followed_so_deep_and_no_deeper() -> None:
    def chains(count: int) -> str:
        return f"{HEAD}-A FORWARD -j C0\n" + "".join(f"-A C{n} -j C{n + 1}\n" for n in range(count)) + "COMMIT\n"

    assert read_filter(chains(40)).between_ports("docker0", ()).by == "FORWARD policy DROP"  # type: ignore[union-attr]
    with pytest.raises(UnknownReading, match="more than 50 deep"):
        read_filter(chains(5000)).between_ports("docker0", ())  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------ containers


def test_a_seccomp_filter_nested_without_end() -> None:
    identity = "f" * 64
    rows = f"docker 0 7 {identity} /run/b\n"
    section = Section({"uid": Block(0, "0"), "engines": Block(0, "docker"), "containers": Block(0, rows),
                       "filters": Block(0, "/run/b/config.json " + '{"a":' * 100_000)})  # fmt: skip
    reading = Containers.parse(section)
    assert isinstance(reading.containers, tuple)
    assert isinstance(reading.containers[0].filter, Unknown)


# ------------------------------------------------------------------------------------------------ what is kept


def test_what_hullproof_kept_and_somebody_else_wrote() -> None:
    watched = Watched("/etc/x", "absent", "0" * 64, 99_999_999_999, "\x1b[2Jroot")
    kept = {"time": ["x"], "run": 5, "findings": {"test.one": {"state": "pass"}}}
    files = (watched, replace(watched, digest="1"))
    record = RecordReading(kept, journals=(), spent=(), unread=(), watched=files, packages=("~", "~~ short", ""))
    before = Finding(control(files=("/etc/x",)), failed("not as it was", declared=1, disk=2, live=3))
    (found,) = baseline.with_drift([before], Survey({Record: record}), Policy("p", {}))
    assert found.drift is not None
    assert "is gone" in found.drift["cause"]


def test_a_failure_is_told_in_letters_that_arrive() -> None:
    """`tail -c` had cut a letter in two, and pyinfra then lost all that came after."""
    first = [line for line in library().splitlines() if line.startswith(("LC_ALL", "printable()", "fail()"))]
    said = "é" * 1000 + "\x1b[2J\x07 tab\there\nline ü"
    done = subprocess.run(
        ["sh", "-s"], input=f"N=n\n{chr(10).join(first)}\nfail 0001 '{said}'\n", text=True, capture_output=True
    )
    assert done.stdout.isascii()
    assert all(letter.isprintable() or letter == "\n" for letter in done.stdout)
    assert Script("", "n").answer(done.stdout.splitlines())["0001"].error.endswith("?[2J? tab here;line ??")


def test_a_proof_says_nothing_to_the_terminal() -> None:
    from tests.verify.proof import Proof
    from tests.verify.verdict import Verdict

    proof = object.__new__(Proof)
    proof.title, proof.control, proof.host, proof.told = "t", "c.d", "h", []
    with pytest.raises(pytest.fail.Exception) as caught:
        proof.settle(lambda: Verdict(False, "\x1b[2Jread password=hunter2"))
    assert "\x1b" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert proof.told == [("evidence", "read password=(not shown)"), ("settled", "yes")]


def test_the_recorded_case_of_a_container_that_makes_no_sense() -> None:
    """Docker itself is judged all the same."""
    case = CASES / "engines.docker.Docker" / "unknown-nonsense-container.json"
    reading = Docker.read(read_frame(read(case)["output"])["docker"])
    assert not isinstance(reading, Unknown)
    assert isinstance(reading.containers, Unknown)
    assert reading.running is True
