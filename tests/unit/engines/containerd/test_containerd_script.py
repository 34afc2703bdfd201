"""Which files of containerd's are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from facts.engines.containerd import Containerd
from tests.support.script import put, run_script


def read(root: Path, start: str) -> tuple[str, object]:
    put(root, "/run/systemd/system/x")
    put(root, "/bin/systemctl", f"#!/bin/sh\necho 'MainPID=0'; echo 'ExecStart={{ argv[]={start} ; pid=0 }}'\n")
    (root / "bin/systemctl").chmod(0o755)
    reading = Containerd.parse(run_script(Containerd.script, root, "containerd"))
    return reading.file, reading.config


@pytest.mark.parametrize("option", ["--config {}", "--config={}", "--log-level info -c {}"])
@pytest.mark.parametrize("whole", [True, False])  # systemd starts it in the folder /
def test_the_file_that_its_command_line_names_is_read(option: str, whole: bool, tmp_path: Path) -> None:
    put(tmp_path, "/etc/containerd/config.toml", "version = 2\n")
    put(tmp_path, "/etc/k/c.toml", "version = 3\n")
    path = str(tmp_path / "etc/k/c.toml").removeprefix("" if whole else "/")
    assert read(tmp_path, f"/usr/bin/containerd {option.format(path)}") == ("/etc/k/c.toml", {"version": 3})


def test_without_such_an_option_it_is_config_toml(tmp_path: Path) -> None:
    put(tmp_path, "/etc/containerd/config.toml", "version = 2\n")
    assert read(tmp_path, "/usr/bin/containerd --log-level=info") == ("/etc/containerd/config.toml", {"version": 2})


def test_a_variable_of_a_unit_that_does_not_run_leaves_it_unknown(tmp_path: Path) -> None:
    assert "variable" in str(read(tmp_path, "/usr/bin/containerd $OPTIONS")[1])


def test_verifiers_are_looked_for_where_the_files_say(tmp_path: Path) -> None:
    plugin = f'[plugins."io.containerd.image-verifier.v1.bindir"]\nbin_dir = "{tmp_path}/srv/own"\n'
    put(tmp_path, "/etc/containerd/config.toml", f"version = 3\n{plugin}")
    put(tmp_path, "/srv/own/ask")
    (tmp_path / "srv/own/ask").chmod(0o755)
    put(tmp_path, "/srv/own/notes")
    section = run_script(Containerd.script, tmp_path, "containerd")
    assert Containerd.parse(section).verifiers == ("/srv/own/ask",)


def test_registries_are_looked_for_where_the_files_say(tmp_path: Path) -> None:
    plugin = f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{tmp_path}/srv/a:{tmp_path}/srv/b"\n'
    put(tmp_path, "/etc/containerd/config.toml", f"version = 2\n{plugin}")
    put(tmp_path, "/srv/b/r/hosts.toml", "skip_verify = true\n")
    section = run_script(Containerd.script, tmp_path, "containerd")
    assert Containerd.parse(section).insecure == ("/srv/b/r/hosts.toml:1:skip_verify = true",)


def test_a_runtime_without_a_package_is_asked_itself_where_kubernetes_uses_it(tmp_path: Path) -> None:
    put(tmp_path, "/bin/dpkg-query", "#!/bin/sh\nprintf 'ii  1.7.27-1 containerd.io\\nii  1.21-1 crun\\n'\n")
    put(tmp_path, "/bin/runc", "#!/bin/sh\necho runc version 1.2.5\n")
    for name in ("dpkg-query", "runc"):
        (tmp_path / "bin" / name).chmod(0o755)
    assert Containerd.parse(run_script(Containerd.script, tmp_path, "containerd")).runtimes == {"crun": "1.21-1"}
    there = Containerd.parse(run_script(Containerd.script, tmp_path, "containerd", "kubelet"))
    assert (there.version, there.runtimes) == ("1.7.27-1", {"crun": "1.21-1", "runc": "1.2.5"})
