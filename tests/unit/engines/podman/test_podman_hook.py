"""The hook that sets no_new_privs, as Podman starts it: a container's configuration goes in and comes out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys.engines.podman.privileges import PROGRAM_TEXT
from facts.engines.podman.podman import HOOKS

ALL = "         0          0 4294967295"
CONFIG = '{"ociVersion":"1.2.0","process":{"terminal":true},"x":{"process":{"a":1}}}'


def ran(folder: Path, ids: str, config: str) -> str:
    (folder / "uid_map").write_text(f"{ids}\n")
    script = PROGRAM_TEXT.replace("/proc/self/uid_map", str(folder / "uid_map"))
    return subprocess.run(["sh", "-c", script], input=config, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("ids", "config", "after"),
    [
        (ALL, CONFIG, CONFIG.replace('{"terminal"', '{"noNewPrivileges":true,"terminal"')),
        (ALL, '{"another": "form"}', '{"another": "form"}'),
        ("         0       1000          1", CONFIG, CONFIG),  # a user's Podman, which the policy does not speak of
        ("", CONFIG, CONFIG),
    ],
)
def test_what_the_hook_makes_of_a_configuration(tmp_path: Path, ids: str, config: str, after: str) -> None:
    assert ran(tmp_path, ids, config) == after


def test_the_folder_of_hooks_is_none_of_hullproofs_own() -> None:
    """Users' Podman starts no container where it may not read a folder of hooks; /etc/hullproof may be root's alone."""
    assert not HOOKS.startswith("/etc/hullproof")
