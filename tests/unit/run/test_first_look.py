"""What is said once of a host as a whole, in the place of a hundred findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Subject
from deploys.core.control import Control, Finding, Severity, in_container, not_applicable, passed
from deploys.core.policy import Policy, Rules
from deploys.report import report
from deploys.report.formats import html
from deploys.report.terminal import render_table
from deploys.run.first_look import notes
from deploys.run.session import Session
from facts.core.reading import Block, Section, UnknownReading
from facts.core.survey import Survey
from facts.core.system import System
from tests.support.hosts import SYSTEM
from tests.support.journal import RUN


def row(name: str) -> Control:
    return Control(name, "A title", Severity.HIGH, "A reason.", lambda survey, policy: passed("it is"))


def subject(name: str, installed: Callable[[Survey], bool] | None = None) -> Subject:
    return Subject(name, Rules, (row(f"{name}.a"), row(f"{name}.b")), lambda context: (), (), installed=installed)


def unread(survey: Survey) -> bool:
    raise UnknownReading("not read")


def said(*subjects: Subject, **of_system: Any) -> list[str]:
    host: Any = None
    survey = Survey({System: replace(SYSTEM, **of_system)})
    session = Session(host, Policy("p", {}), subjects, RUN, survey=survey)
    why = in_container(survey, session.policy)
    session.findings = [
        Finding(control, not_applicable(why or "it is not installed")) for each in subjects for control in each.controls
    ]
    return notes(session)


def test_of_a_host_that_is_read_as_root_and_has_an_engine_nothing_is_said() -> None:
    assert said(subject("hull"), subject("boat", lambda survey: True)) == []


def test_a_sudo_that_asks_is_said_with_the_option() -> None:
    (note,) = said(subject("hull"), uid=1000, sudo="sudo asks for a password")
    assert note.startswith("we are not root here (uid 1000), since sudo asks for a password: ")
    assert "add --sudo --use-sudo-password" in note
    (note,) = said(subject("hull"), uid=1000, sudo="sudo is not installed")
    assert "--use-sudo-password" not in note
    assert "log in as root" in note


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "sudo is not installed"),
        ("sudo: a password is required", "sudo asks for a password"),
        ("Sorry, user op may not run sudo on h.", "sudo refuses this user (Sorry, user op may not run sudo on h.)"),
    ],
)
def test_why_sudo_did_not_make_us_root(text: str | None, why: str) -> None:
    blocks = {"/etc/os-release": "ID=debian\n", "machine": "x86_64", "/proc/sys/kernel/hostname": "h", "uid": "1000",
              "clock": "1", **({"sudo": text} if text else {})}  # fmt: skip
    section = Section({name: Block(int(name == "sudo"), body) for name, body in blocks.items()})
    assert System.parse(section).sudo == why


def test_a_host_that_is_a_container_is_told_so_in_one_line() -> None:
    (note,) = said(subject("hull"), container="lxc")
    assert note == (
        "this is a container (lxc): the kernel belongs to its host, so 2 controls do not apply here: harden that host "
        "too"
    )


def test_a_host_without_any_engine_is_told_so_in_one_line() -> None:
    none, docker = subject("rkt", lambda survey: False), subject("docker", lambda survey: True)
    assert said(subject("hull"), none) == [
        "no container engine is on this host, so 2 controls do not apply that are about one"
    ]
    assert said(none, docker) == said(none, subject("podman", unread)) == []


def test_what_is_said_is_in_every_form() -> None:
    about = report.Run("r1", "drift", RUN["started"], RUN["started"], "p")
    made = report.build(about, [report.HostReport("h", "ok", notes=["no engine \x1b[2J<b>"])])
    assert made["hosts"]["h"]["notes"] == ["no engine <b>"]
    assert "\n  no engine <b>" in render_table(made, color=False, width=80)
    assert "no engine &lt;b&gt;" in html(made)
