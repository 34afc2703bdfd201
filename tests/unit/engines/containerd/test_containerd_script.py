"""Which files of containerd's are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from facts.core.reading import Unknown
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


MORE = "[debug]\nlevel = 'debug'\n"


@pytest.mark.parametrize(
    "imports",
    [
        "imports = ['{}/etc/containerd/conf.d/*.toml']",
        'imports = ["{}/etc/containerd/conf.d/*.toml"]',
        "imports = [\n  # 'no', [\n  '/not/there',\n  'conf.d/*.toml', # own ]\n]",
        "  imports=[ \"/not/there\", 'conf.d/a.toml' ]",
    ],
)
def test_imports_are_read_in_either_kind_of_quotes(imports: str, tmp_path: Path) -> None:
    text = imports.replace("{}", str(tmp_path)) + "\n[plugins]\nother = '/etc/containerd/other.toml'\n"
    put(tmp_path, "/etc/containerd/config.toml", text)
    put(tmp_path, "/etc/containerd/conf.d/a.toml", MORE)
    put(tmp_path, "/etc/containerd/other.toml", "nonsense")
    reading = Containerd.parse(run_script(Containerd.script, tmp_path, "containerd"))
    assert reading.imported == {"/etc/containerd/conf.d/a.toml": {"debug": {"level": "debug"}}}
    assert isinstance(reading.config, dict)
    assert reading.config["debug"] == {"level": "debug"}


@pytest.mark.parametrize(
    ("main", "more", "why"),
    [
        ("imports = ['/etc/my own.toml']", "", "/etc/my own.toml, which /etc/containerd/config.toml"),
        ("imports = '/etc/x[.toml'", "", "/etc/x[.toml, which /etc/containerd/config.toml"),
        ("'imports' = ['/etc/x.toml']", "", "/etc/x.toml, which /etc/containerd/config.toml"),
        ("imports = ['conf.d/a.toml']", "imports = ['b.toml']", "b.toml, which /etc/containerd/conf.d/a.toml"),
    ],
)  # fmt: skip
def test_what_is_imported_and_was_not_read_leaves_it_unknown(main: str, more: str, why: str, tmp_path: Path) -> None:
    put(tmp_path, "/etc/containerd/config.toml", f"version = 2\n{main}\n")
    put(tmp_path, "/etc/containerd/conf.d/a.toml", more)
    assert Containerd.parse(run_script(Containerd.script, tmp_path, "containerd")).config == Unknown(
        f"{why} imports, was not read"
    )


@pytest.mark.parametrize("there", [True, False])
def test_a_descriptor_that_closes_while_they_are_listed_is_no_error(there: bool, tmp_path: Path) -> None:
    put(tmp_path, "/run/systemd/system/x")
    put(
        tmp_path,
        "/bin/systemctl",
        "#!/bin/sh\necho ActiveState=active; echo MainPID=7; echo 'ExecStart={ argv[]=x ; }'\n",
    )
    put(tmp_path, "/bin/ls", "#!/bin/sh\necho ' 5 -> socket:[77]'; exit 1\n")
    for name in ("systemctl", "ls"):
        (tmp_path / "bin" / name).chmod(0o755)
    if there:
        put(tmp_path, "/proc/7/fd/5")
    put(
        tmp_path,
        "/proc/net/tcp",
        "  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1\n",
    )
    put(tmp_path, "/proc/net/tcp6")
    section = run_script(Containerd.script.replace("/proc/", f"{tmp_path}/proc/"), tmp_path, "containerd")
    found = Containerd.parse(section).listening
    assert found == ("127.0.0.1:8080",) if there else isinstance(found, Unknown)
