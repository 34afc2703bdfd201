"""SELinux: the labels of containers, Docker's and Podman's, and who shares a category with whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked, MergeJson
from deploys.core.control import State
from deploys.engines.docker.daemon import RESTART
from deploys.run import planning
from facts.engines.docker.docker import DaemonJson
from facts.selinux import Labelled, SELinuxReading
from tests.support.apparmor import container, docker
from tests.support.selinux import DENIED, SUBJECT, changes, context, finding, selinux

LABEL = "system_u:system_r:container_t:s0:c1,c2"


def labelled(*labels: str, on: bool = True, **more: Any) -> Any:
    """A Docker with containers of these labels."""
    boxes = tuple(container(f"c{number}", label) for number, label in enumerate(labels))
    keys = {"selinux-enabled": True} if on else {}
    info = {"SecurityOptions": ["name=selinux"] if on else [], "LiveRestoreEnabled": True}
    json = DaemonJson("/etc/docker/daemon.json", "{}" if not on else '{"selinux-enabled": true}', keys)
    return docker(more.pop("containers", boxes), daemon_json=json, info=info, keys_known=("selinux-enabled",), **more)


@pytest.mark.parametrize(
    ("host", "labels", "confined"),
    [
        (labelled(), State.PASS, State.PASS),
        (labelled(LABEL, LABEL.replace("c1", "c9")), State.PASS, State.PASS),
        (labelled(LABEL, LABEL), State.PASS, State.FAIL),
        (labelled("system_u:system_r:dockerd_t:s0"), State.PASS, State.FAIL),
        (labelled(on=False), State.FAIL, State.PASS),
        (docker(installed=False), State.NOT_APPLICABLE, State.NOT_APPLICABLE),
        (docker((container(process=DENIED),)), State.FAIL, State.UNKNOWN),
    ],
)
def test_containers(host: Any, labels: State, confined: State) -> None:
    where = context(host=host)
    assert finding(where, "docker-labels").state is labels
    assert finding(where, "containers-confined").state is confined


def pods(*rows: tuple[str, str, str]) -> SELinuxReading:
    return selinux("enforcing", "enforcing", podman=tuple(Labelled(*row, monitor="") for row in rows))


@pytest.mark.parametrize(
    ("reading", "host", "state", "says"),
    [
        (pods(("a1", "", LABEL)), docker(installed=False), State.PASS, "1 running container"),
        (pods(("a1", "p1", LABEL), ("a2", "p1", LABEL)), docker(installed=False), State.PASS, "2 running containers"),
        (pods(("a1", "", LABEL), ("a2", "", LABEL)), docker(installed=False), State.FAIL, "share the category c1,c2"),
        (pods(("a1", "", LABEL)), labelled(LABEL), State.FAIL, "share the category c1,c2"),
        (pods(("a1", "", "unconfined_u:unconfined_r:unconfined_t:s0")), docker(installed=False), State.FAIL,
         "Podman's a1 runs with the label unconfined_u"),
        (pods(("a1", "", "system_u:system_r:container_t:s0-s0:c0.c1023")), docker(installed=False), State.FAIL,
         "Podman's a1 runs with"),
    ],
)  # fmt: skip
def test_containers_of_podman(reading: SELinuxReading, host: Any, state: State, says: str) -> None:
    found = finding(context(reading, host=host), "containers-confined")
    assert found.state is state
    assert says in found.verdict.reason


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "c0 and c1 share the category c1,c2"),
        ({"security_opt": ("label=level:s0:c1,c2",)}, "c0 and c1 (started with label=level:…) share"),
        ({"ipc_mode": "container:c0"}, ""),
        ({"pid_mode": "container:id-c0"}, ""),
        ({"pid_mode": "container:gone"}, "share the category"),
        ({"ipc_mode": "container:c1"}, "share the category"),
    ],
)
def test_containers_that_share_a_category_on_purpose(more: dict[str, Any], says: str) -> None:
    """Docker gives a container that joins another's processes or memory the other's label."""
    first, second = labelled(LABEL, LABEL).containers
    found = finding(context(host=labelled(containers=(first, replace(second, **more)))), "containers-confined")
    assert found.state is (State.FAIL if says else State.PASS)
    assert says in found.verdict.reason


def test_docker_is_told_to_label_and_what_it_made_before_has_to_be_made_anew() -> None:
    (merge,) = changes(context(host=labelled(on=False)))
    assert isinstance(merge, MergeJson)
    assert merge.put == {"selinux-enabled": True}
    old = labelled("system_u:system_r:dockerd_t:s0")
    for accept in ("", RESTART):  # a restart would not give it one, and would be planned again each time
        (blocked,) = planning.make([SUBJECT], context(host=old, accept=accept)).changes
        assert isinstance(blocked, Blocked)
        assert "recreate it" in blocked.why
    no_domain = selinux("enforcing", "enforcing", modules=("virt",))
    assert changes(context(no_domain, host=labelled(on=False))) == []
    assert "no domain for containers" in finding(context(no_domain, host=labelled(on=False)),
                                                 "docker-labels").verdict.reason  # fmt: skip
