"""containerd's files as they are read: which counts, which is broken, and what shows who uses it."""

from __future__ import annotations

from typing import Any

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.engines.containerd import Containerd
from facts.engines.containerd.containerd import CONFIG, Socket, merged

UNIT = "ActiveState=active\nRequiredBy=\nBoundBy=docker.service\nExecStart={ argv[]=/usr/bin/containerd ; }"


def read(**blocks: str | Block) -> Any:
    said: dict[str, str | Block] = {
        "containerd": "/usr/bin/containerd", "package": "ii  1.7.24~ds1-6 containerd", "unit": UNIT,
        CONFIG: "version = 2\n", **blocks,
    }  # fmt: skip
    return Containerd.read(Section({n: t if isinstance(t, Block) else Block(0, t) for n, t in said.items()}))


def test_what_is_imported_counts_over_the_file_and_a_plugin_counts_whole() -> None:
    main = {"version": 2, "disabled_plugins": ["a"], "plugins": {"x": {"a": 1, "b": 1}, "y": {"c": 1}}}
    own = {"disabled_plugins": ["b", "a"], "plugins": {"x": {"a": 2}}}
    assert merged({"main": main, "own": own}) == {
        "version": 2, "disabled_plugins": ["a", "b"], "plugins": {"x": {"a": 2}, "y": {"c": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("name", [CONFIG, "import /etc/containerd/own.toml"])
def test_a_broken_file_is_named_with_its_line_and_makes_all_keys_unknown(name: str) -> None:
    reading = read(**{name: "version = 2\n[plugins\n"})
    assert len(reading.broken) == 1
    assert reading.broken[0].startswith(name.removeprefix("import ") + ": not TOML (")
    assert "line 2" in reading.broken[0]
    assert isinstance(reading.config, Unknown)


def test_a_file_that_is_not_there_sets_nothing_and_one_that_is_not_readable_is_unknown() -> None:
    absent = read(**{CONFIG: Block(1, "No such file or directory")})
    assert (absent.text, absent.config) == (None, {})
    assert isinstance(read(**{CONFIG: Block(1, "Permission denied")}).config, Unknown)


def test_the_socket_says_since_when_containerd_runs() -> None:
    rows = f"644 root root 90 111 {CONFIG}\n660 root root 100 100 /run/containerd/containerd.sock"
    reading = read(sockets=rows)
    assert (reading.stale, reading.socket) == ((CONFIG,), Socket("0660", "root", "root"))
    assert read(sockets=rows.replace("111", "99")).stale == ()


def test_units_that_end_with_it_are_read() -> None:
    reading = read()
    assert (reading.running, reading.restarted_with, reading.file) == (True, ("docker.service",), CONFIG)
    assert isinstance(read(unit=Block(1, "")).running, Unknown)


def test_a_file_that_its_command_line_names_is_read_in_place_of_config_toml() -> None:
    own = {"config": "/srv/c.toml", CONFIG: "version = 2\n[grpc]\ngid = 7\n"}
    assert read(**own, **{"/srv/c.toml": "version = 3\n"}).config == {"version": 3}
    missing = read(**own, **{"/srv/c.toml": Block(1, "No such file or directory")})
    assert (missing.file, missing.broken) == ("/srv/c.toml", ("/srv/c.toml: there is no such file",))


def test_a_variable_of_its_unit_is_known_of_what_runs() -> None:
    unit = "ExecStart={ argv[]=/usr/bin/containerd $OPTIONS ; }"
    assert isinstance(read(unit=unit, line="").config, Unknown)
    assert read(unit=unit, line="/usr/bin/containerd ").config == {"version": 2}


def test_what_shows_that_kubernetes_uses_it_is_read() -> None:
    assert read(used="kubelet").used == "kubelet"


@pytest.mark.parametrize("name", ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"])
def test_files_of_registries_are_those_in_the_folders_that_its_files_name(name: str) -> None:
    rows = ('/c/r/hosts.toml:1:server = "http://r"', "/other/r/hosts.toml:1:skip_verify = true")
    said = {"folders": "/c/ /d /other", "registries": "\n".join(rows)}
    config = f'version = 2\n[plugins."{name}".registry]\nconfig_path = "{{}}"\n'
    assert read(**said, **{CONFIG: config.format("/c/:/d")}).insecure == rows[:1]
    assert isinstance(read(**said, **{CONFIG: config.format("/c:/elsewhere")}).insecure, Unknown)
    assert read(**said, **{CONFIG: config.format("")}).insecure == ()


def test_without_a_word_containerd_2_2_has_folders_of_its_own() -> None:
    row = "/etc/docker/certs.d/r/hosts.toml:1:skip_verify = true"
    said = {"folders": "/etc/containerd/certs.d /etc/docker/certs.d", "registries": row}
    for version, insecure in (("2.1.4-1", ()), ("2.2.0-1", (row,))):
        assert read(package=f"ii  {version} containerd", **said).insecure == insecure
    assert isinstance(read(package="", **said).insecure, Unknown)


def test_verifiers_are_the_programs_in_the_folder_that_the_plugin_names() -> None:
    listed = "/opt/cni/bin/bridge\n/srv/own/ask\nfind: '/x': No such file or directory\n"
    said: Any = {"folders": "/opt/containerd/image-verifier/bin /opt/cni/bin /srv/own/", "verifiers": Block(1, listed)}
    config = 'version = 3\n[plugins."io.containerd.image-verifier.v1.bindir"]\nbin_dir = "{}"\n'
    assert read(**said).verifiers == ()
    assert read(**said, **{CONFIG: config.format("/srv/own")}).verifiers == ("/srv/own/ask",)
    assert isinstance(read(**said, **{CONFIG: config.format("/srv/other")}).verifiers, Unknown)


def test_versions_are_those_of_packages_or_what_programs_say_themselves() -> None:
    packages = "hi  2.1.4-1 containerd\nii  1:1.2.5-1 runc\nun   crun"
    held = read(package=packages, **{"version crun": "crun version 1.21\n"})
    assert (held.version, held.runtimes) == ("2.1.4-1", {"runc": "1.2.5-1", "crun": "1.21"})
    bare = {"package": "un   containerd", "version": "containerd github.com/containerd/containerd/v2 v2.2.0 75cb2b7"}
    assert (read(**bare).version, read(**bare).release) == ("2.2.0", (2, 2))
    assert read(package="ii  1.7.27-1 containerd.io").version == "1.7.27-1"


def test_sockets_that_listen_are_its_own() -> None:
    rest = "00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0"
    rows = f"   0: 00000000:0539 {rest} 71 1 0 100 0 0 10 0\n   1: 00000000:0016 {rest} 72 1 0 100 0 0 10 0\n"
    said = {"open": "lrwx------ 1 root root 64 Dec  1 09:00 9 -> socket:[71]\n", "listening": rows}
    assert read(**said).listening == ("0.0.0.0:1337",)
    assert isinstance(read(listening=rows).listening, Unknown)
    assert read(unit=UNIT.replace("active", "inactive")).listening == ()
