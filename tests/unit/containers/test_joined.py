"""Namespaces that a container shares with another one or with the host, of every kind that the kernel has."""

from __future__ import annotations

import dataclasses

import pytest

from deploys.containers.judge import MOST, Host
from facts.containers import Container, ContainersReading
from facts.processes import NAMESPACES, Process
from tests.support.two_engines import BY_NAME, HOST, wrong

TIME = 4026531834  # the host's
Ids = tuple[tuple[int, int, int], ...]
IDS: Ids = ((0, 1000, 1), (1, 100_000, 65_536))  # of what a user's engine itself runs in


def having(name: str, pid: int, other: dict[str, int], user: int = 0, ids: Ids = IDS) -> Container:
    """A container with namespaces of its own but for those that are given."""
    web = BY_NAME["web"]
    assert isinstance(web.process, Process)
    namespaces = {kind: 100 * pid + number for number, kind in enumerate(NAMESPACES)} | other
    process = dataclasses.replace(web.process, namespaces=namespaces, uid_map=ids)
    return dataclasses.replace(web, engine="podman", name=name, id="", user=user, pid=pid, process=process)


def on_host(*containers: Container) -> ContainersReading:
    assert isinstance(HOST.namespaces, dict)
    return dataclasses.replace(HOST, containers=containers, unlisted=(), namespaces=HOST.namespaces | {"time": TIME})


@pytest.mark.parametrize("kind", [*NAMESPACES, "time"])
def test_a_namespace_of_another_containers_is_named_whatever_its_kind(kind: str) -> None:
    both = on_host(having("a", 1, {kind: 7}), having("b", 2, {kind: 7}))
    assert wrong("joined-namespaces", both) == {
        "podman:a": f"shares namespaces: {kind} with podman:b", "podman:b": f"shares namespaces: {kind} with podman:a",
    }  # fmt: skip


def test_the_namespace_that_a_users_engine_itself_runs_in_is_no_other_containers() -> None:
    def joined(ids: Ids) -> set[str]:
        both = (having(name, pid, {"user": 7}, 1000, ids) for pid, name in enumerate(("a", "b"), 1))
        return set(wrong("joined-namespaces", on_host(*both)))

    assert joined(IDS) == {"pass"}
    assert joined(((0, 100_001, 1024),)) == {"podman:a (user 1000)", "podman:b (user 1000)"}, "--userns auto"


def test_the_hosts_time_namespace_is_read_and_no_fault_and_older_kernels_have_none() -> None:
    """Every engine gives it."""
    host = on_host(having("a", 1, {"time": TIME}), having("b", 2, {}))
    (one, other) = host.containers if isinstance(host.containers, tuple) else ()
    assert isinstance(one.process, Process)
    assert isinstance(other.process, Process)
    assert (host.shared(one.process), host.shared(other.process)) == (("time",), ())
    assert wrong("host-namespaces", host).keys() == wrong("joined-namespaces", host).keys() == {"pass"}


def test_of_many_that_share_a_namespace_few_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    together = Host.together

    def counted(host: Host, one: Container, other: Container) -> bool:
        compared.append(other)
        return together(host, one, other)

    monkeypatch.setattr(Host, "together", counted)
    crowd = [having(f"c{pid}", pid, {"net": 7}) for pid in range(1, 101)]
    assert len(wrong("joined-namespaces", on_host(*crowd))) == 100
    assert len(compared) <= 100 * MOST


def test_whose_pod_an_infra_container_holds_is_looked_up_once_for_all() -> None:
    looked = []

    class Name(str):
        def endswith(self, *words: object) -> bool:
            looked.append(self)
            return str(self) == "1-infra"

    crowd = [having(Name(f"{pid}-infra" if pid == 1 else f"c{pid}"), pid, {"net": 7}) for pid in range(100, 0, -1)]
    assert wrong("joined-namespaces", on_host(*crowd)).keys() == {"pass"}
    assert len(looked) == 100


def test_a_pod_ends_where_its_network_does() -> None:
    pod = (having("a-infra", 1, {"net": 7, "ipc": 8}), having("a", 2, {"net": 7, "ipc": 8}))
    stranger = having("b", 3, {"ipc": 8})
    assert wrong("joined-namespaces", on_host(*pod, stranger)) == {
        "podman:a-infra": "shares namespaces: ipc with podman:b",
        "podman:a": "shares namespaces: ipc with podman:b",
        "podman:b": "shares namespaces: ipc with podman:a-infra, ipc with podman:a",
    }
