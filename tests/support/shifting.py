"""What a user's engine has stored, in a folder that stands for a host, and the changes that shift its ids."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

from deploys.core.change import Change, WriteFile
from deploys.engines.rootless import shift
from deploys.run.step_script import compile_step
from deploys.run.steps import arrange
from facts.engines.rootless.stored import Stored
from tests.support import userns
from tests.support.journal import RUN, Host

UID, OLD, NEW = 54321, 700_000, 0x7400_0000
ROW, ROWS = f"alice:{OLD}:65536\n", f"alice:{OLD}:65536\nbob:{OLD}:65536\n"
ODD = "new\nline and 'quote' \\ back"
CAPABLE = bytes.fromhex("010000030020000000000000000000000000000000000000")[:20]


def capability(root: int) -> bytes:
    """cap_net_raw+ep, in the user namespace whose root has this id."""
    return CAPABLE + struct.pack("<I", root)


def acl(user: int) -> bytes:
    rows = [(1, 6, -1), (2, 7, user), (4, 4, -1), (16, 7, -1), (32, 4, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *row) for row in rows)


def storage(host: Host) -> Path:
    """What alice's engine has stored, with everything in it that a shift can get wrong."""
    at = host.root / "home/alice/.local/share/containers"
    (at / "layer/usr/bin").mkdir(parents=True)
    for name in ("plain", "other", ODD, "-n", "twice", "layer/usr/bin/su", "layer/usr/bin/ping", "layer/listed"):
        (at / name).write_text(name)
    os.link(at / "twice", at / "layer/again")
    (at / "away").symlink_to(host.root / "outside")
    for number, name in enumerate(("plain", ODD, "-n", "twice", "away", "layer", "layer/usr", "layer/usr/bin/su")):
        os.chown(at / name, OLD + number, OLD + 2 * number, follow_symlinks=False)
    os.chown(at / "layer/usr/bin/ping", OLD, UID)
    (at / "layer/usr/bin/su").chmod(0o6755)
    os.setxattr(at / "layer/usr/bin/ping", "security.capability", capability(UID))
    os.setxattr(at / "layer/listed", "system.posix_acl_access", acl(OLD + 5))
    for name in ("layer/usr/bin", "other", "layer/listed", "."):
        os.chown(at / name, UID, UID)
    at.chmod(0o2750)
    (host.root / "outside").write_text("theirs")
    os.chown(host.root / "outside", OLD, OLD)
    for name in ("subuid", "subgid"):
        (host.root / name).write_text(ROWS)
    return at


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything of every file that a shift could change."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *root.rglob("*")]:
        at = path.lstat()
        names = [] if path.is_symlink() else sorted(os.listxattr(path))
        values = [(name, os.getxattr(path, name)) for name in names]
        found[str(path.relative_to(root))] = (at.st_uid, at.st_gid, oct(at.st_mode), values)
    return found


def planned(host: Host, *folders: Path) -> list[Change]:
    stored = Stored(tuple(map(str, folders)), (), (), 1, 1, more=False, processes=0, tools=True)
    reading = userns.reading(ROWS, ROWS, passwd={"root": 0, "alice": UID}, group={"root": 0})
    rows = [row for row in reading.ranges if row.owner == "alice"]  # type: ignore[union-attr]
    return [_here(change, host.root) for change in shift._changes(reading, "alice", rows, stored)]


def _here(change: Change, root: Path) -> Change:
    assert isinstance(change, WriteFile)
    service = change.service
    assert service is not None
    texts = {name: getattr(service, name).replace("/etc/", f"{root}/") for name in ("activate", "undo")}
    return replace(change, path=change.path.replace("/etc", str(root)), service=replace(service, **texts))


def script(changes: list[Change], *cuts: tuple[str, str]) -> str:
    """The step's script; `cuts` replace what is in it."""
    (step,) = arrange(changes, ["rootless"])
    for old, new in cuts:
        services = step.service
        assert services is not None
        assert old in services.activate, old
        step = replace(step, service=replace(services, activate=services.activate.replace(old, new)))
    return compile_step(step, RUN, 1).script.text


def expected(before: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    def other(number: object) -> object:
        return number + NEW - OLD if isinstance(number, int) and OLD <= number < OLD + 65536 else number

    after = {path: (other(uid), other(gid), *rest) for path, (uid, gid, *rest) in before.items()}
    uid, gid, mode, _ = after["layer/listed"]
    after["layer/listed"] = (uid, gid, mode, [("system.posix_acl_access", acl(NEW + 5))])
    return after
