"""The reference is what the code says: every generated page is in step, and each says what an operator looks for."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

import click
import pytest

from deploys.core.change import ACCEPT_RETRY, Subject
from deploys.core.control import Control, Impact, Severity, not_applicable, passed
from deploys.core.policy import Policy, Rules
from deploys.subjects import SUBJECTS
from docs.generate.commands import commands_page
from docs.generate.controls import controls_page
from docs.generate.matrix import matrix_page
from docs.generate.pages import ROOT, files
from docs.generate.policy_keys import policy_keys_page
from hullproof.knowledge.accepts import ACCEPTS, waits
from hullproof.knowledge.demands import demanded_by
from hullproof.knowledge.proofs import proofs, why_unproved

FILES = files()
CONTROLS = [control for subject in SUBJECTS for control in subject.controls]
IDS = [control.id for control in CONTROLS]


class BoatRules(Rules):
    """What a boat must be."""

    icc: bool | None = None
    crew: list[str] | None = None


def _icc(survey: object, policy: Policy) -> object:
    return not_applicable("not declared") if policy[BoatRules].icc is None else passed("fine")


ROW = Control(
    "boat.icc", "No *free* talk", Severity.HIGH, "Since\n  `a_b` <may>.", _icc,  # type: ignore[arg-type]
    ("CIS-2", "CIS-1"), Impact.RESTART, by_hand="stop it",
)  # fmt: skip
BOAT = Subject("boat", BoatRules, (ROW,), lambda context: [], ())
POLICIES = [Policy("calm", {BoatRules: BoatRules()}), Policy("storm", {BoatRules: BoatRules(icc=False, crew=[])})]


@pytest.mark.parametrize("path", sorted(FILES))
def test_the_file_is_in_step(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == FILES[path], "run: make docs"


def test_no_page_of_the_reference_is_written_by_hand() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "reference").iterdir()}
    assert there == {path for path in FILES if path.startswith("docs/")}


def test_an_entry() -> None:
    page = controls_page([BOAT], POLICIES, {"boat.icc": ["a *shout*", "a whisper"]})
    assert page.endswith("""\
## boat

### `boat.icc`

No \\*free\\* talk

**high** · mending it takes a restart · `CIS-2` · `CIS-1`

Since `a_b` \\<may\\>.

- Policy: `boat.icc` (calm: not demanded, storm: `false`)
- Proved by attempts: a \\*shout\\*; a whisper.
- Where harden may not do it: stop it.

## By reference

| Reference | Controls |
|---|---|
| CIS-1 | `boat.icc` |
| CIS-2 | `boat.icc` |
""")


def test_the_keys_of_a_subject() -> None:
    assert policy_keys_page([BOAT], POLICIES).endswith("""\
## boat

What a boat must be.

| Key | Type | Meaning | `calm` | `storm` |
|---|---|---|---|---|
| `boat.icc` | `true` or `false` |  | – | `false` |
| `boat.crew` | list of text |  | – | `[]` |
""")


def test_a_command() -> None:
    @click.group()
    def main() -> None:
        """Ships."""

    @main.command(epilog="Or *sinks*.")
    @click.argument("boat")
    @click.option("-f", "--fast", is_flag=True, help="At once.")
    @click.option("--secret", hidden=True)
    def sail() -> None:
        """Sets sail.

        With all_hands.
        """

    assert commands_page(main).endswith("""\
## hullproof sail

    hullproof sail [OPTIONS] BOAT

Sets sail.

With all\\_hands.

Or \\*sinks\\*.

- `-f, --fast`: At once.
""")


def test_the_key_that_asks_for_a_control_is_found() -> None:
    """Where a check reads no key at all, its control says that it is judged whatever the policy says: these alone."""
    asked = {control.id: {field for _, field in demanded_by(control, SUBJECTS)} for control in CONTROLS}
    assert asked["docker.live-restore"] == {"live_restore"}
    assert asked["kernel.boot.lockdown"] == {"boot_parameters"}
    assert asked["bridges.undeclared"] == {"undeclared"}
    assert {name for name, fields in asked.items() if not fields} == {
        "docker.daemon-json",
        "docker.other-daemons",
        "podman.settings",
        "libvirt.settings",
        "containerd.settings",
        "kubelet.settings",
        "lxc.settings",
        "nspawn.files",
        "bridges.reverted",
    }


def test_proofs_name_controls_that_there_are() -> None:
    found = proofs()
    assert set(found) <= {control.id for control in CONTROLS}
    assert "a container reaches its sibling on the default bridge" in found["networks.icc"]
    assert "a container calls mount" in found["seccomp.default-profile"]
    assert [control for control, titles in found.items() if len(set(titles)) < len(titles)] == []


def test_a_control_has_a_proof_or_says_why_not() -> None:
    found = proofs()
    silent = [c.id for s in SUBJECTS for c in s.controls if c.id not in found and not why_unproved(c, s)]
    assert silent == []
    assert [c.id for c in CONTROLS if c.unproved and c.id in found] == []


def test_the_break_matrix_says_what_proves_a_control_or_why_nothing_does() -> None:
    rows = matrix_page([replace(BOAT, unproved="none was *found*")], {}).splitlines()[-1]
    assert rows == "| `boat.icc` |  | nothing: none was \\*found\\* |"
    assert matrix_page([BOAT], {"boat.icc": ["a", "b"]}).endswith("| `boat.icc` |  | a; b |\n")


def test_the_names_to_accept_are_the_codes() -> None:
    assert set(ACCEPTS) == {ACCEPT_RETRY, *(name for subject in SUBJECTS for name in subject.accepts)}


def test_what_waits_for_a_name_is_what_its_subjects_accept() -> None:
    names = [name for name in ACCEPTS if name != ACCEPT_RETRY]
    found = {name: {c.subject for c in CONTROLS if name in dict(waits(c.id))} for name in names}
    assert {name for name, subjects in found.items() if not subjects} == {"rootless-ranges", "remove-engine"}
    for name, subjects in found.items():
        assert not subjects or subjects & {s.name for s in SUBJECTS if name in s.accepts}, name
    idle = [pattern for row in ACCEPTS.values() for pattern in row.controls if not fnmatch.filter(IDS, pattern)]
    assert idle == []
