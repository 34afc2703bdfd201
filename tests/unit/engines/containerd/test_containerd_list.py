"""Where containers of containerd are looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facts.containers import Containers
from facts.core.reading import known
from tests.support.script import put, run_script


@pytest.mark.parametrize(
    "state",
    ["/run/containerd", "/run/k3s/containerd", "/run/k0s/containerd", "/var/snap/microk8s/common/run/containerd"],
)
def test_containers_are_found_whoever_brings_containerd(state: str, tmp_path: Path) -> None:
    for space in ("k8s.io", "moby"):
        put(tmp_path, f"{state}/io.containerd.runtime.v2.task/{space}/web/init.pid", str(os.getpid()))
    reading = Containers.parse(run_script(Containers.script, tmp_path))
    assert [(each.engine, each.id) for each in known(reading.containers)] == [("containerd", "web")]
