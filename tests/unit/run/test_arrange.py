"""Steps: the subjects' order, one write per file, other people's JSON kept as they wrote it."""

from __future__ import annotations

import pytest

from deploys.core.change import Activate, Blocked, Command, Install, MergeJson, Service, WriteFile
from deploys.core.json_merge import merge_text
from deploys.run.steps import arrange

DOCKER = Service("docker", activate="a", healthy="h", explain="e")


def merge(subject: str, **put: object) -> MergeJson:
    return MergeJson(subject, f"set {', '.join(put)}", path="/etc/d.json", before="{}", put=put, service=DOCKER)


def test_subjects_in_order_then_services_once() -> None:
    changes = [
        merge("userns", remap="x"),
        Command("kernel", "k", script="s", undo="u"),
        merge("networks", icc=False),
        Command("userns", "u", script="s", undo="u"),
        Activate("apparmor", "reload", service=DOCKER),
        Blocked("docker", "b", why="w"),
    ]
    steps = arrange(changes, ["kernel", "userns", "docker"])
    assert [step.name for step in steps] == ["kernel", "userns", "docker"]
    assert steps[-1].service == DOCKER
    (write,) = steps[-1].changes
    assert isinstance(write, WriteFile)
    assert '"remap": "x"' in write.text
    assert '"icc": false' in write.text


def test_a_service_can_be_activated_without_a_file() -> None:
    (step,) = arrange([Activate("apparmor", "reload", service=DOCKER)], ["apparmor"])
    assert step.changes == ()


def test_packages_are_installed_first_and_at_once() -> None:
    changes = [
        Command("audit", "start auditd", script="s", undo="u"),
        Install("audit", "install auditd", packages=("auditd",)),
        Install("selinux", "install SELinux's policy", packages=("selinux-policy-default", "auditd")),
    ]
    packages, audit = arrange(changes, ["audit", "selinux"])
    (install,) = packages.changes
    assert install == Install(
        "packages", "install auditd; install SELinux's policy", packages=("auditd", "selinux-policy-default")
    )
    assert (packages.name, audit.changes) == ("packages", (changes[0],))


def test_two_subjects_that_want_different_values_are_told() -> None:
    with pytest.raises(ValueError, match="icc is wanted as"):
        arrange([merge("a", icc=True), merge("b", icc=False)], [])


def row(subject: str, before: str | None, text: str, service: Service | None = None) -> WriteFile:
    return WriteFile(subject, "a row", path="/etc/subuid", text=text, before=before, service=service, shared="lines")


@pytest.mark.parametrize("before", [None, "", "x:1:2\n"])
def test_what_several_subjects_write_into_one_file_is_all_there_afterwards(before: str | None) -> None:
    old = before or ""
    late = row("userns", before, f"{old}dockremap:5:6\n", DOCKER)
    steps = arrange([late, row("podman", before, f"{old}pods:3:4\n"), row("lxc", before, f"{old}root:1:2\n")],
                    ["lxc", "podman", "userns"])  # fmt: skip
    writes = [change for step in steps for change in step.changes if isinstance(change, WriteFile)]
    assert [each.subject for each in writes] == ["lxc", "podman", "userns"]
    assert [each.before for each in writes] == [before, *(each.text for each in writes[:-1])]
    assert sorted(writes[-1].text.split()) == sorted(f"{old}dockremap:5:6 pods:3:4 root:1:2".split())
    assert writes[-1].text.startswith(old)


def test_a_file_that_cannot_be_composed_is_left_to_the_next_run() -> None:
    long = "".join(f"u{number}:1:2\n" for number in range(6000))
    (step,) = arrange([row("a", long, f"{long}a:1:2\n"), row("a", long, f"{long}b:1:2\n")], ["a"])
    assert [change.before for change in step.changes if isinstance(change, WriteFile)] == [long, long]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '{\n  "icc": false\n}\n'),
        ("", '{\n  "icc": false\n}\n'),
        (" \n", '{\n  "icc": false\n}\n'),
        ('{\n\t"b": "é",\n\t"a": 1\n}', '{\n\t"b": "é",\n\t"a": 1,\n\t"icc": false\n}'),
        ('{\n    "icc": true,\n    "z": 1\n}\n', '{\n    "icc": false,\n    "z": 1\n}\n'),
    ],
)
def test_merging_keeps_order_indentation_and_last_newline(before: str | None, after: str) -> None:
    assert merge_text(before, {"icc": False}) == after


def test_dropping_a_key_leaves_the_others() -> None:
    assert merge_text('{"a": 1, "b": 2}', {}, ["a", "nothing"]) == '{\n  "b": 2\n}\n'.rstrip("\n")
