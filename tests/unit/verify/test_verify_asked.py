"""No host is attacked that nobody named, and what a proof needs and a host lacks is a reason to skip it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploys.core.policy_file import load_policy
from deploys.subjects import SUBJECTS
from tests.verify.probe import CannotTell, Prober
from tests.verify.test_networks import test_raw_frames as raw_frames

ROOT = Path(__file__).resolve().parents[3]


def test_without_an_inventory_no_host_is_attacked() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/verify"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "the proofs attack the hosts that you name" in done.stderr
    assert "--inventory INVENTORY (--inventory=@local is this machine)" in done.stderr


def test_without_docker_the_proof_by_raw_frames_on_its_bridge_is_skipped() -> None:
    class Bare(Prober):
        about: Any = SimpleNamespace(engines={}, agents=["/usr/bin/perl"])

        def run(self, *words: Any, **more: Any) -> Any:
            raise AssertionError("a host without Docker has no bridge of Docker's")

    class Settled:
        def settle(self, attempt: Callable[[], Any]) -> None:
            with pytest.raises(CannotTell, match="no Docker on this host"):
                attempt()

    bare = Bare(lambda: None, "baseline")
    bare.policy = load_policy("strict", SUBJECTS)
    proof: Any = Settled()
    raw_frames(bare, proof)
