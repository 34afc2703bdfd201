"""Sockets, volumes and paths that a container reaches, or shares with another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from deploys.containers.judge import MOST
from deploys.containers.mounts import Holder, Places
from deploys.core.control import State
from facts.containers import Container, ContainersReading
from facts.core.reading import Unknown
from facts.engines.containerd.containerd import Containerd, ContainerdReading
from facts.engines.podman.podman import Podman, PodmanReading
from facts.engines.rootless.rootless import Listening, Rootless, RootlessReading
from facts.processes import Mount, Process
from tests.support.two_engines import BY_NAME, HOST, finding, survey, wrong

DISK = Mount("254:1", "/", "/", True, "ext4")
WEB = BY_NAME["web"]
assert isinstance(WEB.process, Process)


def reading(kind: type[Any], **values: Any) -> Any:
    """One of which nothing else is known."""
    return kind(**dict.fromkeys(kind.__dataclass_fields__, Unknown("not asked")) | values)


def having(name: str, *mounts: Mount, pod: str = "") -> Container:
    """A container in namespaces of its own."""
    assert isinstance(WEB.process, Process)
    own = {kind: hash((name, kind)) for kind in WEB.process.namespaces}
    process = dataclasses.replace(WEB.process, mounts=mounts, namespaces=own)
    return dataclasses.replace(WEB, name=name, id=name, engine="lxc", pid=hash(name), process=process, pod=pod)


def at(root: str, *, writable: bool = False, point: str = "/x", device: str = "254:1", kind: str = "ext4") -> Mount:
    return Mount(device, root, point, writable, kind)


def host(*containers: Container) -> ContainersReading:
    return dataclasses.replace(HOST, containers=containers, unlisted=(), mounts=(DISK,))


def shares(*containers: Container) -> dict[str, str]:
    return wrong("shared", host(*containers))


def test_who_shares_what_with_whom_is_said_of_both_with_who_may_write() -> None:
    found = shares(
        having("php", at("/srv/www", writable=True)), having("web", at("/srv/www")), having("db", at("/srv/db"))
    )
    assert found == {
        "lxc:php": "shares the host's /srv/www (writable) with lxc:web",
        "lxc:web": "shares the host's /srv/www with lxc:php (writable)",
    }


def test_a_path_within_anothers_is_shared_too() -> None:
    found = shares(having("outer", at("/srv")), having("inner", at("/srv/www/a", writable=True)))
    assert found == {
        "lxc:outer": "shares the host's /srv with lxc:inner (writable)",
        "lxc:inner": "shares the host's /srv/www/a (writable) with lxc:outer",
    }


def test_one_root_of_two_containers_and_a_root_that_another_one_has_mounted_are_shared() -> None:
    found = shares(having("a", at("/srv/aside", writable=True, point="/")), having("b", at("/srv/aside", point="/")))
    assert found["lxc:b"] == "shares the host's /srv/aside with lxc:a (writable)"
    found = shares(having("a", at("/srv/a/rootfs", writable=True, point="/")), having("b", at("/srv/a")))
    assert found.keys() == {"lxc:a", "lxc:b"}


@pytest.mark.parametrize(
    "mounts",
    [
        (at("/srv"), at("/srv")),
        (at("/srv", writable=True), at("/srv2", writable=True)),
        (at("/srv", writable=True), at("/srv", writable=True, device="254:2")),
        (at("/var/lib/lxc/a", writable=True, point="/"), at("/var/lib/lxc/b", writable=True, point="/")),
        (at("/", writable=True, kind="fuse.lxcfs"), at("/", writable=True, kind="fuse.lxcfs")),
        (at("/etc", writable=True), at("/etc", writable=True)),
    ],
)  # fmt: skip
def test_what_neither_writes_or_is_not_the_same_or_is_told_elsewhere_is_not_shared(mounts: tuple[Mount, Mount]) -> None:
    assert "pass" in shares(having("a", mounts[0]), having("b", mounts[1]))


def test_containers_of_one_pod_may_share() -> None:
    volume = at("/var/lib/kubelet/pods/1/volumes/v", writable=True)
    assert "pass" in shares(having("a", volume, pod="one"), having("b", volume, pod="one"))
    assert shares(having("a", volume, pod="one"), having("b", volume, pod="two")).keys() == {"lxc:a", "lxc:b"}


def test_the_policy_names_those_that_may_share() -> None:
    both = host(having("a", at("/srv", writable=True)), having("b", at("/srv")))
    assert wrong("shared", both, shared=["a"]).keys() == {"lxc:b"}
    assert "pass" in wrong("shared", both, shared=["a", "b"])


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/kubelet/pods/6d1c/etc-hosts",
        "/var/lib/kubelet/pods/6d1c/volumes/kubernetes.io~empty-dir/scratch",
        "/var/lib/kubelet/pods/6d1c/volume-subpaths/scratch/web/0",
        "/var/lib/kubelet/pods/6d1c/containers/web/53c1f1b2",
        "/var/lib/kubelet/plugins/kubernetes.io/csi/driver/1f/globalmount",
        f"/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{'a' * 64}/resolv.conf",
    ],
)
def test_what_a_kubelet_mounts_into_any_pod_is_none_of_the_hosts_own_folders(path: str) -> None:
    assert "pass" in wrong("mounts", host(having("pod", at(path, writable=True), pod="one")))
    assert "pass" not in wrong("mounts", host(having("pod", at("/var/lib/kubelet/pki", writable=True), pod="one")))


def test_five_hundred_containers_that_share_a_path_are_compared_in_no_time() -> None:
    crowd = [having(f"c{number}", at("/srv/www"), at(f"/srv/{number}", writable=True)) for number in range(500)]
    assert "pass" in shares(*crowd)


@pytest.mark.parametrize(("writable", "most"), [(False, 0), (True, MOST + 1)])
def test_of_many_that_share_one_place_few_are_compared(
    writable: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    meeting = Places.meeting

    def counted(places: Places, mount: Mount) -> Iterator[Holder]:
        for each in meeting(places, mount):
            compared.append(each)
            yield each

    monkeypatch.setattr(Places, "meeting", counted)
    crowd = [having(f"c{number}", at("/srv/init", writable=writable)) for number in range(100)]
    assert len(shares(*crowd)) == (100 if writable else 1)
    assert len(compared) <= 100 * most


def test_what_incus_and_lxd_give_every_container_is_not_shared() -> None:
    for path in ("/var/lib/incus/guestapi", "/var/lib/lxd/devlxd", "/var/snap/lxd/common/lxd/devlxd"):
        assert "pass" in shares(having("a", at(path, writable=True)), having("b", at(path, writable=True)))


def test_containers_of_one_pod_of_podmans_may_share_whatever_their_network_is() -> None:
    volume = at("/srv/v", writable=True)

    def of(pod: str, name: str) -> Container:
        made = having(name, volume)
        assert isinstance(made.process, Process)
        group = f"/machine.slice/machine-libpod_pod_{pod * 64}.slice/libpod-x.scope"
        return dataclasses.replace(made, engine="podman", process=dataclasses.replace(made.process, cgroup=group))

    assert "pass" in shares(of("a", "one"), of("a", "two"))
    assert shares(of("a", "one"), of("b", "two")).keys() == {"podman:one", "podman:two"}


def test_an_engines_socket_is_named_at_whatever_path_it_listens() -> None:
    socket = at("/srv/app.sock", point="/run/x.sock")
    found = finding("mounts", survey(host(having("web", socket)), sockets=("/srv/app.sock",)), mounts=[])
    assert found.verdict.live == {"lxc:web": "has the host's /srv/app.sock at /run/x.sock"}
    assert "pass" in wrong("mounts", host(having("web", socket)))


@pytest.mark.parametrize(
    ("fact", "reading"),
    [
        (Podman, reading(PodmanReading, serving=("tcp:[::]:1", "unix:///srv/app.sock"))),
        (Containerd, reading(ContainerdReading, config={"grpc": {"address": "/srv/app.sock"}})),
        (Rootless, reading(RootlessReading, listening=(Listening(1000, "/srv/app.sock"),))),
    ],
)
def test_so_is_one_of_another_engine(fact: Any, reading: Any) -> None:
    there = survey(host(having("web", at("/srv", point="/run"))))
    assert finding("mounts", there, mounts=[]).state is State.PASS
    there.readings[fact] = reading
    found = finding("mounts", there, mounts=[])
    assert found.verdict.live == {"lxc:web": "has the host's /srv (with /srv/app.sock in it) at /run"}
