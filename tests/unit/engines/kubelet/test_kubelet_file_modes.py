"""The kubelet's files: whose they are and who may change them, and what harden does about it."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import Blocked, Command
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.modes import Access
from tests.support.kubelets import (
    CONFIG,
    FOLDER,
    found,
    kubelet,
    planned,
)


def access(path: str, mode: int, owner: str = "root", acl: Any = (), kind: str = "file") -> Access:
    return Access(path, mode, owner, "root", kind, acl)


@pytest.mark.parametrize(
    ("field", "control", "file", "state", "word"),
    [
        ("settings", "files", access(CONFIG, 0o600), State.PASS, ""),
        ("settings", "files", access(CONFIG, 0o644), State.FAIL, "is 0644 root:root, not 0600 root:root"),
        ("settings", "files", access(FOLDER, 0o755, kind="directory"), State.PASS, ""),
        ("settings", "files", access(FOLDER, 0o777, kind="directory"), State.FAIL, "not 0755"),
        ("credentials", "credentials", access("/k.conf", 0o600, "alice"), State.FAIL, "0600 alice:root"),
        ("credentials", "credentials", access("/k.conf", 0o640), State.FAIL, "not 0600"),
        ("credentials", "credentials", access("/k.conf", 0o600, acl=("user:bob:r--",)), State.FAIL, "user:bob:r--"),
        ("credentials", "credentials", access("/k.conf", 0o600, acl=Unknown("no acl")), State.UNKNOWN, "no acl"),
        ("authorities", "credentials", access("/ca.crt", 0o644), State.PASS, ""),
        ("authorities", "credentials", access("/ca.crt", 0o664), State.FAIL, "not 0644"),
    ],
)
def test_files(field: str, control: str, file: Access, state: State, word: str) -> None:
    there: dict[str, Any] = {field: (file,)}
    unread: dict[str, Any] = {field: Unknown("no ls")}
    said, reason = found(kubelet(**there), control, file_modes=True)
    assert (said, word in reason) == (state, True), reason
    assert found(kubelet(**there), control)[0] is State.NOT_APPLICABLE
    assert found(kubelet(**unread), control, file_modes=True)[0] is State.UNKNOWN


def test_modes_are_put_right_and_an_undo_gives_them_back() -> None:
    loose = kubelet(settings=(access(CONFIG, 0o664, "alice"),))
    (command,) = planned(loose, file_modes=True)
    assert isinstance(command, Command)
    assert f"chown root:root {CONFIG}; chmod 0600 {CONFIG}" in command.script
    assert f"chown alice:root {CONFIG}; chmod 0664 {CONFIG}" in command.undo
    assert planned(kubelet(settings=(access(CONFIG, 0o600),)), file_modes=True) == []


def test_rights_that_somebody_was_given_are_left_to_the_operator() -> None:
    given = kubelet(credentials=(access("/k.conf", 0o600, acl=("user:bob:r--",)),))
    (blocked,) = planned(given, file_modes=True)
    assert isinstance(blocked, Blocked)
    assert "setfacl -b /k.conf" in blocked.why
