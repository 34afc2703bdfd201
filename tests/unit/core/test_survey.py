"""The frame: what a host prints becomes sections, and nothing it prints can become anything else."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest

from facts.core.fact import SectionFact
from facts.core.frame import read_frame, survey_script
from facts.core.reading import Section, Unknown, UnknownReading
from facts.core.survey import Survey
from tests.support.survey import GOOD, Words, fact, on_host


def reason(survey: Survey, asked: type[SectionFact[Words]]) -> str:
    with pytest.raises(UnknownReading) as caught:
        survey[asked]
    return str(caught.value)


def test_a_section_is_read() -> None:
    assert on_host(GOOD)[GOOD] == Words("hello\n")


@pytest.mark.parametrize(
    ("sh", "seconds", "why"),
    [
        ("run say sleep 20", 1, "no answer in time"),
        ("exit 3", 5, "status 3"),
        ("run other echo x", 5, "say was not read"),
        ("run say cat /nonexistent", 5, "No such file or directory"),
        ("run say no-such-tool --json", 5, "not found"),
        ("run say head -c 50000000 /dev/zero", 10, "cut short"),
        ("kill -9 $$", 5, "no answer in time"),
    ],
)
def test_a_section_that_goes_wrong_is_unknown_and_no_other_is(sh: str, seconds: int, why: str) -> None:
    bad = fact("bad", sh, seconds)
    survey = on_host(GOOD, bad, fact("last", "run say echo x"))
    assert why in reason(survey, bad)
    assert survey[GOOD] == Words("hello\n")


def test_bytes_that_are_no_text_and_forged_frames_stay_inside_their_block() -> None:
    forged = r"@0 end evil 0\n@hullproof 0\n@0 section good\n"
    evil = fact("evil", rf"run say printf '\377\033[2J<script>\n{forged}'")
    survey = on_host(evil, GOOD)
    assert "�" in survey[evil].text
    assert "@0 section good" in survey[evil].text
    assert survey[GOOD] == Words("hello\n")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["garbage"],
        ["@hullproof"],
        ["@hullproof "],
        ["@hullproof  \t", "@ section good"],
        ["QUJD"],
        ["\x1b[2J" * 50],
    ],
)
def test_nonsense_from_a_host_makes_everything_unknown(lines: list[str]) -> None:
    assert "no answer" in reason(Survey.parse([GOOD], lines), GOOD)


def test_a_connection_lost_midway_leaves_what_had_arrived() -> None:
    frame = b"@hullproof n\n@n section good\n@n block say\nhello\n\n@n status 0\n\n@n end good 0\n@n section bad\n@n bl"
    survey = Survey.parse([GOOD, BAD], [base64.b64encode(frame).decode()])
    assert survey[GOOD] == Words("hello\n")
    assert "cut short" in reason(survey, BAD)


def test_a_banner_before_the_frame_does_not_matter() -> None:
    frame = b"@hullproof n\n@n section good\n@n block say\nhello\n\n@n status 0\n\n@n end good 0\n@n done\n"
    lines = ["Welcome!", base64.b64encode(gzip.compress(frame)).decode()]
    assert Survey.parse([GOOD], lines)[GOOD] == Words("hello\n")


def test_a_small_answer_that_unpacks_to_a_huge_one_is_bounded() -> None:
    bomb = base64.b64encode(gzip.compress(b"@hullproof n\n" + b"x" * 200_000_000)).decode()
    assert read_frame([bomb]) == {}


def test_a_parser_that_trips_over_nonsense_makes_its_own_fact_unknown() -> None:
    class Picky(SectionFact[Words]):
        key: ClassVar[str] = "picky"
        script: ClassVar[str] = ""

        @staticmethod
        def parse(section: Section) -> Words:
            return Words(str(int("nonsense")))

    answer = Picky.read(Section({}))
    assert isinstance(answer, Unknown)
    assert "makes no sense" in answer.unknown


def test_the_whole_script_fits_in_one_argument_too() -> None:
    """A fact asked alone goes as an argument, which Linux limits to 128 KiB (execve(2), MAX_ARG_STRLEN)."""
    assert len(GOOD().command()) < 131_072


BAD = fact("bad", ":")


def test_what_is_not_there_is_told_from_what_may_not_be_looked_for() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "there").write_text("x")
        (folder / "dangling").symlink_to(folder / "nowhere")
        (folder / "closed").mkdir(mode=0)
        files = [f"{folder}/{each}" for each in ("there", "dangling", "none", "no/such/folder", "closed/x/y")]
        script = survey_script([Asking("files", f"show {' '.join(files)}", 5)])
        nobody = 65534 if os.geteuid() == 0 else None
        said = subprocess.run(["sh"], input=script, user=nobody, capture_output=True, text=True, check=True).stdout
        section = read_frame(said.splitlines())["files"]
        (folder / "closed").chmod(0o700)
    assert isinstance(section, Section)
    assert [section.file(each) for each in files[:4]] == ["x", None, None, None]
    assert section.file(files[4]) == Unknown(f"{files[4]}: cat: {files[4]}: Permission denied")


class Asking(NamedTuple):
    key: str
    script: str
    timeout: int
