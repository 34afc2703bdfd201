"""What the scripts that read containers give: users' containers, bundles and limits, on hosts that are not plain."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from facts import processes
from facts.containers import LISTS, Containers
from facts.core.reading import Block, Section, Unknown
from facts.processes import SCRIPT as PROCESSES
from facts.processes import Limits


def test_users_containers_that_may_have_been_left_off_are_told(tmp_path: Path) -> None:
    def listed(find: str) -> str:
        (tmp_path / "find").write_text(f"#!/bin/sh\n{find}\n")
        (tmp_path / "find").chmod(0o755)
        script = f'PATH={tmp_path}:$PATH\nrun() {{ echo "ran $1"; }}\n{LISTS[0].read_text()}\necho "files $files"'
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout

    path = f"/run/user/1000/containers/overlay-containers/{'a' * 64}/userdata/pidfile"
    assert "users.late" not in listed(f"echo {path}; exit 1"), "a folder that is not readable is no cut"
    assert f"files {path}\n" in listed(f"echo {path}")
    assert "users.late" in listed(f"echo {path}; sleep 9"), "the time was over"
    assert "users.late" in listed(f"yes {path} | head -n 3000"), "there are more than are read"


def read_bundles(folder: Path, **configs: str) -> list[Any]:
    """What the script makes of the config.json of each of root's bundles."""
    for name, text in configs.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(text)
    rows = "".join(f"docker 0 {n} {n:064x} {folder / name}\n" for n, name in enumerate(configs))
    script = LISTS[-1].read_text()
    run = 'run() { shift; "$@"; }'
    said = subprocess.run(["sh", "-c", f"{run}\n{script[script.index('seccomp=') :]}"], capture_output=True, text=True,
                          env={**os.environ, "rows": rows, "names": "", "LC_ALL": "C"}, check=True).stdout  # fmt: skip
    blocks = {"uid": Block(0, "0"), "engines": Block(0, "docker"), "containers": Block(0, rows),
              "filters": Block(0, said)}  # fmt: skip
    found = Containers.parse(Section(blocks)).containers
    assert isinstance(found, tuple)
    return [each.filter for each in found] + [said]


def test_what_podmans_containers_were_made_from_is_read_where_its_storage_is(tmp_path: Path) -> None:
    one, two, old = (f"{n:064x}" for n in range(3))
    # As Podman 5.4.2 wrote it.
    rows = [
        {"id": each, "names": ["x"], "image": f"{9:064x}", "layer": f"{8:064x}", "created": "2026-12-01T00:00:00Z",
         "metadata": json.dumps({"image-name": image, "image-id": f"{9:064x}", "name": "x"}, separators=(",", ":"))}
        for each, image in ((one, "localhost/web:2"), (old, ""), (two, "docker.io/library/nginx:latest"))
    ]  # fmt: skip
    (tmp_path / "containers.json").write_text(json.dumps(rows, separators=(",", ":")))
    names = f"0 {one} x {tmp_path}/{one}/userdata\n1000 {two} x /home/x/{two}/userdata"
    script = LISTS[2].read_text()
    script = 'run() { shift; "$@"; }\n' + script[script.index("# What root's were made from") :]
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True,
                          env={**os.environ, "names": names, "LC_ALL": "C"}).stdout  # fmt: skip
    listed = "".join(f"podman 0 {n} {each} -\n" for n, each in enumerate((one, two, old), 1))
    blocks = {"uid": Block(0, "0"), "engines": Block(0, "podman"), "containers": Block(0, listed)}
    found = Containers.parse(Section(blocks | {"podman.images": Block(0, said)})).containers
    assert isinstance(found, tuple)
    assert {each.id: each.image for each in found} == {
        one: "localhost/web:2", two: "docker.io/library/nginx:latest", old: "",
    }  # fmt: skip


def bundle(seccomp: Any, label: str = "", **form: Any) -> str:
    more = {"maskedPaths": ["/proc/kcore"], "mountLabel": label}
    linux = more if seccomp is None else {"seccomp": seccomp} | more
    return json.dumps({"ociVersion": "1.0.2", "linux": linux}, **form)


COMPACT: dict[str, Any] = {"separators": (",", ":")}
SOME = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}


def test_a_filter_is_read_whatever_wrote_its_bundle(tmp_path: Path) -> None:
    *found, _ = read_bundles(
        tmp_path, compact=bundle(SOME, **COMPACT), blanks=bundle(SOME), none=bundle(None),
        pretty=bundle(SOME, indent=1), cut=bundle(None)[:-3], empty="", text="x\n",
        large=bundle(SOME | {"x": "x" * 70_000}),
    )  # fmt: skip
    assert found[:3] == [SOME, SOME, None]
    assert [isinstance(each, Unknown) for each in found[3:]] == [True] * 5


def test_one_filter_of_many_bundles_is_said_once_and_without_what_follows_it(tmp_path: Path) -> None:
    """With SELinux each bundle has a label of its own."""
    *found, said = read_bundles(tmp_path, **{f"b{n}": bundle(SOME, f"s0:c{n}", **COMPACT) for n in range(3)})
    assert found == [SOME] * 3
    assert said.count("SCMP_ACT_ERRNO") == 1
    assert "s0:c" not in said
    assert "maskedPaths" not in said


def read_limits(root: Path, *groups: str) -> dict[str, int | None]:
    """What the script finds on a host whose control groups lie at `root`, for processes in these."""
    script = PROCESSES[PROCESSES.index("# The limits of") :].replace("/sys/fs/cgroup", str(root))
    run = 'run() { shift; "$@"; }; pids=9'
    said = subprocess.run(["sh", "-c", f"{run}\n{script}"], env={**os.environ, "cgroups": "\n".join(groups)},
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    block = Block(0, said.replace(str(root), "/sys/fs/cgroup"))
    return processes._limit_files(Section({"processes.limits": block}))


def test_limits_are_those_of_every_group_above_whatever_their_names(tmp_path: Path) -> None:
    """On control groups of version 1 and 2, with names that a user may give."""
    inner, outer = tmp_path / "a b" / "*" / "c:1\t memory.max 7", tmp_path / "a b"
    old = tmp_path / "memory" / "docker"
    for folder_ in (inner, old / "x", tmp_path / "a b" / "other"):
        folder_.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (outer / "memory.max").write_text("4096\n")
    (inner / "cpu.max").write_text("50000 100000\n")
    (outer / "other" / "pids.max").write_text("5\n")
    (old / "memory.limit_in_bytes").write_text("1024\n")
    (old / "x" / "memory.limit_in_bytes").write_text("8192\n")
    at = str(inner).removeprefix(str(tmp_path))
    files = read_limits(tmp_path, f"/proc/7/cgroup:0::{at}", "/proc/8/cgroup:3:memory:/docker/x",
                        "/proc/8/cgroup:1:name=systemd:/y", "/proc/9/cgroup:0::/")  # fmt: skip
    assert processes._limits({"": at}, files) == Limits(memory=4096, pids=None, cpu=50000)
    assert processes._limits({"memory": "/docker/x"}, files).memory == 8192


OF_PODMAN = "/machine.slice/machine-libpod_pod_1f2e3d4c.slice"
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6d1c02f4_1c.slice"
OF_POD = f"{POD}/cri-containerd-1f.scope"
OF_USER = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-1f.scope/container"


@pytest.mark.parametrize(
    ("group", "limited", "counts"),
    [
        ("/machine.slice/docker-1f.scope", "/machine.slice/docker-1f.scope", True),
        ("/machine.slice/docker-1f.scope", "/machine.slice", False),
        ("/a.slice/a-b.slice/docker-1f.scope", "/a.slice/a-b.slice", False),
        (f"{OF_PODMAN}/libpod-2e.scope", OF_PODMAN, True),
        (OF_POD, POD, True),
        (OF_POD, "/kubepods.slice", False),
        (OF_POD, "/kubepods.slice/kubepods-burstable.slice", False),
        ("/kubepods/burstable/pod6d1c02f4/1f", "/kubepods/burstable/pod6d1c02f4", True),
        ("/kubepods/burstable/pod6d1c02f4/1f", "/kubepods/burstable", False),
        ("/shop-pod-frontend.slice/docker-1f.scope", "/shop-pod-frontend.slice", False),
        ("/kubelet/kubepods/burstable/pod6d1c02f4/1f", "/kubelet/kubepods", False),
        (OF_USER, "/user.slice/user-1000.slice/user@1000.service", False),
        (OF_USER, OF_USER.removesuffix("/container"), True),
        ("/system.slice/till.service/libpod-payload-1f", "/system.slice/till.service", True),
        ("/lxc.payload.web/init.scope", "/lxc.payload.web", True),
    ],
)
def test_what_limits_others_too_is_no_limit_of_a_container(group: str, limited: str, *, counts: bool) -> None:
    found = processes._limits({"": group}, {f"/sys/fs/cgroup{limited}/memory.max": 4096})
    assert found.memory == (4096 if counts else None)


def test_limits_are_read_however_long_the_way_to_them_is(tmp_path: Path) -> None:
    """A user may make control groups as deep as a path is long: more names of files than one command takes."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "pids.max").write_text("4096\n")
    deep = [f"/proc/{n}/cgroup:0::/{n}{'/a' * 2000}" for n in range(2)]
    assert processes._limits({"": "/x"}, read_limits(tmp_path, *deep, "/proc/9/cgroup:0::/x")).pids == 4096


def read_users_bundles(folder: Path, **configs: str) -> dict[str, Any]:
    """What the script makes of users' bundles, by name: one is a user's of its own, `b` of what is in it."""
    rows, at = [], {}
    for number, (name, text) in enumerate(configs.items(), 1000):
        at[name] = folder / name / f"{number:064x}" / "userdata"
        at[name].mkdir(parents=True)
        if text == "a pipe":
            os.mkfifo(at[name] / "config.json")
        else:
            (at[name] / "config.json").write_text(text)
        rows.append(f"{number} {number:064x} {name} {at[name]}\n")
    listed = "".join(f"podman {row.split()[0]} {n} {row.split()[1]} -\n" for n, row in enumerate(rows))
    script = LISTS[-1].read_text()
    run = 'run() { [ "$1" != users.filters ] || "$2"; }'
    given = {"rows": listed, "names": "".join(rows), "users": " x", "LC_ALL": "C"}
    said = subprocess.run(["sh", "-c", f"{run}\n{script[script.index('seccomp=') :]}"], capture_output=True, text=True,
                          env={**os.environ, **given}, check=True).stdout  # fmt: skip
    blocks = {"uid": Block(0, "0"), "engines": Block(0, "podman"), "containers": Block(0, listed),
              "podman.named": Block(0, given["names"]), "users.filters": Block(0, said)}  # fmt: skip
    found = Containers.parse(Section(blocks)).containers
    assert isinstance(found, tuple)
    return {each.name: each.filter for each in found}


def test_a_users_bundle_is_read_and_what_he_keeps_from_being_read_costs_his_own_alone(tmp_path: Path) -> None:
    found = read_users_bundles(
        tmp_path, one=bundle(SOME, **COMPACT), pipe="a pipe", none=bundle(None), last=bundle(SOME),
        flood=bundle(SOME | {"x": "x" * 10**6}),
    )  # fmt: skip
    assert (found["one"], found["none"], found["last"]) == (SOME, None, SOME)
    assert all(isinstance(found[name], Unknown) for name in ("pipe", "flood"))


def test_of_a_users_words_only_a_path_of_the_engines_own_form_is_opened(tmp_path: Path) -> None:
    for name in ("*", "a b", "x=y"):
        assert isinstance(read_users_bundles(tmp_path, **{name: bundle(SOME)}).popitem()[1], Unknown)
