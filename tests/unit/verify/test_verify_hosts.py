"""From a pyinfra inventory to testinfra hosts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.verify.hosts import Bounded, BoundedLocal, InventoryError, Target, ask_inventory, connect, read_inventory
from tests.verify.hosts import ssh_config as config_of

ROWS = json.dumps(
    [
        {"name": "web1", "groups": ["web", "all"], "data": {"ssh_port": 2222}},
        {"name": "web2", "groups": ["web", "all"], "data": {}},
        {"name": "db1", "groups": ["all"], "data": {}},
    ]
)


@pytest.mark.parametrize(
    ("limits", "names"),
    [
        ([], ["web1", "web2", "db1"]),
        (["web"], ["web1", "web2"]),
        (["db*"], ["db1"]),
        (["web2", "web"], ["web2", "web1"]),
        (["db1", "web1"], ["db1", "web1"]),
    ],
)
def test_limits(limits: list[str], names: list[str]) -> None:
    assert [target.name for target in read_inventory(ROWS, limits)] == names


@pytest.mark.parametrize(
    ("text", "limits", "said"),
    [
        ("[]", [], "no hosts"),
        (ROWS, ["typo"], "--limit typo"),
        (ROWS, ["web1", "typo"], "--limit typo"),
    ],
)
def test_no_hosts(text: str, limits: list[str], said: str) -> None:
    with pytest.raises(InventoryError, match=said):
        read_inventory(text, limits)


def test_pyinfra_reads_the_inventory(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.py"
    inventory.write_text('hosts = [("h1", {"ssh_port": 2222}), "@local"]\n')
    targets = ask_inventory(str(inventory), ["fleet"], ["ssh_user=ops"])
    assert [target.name for target in targets] == ["h1", "@local"]
    assert targets[0].data == {"ssh_port": 2222, "ssh_user": "ops"}


def test_missing_inventory_is_told(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="no such file"):
        ask_inventory(str(tmp_path / "nosuch"))


def ssh_says(config: str, host: str, file: Path) -> dict[str, str]:
    """What ssh itself makes of a configuration."""
    file.write_text(config)
    done = subprocess.run(["ssh", "-G", "-F", str(file), host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_ssh_config(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("Host web1\n  Port 1\n  User somebody\n  ProxyJump bastion\n")
    data = {
        "ssh_port": 2222,
        "ssh_key": "~/keys/a key",
        "ssh_known_hosts_file": "/dev/null",
        "ssh_strict_host_key_checking": "no",
        "ssh_config_file": str(own),
    }
    said = ssh_says(config_of(Target("web1", (), data), tmp_path), "web1", tmp_path / "config")
    assert said["port"] == "2222"
    assert said["user"] == "somebody"
    assert said["proxyjump"] == "bastion"
    assert said["identityfile"] == str(Path("~/keys/a key").expanduser())
    assert said["identitiesonly"] == "yes"
    assert said["userknownhostsfile"] == "/dev/null"
    assert said["stricthostkeychecking"] == "false"
    assert said["controlmaster"] == "auto"
    assert said["controlpath"].startswith(str(tmp_path))
    assert said["batchmode"] == "yes"


def test_host_keys_are_checked_as_pyinfra_does(tmp_path: Path) -> None:
    said = ssh_says(config_of(Target("web1"), tmp_path), "web1", tmp_path / "config")
    assert said["stricthostkeychecking"] == "accept-new"


def test_no_password_on_a_command_line(tmp_path: Path) -> None:
    host = connect(Target("h", (), {"ssh_password": "s3cret", "_sudo_password": "0ther"}), tmp_path)
    command, arguments = host.backend._build_ssh_command(host.backend.get_command("true"))
    assert "s3cret" not in " ".join([*command, *arguments])
    assert "0ther" not in " ".join([*command, *arguments])
    assert not any("s3cret" in file.read_text() for file in tmp_path.iterdir())


def test_local_and_unsupported(tmp_path: Path) -> None:
    assert isinstance(connect(Target("@local"), tmp_path).backend, BoundedLocal)
    with pytest.raises(InventoryError, match="@docker/x"):
        connect(Target("@docker/x"), tmp_path)


class Here(Bounded):
    """What the backends share, run here and without any privilege."""


def test_runs_with_replacement_of_what_is_not_utf8() -> None:
    done = Here().run_local("printf %%b %s", "a\\0377b")
    assert done.stdout_bytes == b"a\xffb"
    assert Here().decode(done.stdout_bytes) == "a\ufffdb"


def test_a_password_reaches_stdin_only() -> None:
    here = Here()
    here.password = "s3cret"
    assert "s3cret" not in here.get_command("true")
    assert here.run_local("cat").stdout_bytes == b"s3cret\n"


def test_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.verify.hosts.OUTPUT", 10)
    assert len(Here().run_local("head -c 5000 /dev/zero").stdout_bytes) == 10


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.verify.hosts.SECONDS", 0.2)
    with pytest.raises(RuntimeError, match="no answer"):
        Here().run_local("sleep 30")
