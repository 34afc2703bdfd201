"""Who may change the files that other controls stand on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Context
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.files.controls import ENGINES, OWN, SUBJECT, FilesRules
from facts.core.frame import PRELUDE, read_frame
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.files import Files, FilesReading
from facts.modes import Access
from tests.support.cases import folder, read

RULES = "/etc/hullproof/networks.nft"
RUNC = "/usr/bin/runc"


def access(path: str, mode: int, owner: str = "root", group: str = "root", acl: Any = ()) -> Access:
    return Access(path, mode, owner, group, "directory" if path.rpartition("/")[2].find(".") < 0 else "file", acl)


def files(*others: Access, watched: tuple[str, ...] = (RULES, RUNC)) -> FilesReading:
    """A host on which all is well but for these."""
    paths = ("/", "/etc", "/etc/hullproof", RULES, "/usr", "/usr/bin", RUNC)
    return FilesReading(watched, {**{path: access(path, 0o755) for path in paths}, **{row.path: row for row in others}})


def context(reading: FilesReading | Unknown, **rules: Any) -> Context:
    policy = Policy("test", {FilesRules: FilesRules(**(rules or {"own": True, "engines": True}))})
    survey = Survey({Files: reading})
    return Context(survey, policy, {found.control.id: found for found in judge(SUBJECT.controls, survey, policy)})


def state(control: str, reading: FilesReading | Unknown, **rules: Any) -> State:
    return context(reading, **rules).findings[control].state


def plan(reading: FilesReading | Unknown) -> list[Change]:
    return list(SUBJECT.plan(context(reading)))


def test_all_is_well() -> None:
    for control in (OWN, ENGINES):
        assert state(control, files()) is State.PASS
    assert plan(files()) == []
    assert state(OWN, files(), engines=True) is State.NOT_APPLICABLE
    assert state(OWN, files(watched=(RUNC,))) is State.NOT_APPLICABLE
    assert state(ENGINES, files(watched=(RULES,))) is State.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("path", "control", "fault", "by_hand"),
    [
        (RULES, OWN, {"mode": 0o666}, ""),
        (RULES, OWN, {"mode": 0o664, "group": "users"}, ""),
        (RULES, OWN, {"mode": 0o644, "owner": "alice"}, f"chown root {RULES}"),
        (RULES, OWN, {"mode": 0o644, "acl": ("user:alice:rw-",)}, f"setfacl -b {RULES}"),
        (RUNC, ENGINES, {"mode": 0o757}, ""),
        ("/usr/bin", ENGINES, {"mode": 0o777}, "chmod go-w /usr/bin"),
        ("/usr/bin", ENGINES, {"mode": 0o2775, "group": "staff"}, "chmod go-w /usr/bin"),
        ("/etc/hullproof", OWN, {"mode": 0o755, "owner": "alice"}, "chown root /etc/hullproof"),
    ],
)
def test_what_others_may_change(path: str, control: str, fault: dict[str, Any], by_hand: str) -> None:
    reading = files(access(path, **fault))
    found = context(reading).findings[control]
    assert found.state is State.FAIL
    assert path in found.verdict.reason
    (change,) = plan(reading)
    if by_hand:
        assert isinstance(change, Blocked)
        assert by_hand in change.why
        return
    assert isinstance(change, Command)
    assert f"chmod {fault['mode'] & ~0o022:04o} {path}" in change.script
    assert f"chmod {fault['mode']:04o} {path}" in change.undo
    assert plan(files(access(path, **{**fault, "mode": fault["mode"] & ~0o022}))) == []


@pytest.mark.parametrize(
    "harmless",
    [
        access("/etc", 0o1777),
        access("/etc", 0o775),
        access(RULES, 0o600),
        access(RULES, 0o664),
        access(RULES, 0o644, acl=("user:alice:r--", "user:root:rw-")),
    ],
)
def test_what_is_harmless(harmless: Access) -> None:
    """A sticky folder above a file, the group of root itself, a stricter mode, a right to read."""
    assert state(OWN, files(harmless)) is State.PASS


def test_a_sticky_folder_that_is_itself_read_is_not_harmless() -> None:
    folder = "/etc/systemd/system/docker.service.d"
    parents = [access(path, 0o755) for path in ("/etc/systemd", "/etc/systemd/system")]
    assert state(ENGINES, files(access(folder, 0o1777), *parents, watched=(folder,))) is State.FAIL


def test_what_cannot_be_looked_at_is_unknown() -> None:
    assert state(OWN, Unknown("no sudo")) is State.UNKNOWN
    assert state(OWN, FilesReading((RULES,), Unknown("only root"))) is State.UNKNOWN
    assert state(OWN, FilesReading((RULES,), {})) is State.UNKNOWN
    assert state(OWN, files(access(RULES, 0o644, acl=Unknown("no getfacl")))) is State.UNKNOWN


def test_a_real_host() -> None:
    """Recorded: world-writable runc, containerd's settings, a drop-in and Docker's data root."""
    reading = Files.read(read_frame(read(folder(Files) / "debian13-open.json")["output"])["files"])
    verdict = context(reading).findings[ENGINES].verdict
    assert verdict.state is State.FAIL
    for path in ("/usr/sbin/runc", "/etc/containerd/config.toml", "docker.service.d/x.conf", "/var/lib/docker"):
        assert path in verdict.reason


@pytest.mark.parametrize(
    "path",
    [
        "/etc/libvirt/qemu.conf", "/etc/libvirt/lxc/web.xml", "/etc/libvirt/qemu/networks/default.xml",
        "/etc/libvirt/hooks/qemu", "/etc/libvirt/hooks/qemu.d/10-net", "/usr/sbin/virtqemud",
        "/etc/systemd/system/libvirtd.service.d/x.conf", "/etc/containerd/conf.d/a.toml",
        "/etc/containerd/certs.d/registry.example/hosts.toml", "/opt/containerd/image-verifier/bin/ask",
        "/etc/cni/net.d/10-flannel.conflist", "/opt/cni/bin/bridge", "/etc/containers/oci/hullproof-no-new-privileges",
        "/etc/containers/oci/hooks.d/nvidia.json", "/usr/share/containers/oci/hooks.d/nvidia.json",
        "/etc/containers/systemd/web.container", "/etc/containers/systemd/web.container.d/10-more.conf",
        "/usr/share/containers/systemd/web.container",
    ],
)  # fmt: skip
def test_what_engines_believe_is_looked_at_with_the_folder_that_it_is_in(path: str, tmp_path: Path) -> None:
    (tmp_path / path[1:]).parent.mkdir(parents=True)
    (tmp_path / path[1:]).touch()
    script = Files.script
    for top in ("etc", "opt", "run", "usr", "var"):
        script = script.replace(f" /{top}/", f" {tmp_path}/{top}/")
    script = f"N=n\n{PRELUDE}\n{script}"
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    listed = said.partition("@n block listed\n")[2].partition("\n@n status")[0]
    assert {f"{tmp_path}{path}", f"{tmp_path}{path.rpartition('/')[0]}"} <= set(re.findall(r"/[^ \n]*", listed)), said
