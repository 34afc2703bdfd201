"""What the subjects of the host itself say to strangers: titles, reasons for controls, and what the policy wants."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploys.core.change import install_unit
from deploys.core.control import Control, State, Verdict, name_key
from tests.support.hosts import whole

SUBJECTS = [whole(name) for name in ("apparmor", "audit", "kernel", "lsm", "seccomp", "selinux", "userns")]
CONTROLS = [control for subject in SUBJECTS for control in subject.controls]
NAMES = ("auditd", "debugfs", "io_uring")  # programs and interfaces that write themselves without a capital


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_why_is_a_full_sentence(control: Control) -> None:
    assert control.why.endswith(".")
    assert control.why[0].isupper() or control.why.startswith(NAMES), control.why


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_a_title_states_what_holds(control: Control) -> None:
    assert not control.title.endswith(".")
    assert control.title[0].isupper() or control.title.startswith(NAMES), control.title


@pytest.mark.parametrize("state", State)
def test_a_finding_that_does_not_hold_names_the_policys_key(state: State) -> None:
    named = name_key(Verdict(state, "x is 0", declared=2), "kernel.sysctls")
    assert named.reason == ("x is 0" if state.holds else "x is 0; the policy wants 2 (kernel.sysctls)")
    told = name_key(Verdict(state, "it is off", declared=True), "audit.enabled", "auditd to run")
    assert told.reason == ("it is off" if state.holds else "it is off; the policy wants auditd to run (audit.enabled)")


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_each_key_of_the_policy_has_a_description_in_full_sentences(subject: object) -> None:
    fields = subject.rules.model_fields.values()  # type: ignore[attr-defined]
    assert all(field.description and field.description.endswith(".") for field in fields)


@pytest.mark.parametrize(("there", "calls"), [(True, "enable|restart"), (False, "stop")])
def test_a_unit_is_enabled_where_its_file_is_there_and_forgotten_after_an_undo(
    tmp_path: Path, there: bool, calls: str
) -> None:
    unit = tmp_path / "hullproof-test.service"
    if there:
        unit.touch()
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n')
    (tmp_path / "systemctl").chmod(0o755)
    live, gone = f"systemctl restart {unit.name}", f"systemctl stop {unit.name}"
    write = install_unit("kernel", "install it", path=str(unit), text="", before=None, live=live, gone=gone)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", write.activate], env=env, check=True)
    said = [line.replace("-q ", "").split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert said == ["daemon-reload", *calls.split("|")]
