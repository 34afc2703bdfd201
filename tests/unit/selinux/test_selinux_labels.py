"""SELinux: Docker labels its containers."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import MergeJson
from deploys.core.control import State
from facts.engines.docker.docker import DaemonJson
from tests.support.apparmor import docker
from tests.support.selinux import changes, context, finding, selinux


def labelling(on: bool = True) -> Any:
    """A Docker that labels its containers."""
    keys = {"selinux-enabled": True} if on else {}
    info = {"SecurityOptions": ["name=selinux"] if on else [], "LiveRestoreEnabled": True}
    json = DaemonJson("/etc/docker/daemon.json", "{}" if not on else '{"selinux-enabled": true}', keys)
    return docker(daemon_json=json, info=info, keys_known=("selinux-enabled",))


@pytest.mark.parametrize(
    ("host", "labels"),
    [
        (labelling(), State.PASS),
        (labelling(on=False), State.FAIL),
        (docker(installed=False), State.NOT_APPLICABLE),
    ],
)
def test_docker_labels(host: Any, labels: State) -> None:
    assert finding(context(host=host), "docker-labels").state is labels


def test_docker_is_told_to_label() -> None:
    (merge,) = changes(context(host=labelling(on=False)))
    assert isinstance(merge, MergeJson)
    assert merge.put == {"selinux-enabled": True}
    no_domain = selinux("enforcing", "enforcing", modules=("virt",))
    assert changes(context(no_domain, host=labelling(on=False))) == []
    assert "no domain for containers" in finding(context(no_domain, host=labelling(on=False)),
                                                 "docker-labels").verdict.reason  # fmt: skip
