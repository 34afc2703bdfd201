"""Names of the release before go on working in policies, waivers and baselines, and say what they are called now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploys.containers.rules import ContainersRules
from deploys.core.control import Finding, failed
from deploys.core.policy import Policy
from deploys.core.policy_file import PolicyError, load_policy
from deploys.run.baseline import with_drift
from deploys.subjects import SUBJECTS
from facts.core.record import Record, RecordReading
from facts.core.survey import Survey

OLD = """
extends: baseline
waivers:
  - {control: docker.sensitive-mounts, reason: the proxy needs it, owner: web, until: 2099-01-01}
docker:
  privileged_containers: [monitor]
  allowed_capabilities: [NET_ADMIN]
"""


def test_old_names_mean_what_they_meant_and_say_their_new_names(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text(OLD)
    policy = load_policy(str(file), SUBJECTS)
    rules = policy[ContainersRules]
    assert (rules.privileged, rules.capabilities, rules.mounts) == (["docker:monitor"], ["NET_ADMIN"], [])
    assert policy.waivers_for("containers.mounts")
    assert [note.partition(": ")[2].partition(";")[0] for note in policy.notes] == [
        "docker.privileged_containers is called containers.privileged now",
        "docker.allowed_capabilities is called containers.capabilities now",
        "docker.sensitive-mounts is called containers.mounts now",
    ]
    assert [int(note.split(":")[1]) for note in policy.notes] == [6, 7, 4]


def test_a_mistake_in_an_old_key_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("docker:\n  allowed_capabilities: [CAP_X]\n")
    with pytest.raises(PolicyError, match=r"site.yml:2: containers.capabilities\[0\]"):
        load_policy(str(file), SUBJECTS)


def test_a_file_gives_the_old_name_or_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("containers: {mounts: []}\ndocker:\n  sensitive_mounts: [web]\n")
    with pytest.raises(PolicyError, match=r":3: docker.sensitive_mounts: is called containers.mounts now, which this"):
        load_policy(str(file), SUBJECTS)


def test_an_empty_section_is_in_nobodys_way(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("containers:\ndocker:\n  sensitive_mounts: [web]\n")
    assert load_policy(str(file), SUBJECTS)[ContainersRules].mounts == ["docker:web"]


def test_what_is_a_key_of_its_own_by_now_does_not_go_missing(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("seccomp: {containers: true}\napparmor:\n  containers: true\nuserns: {docker_remap: true}\n")
    policy = load_policy(str(file), SUBJECTS)
    rules = policy[ContainersRules]
    assert (rules.unfiltered, rules.unconfined, rules.host_ids) == ([], [], [])
    assert (rules.new_privileges, rules.privileged) == (None, None)
    (note,) = [note for note in policy.notes if "unconfined" in note]
    assert note.endswith("site.yml:3: apparmor.containers no longer judges running containers: containers.unconfined "
                         "does, which is [] here until the release after this one")  # fmt: skip


def test_what_the_policy_says_of_such_a_key_stands(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text("containers: {unconfined: [web], host_ids: null}\n")
    file = tmp_path / "site.yml"
    file.write_text("extends: base.yml\napparmor: {containers: true}\nuserns: {docker_remap: true}\n")
    policy = load_policy(str(file), SUBJECTS)
    assert (policy[ContainersRules].unconfined, policy[ContainersRules].host_ids) == (["web"], None)
    assert policy.notes == ()


@pytest.mark.parametrize("old", ["apparmor.containers-confined", "selinux.containers-confined"])
def test_a_waiver_of_either_old_control_covers_the_new_one(tmp_path: Path, old: str) -> None:
    file = tmp_path / "site.yml"
    file.write_text(f"waivers:\n  - {{control: {old}, reason: r, owner: o, until: 2099-01-01}}\n")
    assert load_policy(str(file), SUBJECTS).waivers[0].control == "containers.confined"


def test_what_held_under_the_old_name_is_drift_when_it_no_longer_does() -> None:
    row = next(c for subject in SUBJECTS for c in subject.controls if "docker.privileged-containers" in c.formerly)
    kept = {"run": "r", "time": "2026-11-01T00:00:00Z",
            "findings": {"docker.privileged-containers": {"state": "pass", "disk": None, "live": {}}}}  # fmt: skip
    record = RecordReading(kept, journals=(), spent=(), unread=(), watched=(), packages=())
    (finding,) = with_drift(
        [Finding(row, failed("web is privileged", declared=[], disk=None, live={"web": "x"}))],
        Survey({Record: record}),
        Policy("p", {}),
    )
    assert finding.drift
    assert "judged less before this release" in finding.drift["cause"]


def test_what_a_policy_has_off_is_off_where_it_is_a_key_of_its_own_by_now(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("extends: baseline\nuserns:\n  docker_remap: null\ndocker: {no_new_privileges: false}\n"
                    "selinux: {containers: null}\n")  # fmt: skip
    policy = load_policy(str(file), SUBJECTS)
    rules = policy[ContainersRules]
    assert (rules.host_ids, rules.new_privileges, rules.shared_categories) == (None, None, None)
    assert rules.unconfined == [], "apparmor.containers, which wanted it too, is on"
    (note,) = [note for note in policy.notes if "host_ids" in note]
    assert note.endswith("site.yml:3: userns.docker_remap is off, so containers.host_ids, a part of it, is not "
                         "demanded until the release after this one: give it to have it demanded")  # fmt: skip


def test_what_a_site_says_of_its_own_containers_is_not_switched_off(tmp_path: Path) -> None:
    base = "extends: baseline\ncontainers: {host_ids: [web]}\nuserns: {docker_remap: null}\n"
    (tmp_path / "base.yml").write_text(base)
    file = tmp_path / "site.yml"
    for text in ("extends: base.yml\n", "extends: base.yml\nuserns: {docker_remap: null}\n"):
        file.write_text(text)
        policy = load_policy(str(file), SUBJECTS)
        assert (policy[ContainersRules].host_ids, policy.notes) == (["web"], ())


@pytest.mark.parametrize(
    ("old", "also"),
    [
        ("userns.docker-remap", "containers.user-namespace"),
        ("docker.no-new-privileges", "containers.no-new-privileges"),
        ("selinux.containers-confined", "containers.own-category"),
    ],
)
def test_a_waiver_covers_what_is_a_control_of_its_own_by_now(tmp_path: Path, old: str, also: str) -> None:
    file = tmp_path / "site.yml"
    row = "reason: r, owner: o, until: 2099-01-01"
    file.write_text(f"waivers:\n  - {{control: seccomp.kernel, {row}}}\n  - {{control: {old}, {row}}}\n")
    policy = load_policy(str(file), SUBJECTS)
    assert policy.waivers_for(also)
    assert len(policy.waivers) == 3
    assert [note for note in policy.notes if note.endswith(f"site.yml:3: a waiver of {old} is one of {also} too until "
                                                           "the release after this one")]  # fmt: skip
    file.write_text(f"waivers:\n  - {{control: {old}, {row}}}\n  - {{control: {also}, {row}}}\n")
    assert len(load_policy(str(file), SUBJECTS).waivers) == 2


def test_a_row_of_the_baseline_that_did_not_apply_does_not_hide_that_it_held_under_the_old_name() -> None:
    row = next(c for subject in SUBJECTS for c in subject.controls if c.id == "containers.confined")
    held: dict[str, Any] = {"state": "pass", "disk": None, "live": {}}
    verdict = failed("web is not confined", declared=[], disk=None, live={"web": "x"})

    def drift(**rows: Any) -> Any:
        findings = {name.replace("_", ".", 1).replace("_", "-"): row for name, row in rows.items()}
        kept = {"run": "r", "time": "2026-11-01T00:00:00Z", "findings": findings}
        record = RecordReading(kept, journals=(), spent=(), unread=(), watched=(), packages=())
        return with_drift([Finding(row, verdict)], Survey({Record: record}), Policy("p", {}))[0].drift

    found = drift(containers_confined=held | {"state": "not-applicable"}, apparmor_containers_confined=held)
    assert "judged less before this release" in found["cause"]
    assert not drift(containers_confined=held | {"state": "fail"}, apparmor_containers_confined=held)
    assert "judged less" not in drift(containers_confined=held)["cause"]
