"""One key of config.toml is set, and comments and all other keys stay."""

from __future__ import annotations

import tomllib

import pytest

from deploys.engines.containerd.toml import dotted, edited, parts

CRI = ("plugins", "io.containerd.grpc.v1.cri")
KEY = dotted((*CRI, "unset_seccomp_profile"))
DEBIAN = """\
version = 2

[plugins]
  # of Kubernetes
  [plugins."io.containerd.grpc.v1.cri"]
    enable_selinux = false # by hand
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
"""


def test_a_key_that_is_there_is_changed_in_its_place_with_its_comment() -> None:
    after = edited(DEBIAN, {dotted((*CRI, "enable_selinux")): True})
    assert after == DEBIAN.replace("enable_selinux = false # by hand", "enable_selinux = true  # by hand")


def test_a_key_is_added_to_its_table() -> None:
    after = edited(DEBIAN, {KEY: "runtime/default"})
    assert after.split("\n")[4:6] == [
        '  [plugins."io.containerd.grpc.v1.cri"]', '    unset_seccomp_profile = "runtime/default"',
    ]  # fmt: skip
    assert edited(after, {KEY: "runtime/default"}) == after


def test_a_table_that_is_not_there_comes_at_the_end() -> None:
    key = dotted((*CRI, "containerd", "runtimes", "runc", "options", "SystemdCgroup"))
    after = edited(DEBIAN, {key: True})
    assert after.startswith(DEBIAN.rstrip())
    runtimes = tomllib.loads(after)["plugins"][CRI[1]]["containerd"]["runtimes"]
    assert runtimes == {"runc": {"options": {"SystemdCgroup": True}}}
    assert edited("", {"a.b": "x"}) == '[a]\n  b = "x"\n'


def test_a_key_of_toml_is_its_path_and_back() -> None:
    assert parts(KEY) == (*CRI, "unset_seccomp_profile")


@pytest.mark.parametrize(
    "text",
    [
        'plugins = {"io.containerd.grpc.v1.cri" = {a = 1}}\n',  # a table in one line takes no other
        'plugins = 1\n',
        '[plugins."io.containerd.grpc.v1.cri"]\nunset_seccomp_profile = """\n"""\n',
        "version = ",
    ],
)  # fmt: skip
def test_what_cannot_be_edited_for_certain_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        edited(text, {KEY: "runtime/default"})
