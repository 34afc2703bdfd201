"""`hullproof policy check|show|diff` as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from deploys.core.policy_file import SHIPPED, load_policy, policy_tree
from deploys.subjects import SUBJECTS
from hullproof.command import main

OWN = """\
extends: strict
kernel:
  sysctls: {kernel.sysrq: 176, net.ipv4.conf.all.log_martians: 1}
  keep: null
docker: {log_driver: "local"}
waivers:
  - {control: files.own, reason: "old\\nand grey", owner: ops, until: 2020-01-01}
accept: [userns-remap]
"""


def policy(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["policy", *map(str, words)])


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.yml").write_text(OWN)
    return tmp_path / "own.yml"


def test_what_is_right_is_said_and_what_waives_nothing_too(own: Path) -> None:
    done = policy("check", own, "strict")
    assert (done.exit_code, done.stdout) == (0, f"{own}: no error found\nstrict: no error found\n")
    assert done.stderr == f"{own}: the waiver of files.own ended on 2020-01-01 and waives nothing (owner: ops)\n"


def test_every_error_of_every_file_is_named_by_file_line_and_key(own: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("docker:\n  live_restor: true\n  log_level: loud\n")
    (tmp_path / "b.yml").write_text("docker: [\n")
    done = policy("check", tmp_path / "a.yml", own, tmp_path / "b.yml", tmp_path / "c.yml")
    assert (done.exit_code, done.stdout) == (1, f"{own}: no error found\n")
    assert f'{tmp_path}/a.yml:2: docker.live_restor: no such key; did you mean "live_restore"?' in done.stderr
    assert f"{tmp_path}/a.yml:3: docker.log_level: must be" in done.stderr
    assert f"{tmp_path}/b.yml:2:1: " in done.stderr
    assert "c.yml: no such file" in done.stderr


def test_a_file_of_this_folder_needs_no_slash(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    own.rename(own.parent / "strict")
    (own.parent / "strict").write_text("docker: {zzz: 1}\n")
    assert policy("check", "strict").stderr.startswith("strict:1: docker.zzz: no such key")


@pytest.mark.parametrize("name", [*SHIPPED, "OWN"])
def test_what_is_shown_is_the_whole_policy_and_demands_the_same(name: str, own: Path, tmp_path: Path) -> None:
    name = str(own) if name == "OWN" else name
    shown = policy("show", name)
    assert shown.exit_code == 0
    (tmp_path / "shown.yml").write_text(shown.output)
    again = load_policy(str(tmp_path / "shown.yml"), SUBJECTS)
    meant = load_policy(name, SUBJECTS)
    assert again.plain == meant.plain
    assert (again.waivers, again.accept) == (meant.waivers, meant.accept)
    assert yaml.load(shown.output, yaml.BaseLoader) == as_text(policy_tree(name, SUBJECTS).data)


def as_text(value: Any) -> Any:
    """As YAML's own base loader has it, which reads all values as text."""
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


def test_each_value_says_where_it_is_from(own: Path) -> None:
    shown = policy("show", own).output
    assert f"    kernel.sysrq: 176  # {own}:3\n" in shown
    assert f"  log_driver: local  # {own}:5\n" in shown
    assert "    kernel.oops_limit: 100  # " in shown
    assert "strict.yml:" in shown.split("kernel.oops_limit: 100  # ")[1].split("\n")[0]
    assert f"until: 2020-01-01}}  # {own}:7\n" in shown.replace("'2020-01-01'", "2020-01-01")


def test_without_a_name_it_is_the_baseline() -> None:
    assert policy("show").output == policy("show", "baseline").output


def test_hosts_of_an_inventory_have_their_own(own: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.py"
    data = {"policy": str(own), "accept": "retry"}
    inventory.write_text(f"hosts = [('a', {data}), 'b', ('c', {{'policy': 'no'}})]\n")
    shown = policy("show", "--inventory", inventory)
    assert shown.exit_code == 1
    first, second, third = shown.output.split("---\n")
    assert yaml.safe_load(first)["docker"]["log_driver"] == "local"
    assert yaml.safe_load(second)["docker"]["log_level"] == "info"
    assert third.startswith("# policy no, on c\n")
    assert shown.output.startswith(f"# policy {own}, on a\n# accepted besides, by the inventory's data: retry\n")
    assert '# refused: no policy "no"' in shown.output


def test_what_the_second_demands_more_less_and_otherwise(own: Path) -> None:
    found = policy("diff", "strict", own)
    assert found.exit_code == 0
    assert (
        found.output
        == f"""\
{own} demands more:
  kernel.sysctls: net.ipv4.conf.all.log_martians: nothing -> 1
    kernel.sysctl.net.ipv4.conf.all.log_martians: Packets with impossible source addresses are
      logged on all interfaces
{own} demands less:
  kernel.keep: 2 -> nothing
    kernel.old-kernels: No more kernels are installed than the policy keeps
  waivers: files.own: nothing -> {{"reason": "old and grey", "owner": "ops", "until": "2020-01-01"}}
    files.own: Only root can change hullproof's own files
{own} says otherwise:
  kernel.sysctls: kernel.sysrq: 0 -> 176
    kernel.sysctl.kernel.sysrq: The magic SysRq keys are off
  docker.log_driver: "journald" -> "local"
    docker.log-driver: Containers use the logging driver of the policy
    docker.log-opts: Containers' logs are limited in size
  accept: userns-remap: nothing -> "Images, containers and volumes that were made before are no
    longer visible to Docker (the plan says which, and how large they are). Undoing the change
    brings them back."
1 more, 2 less, 3 otherwise.
"""
    )
    assert policy("diff", own, "strict").output.splitlines()[-1] == "2 more, 1 less, 3 otherwise."
    assert policy("diff", "strict", "strict").output == "0 more, 0 less, 0 otherwise.\n"


@pytest.mark.parametrize("words", [["show", "nosuch"], ["diff", "nosuch", "strict"], ["diff", "strict", "nosuch"]])
def test_a_policy_that_is_none_ends_with_1(words: list[str]) -> None:
    done = policy(*words)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert 'no policy "nosuch"; the policies there: baseline, strict' in done.output
