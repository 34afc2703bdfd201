"""Incus and LXD: judged against the policy, what harden sets in the profile `default`, and how that goes back."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from deploys.core.change import Blocked, Command, Context
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.incus.controls import SUBJECT
from deploys.engines.incus.defaults import ACCEPT, amount
from deploys.engines.incus.rules import IncusRules
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.incus import Incus
from facts.engines.incus.incus import Certificate, Configured, Daemon, IncusReading

OPS = Certificate("ops", "926f60d6677e", None)


def daemon(default: dict[str, str] | None = None, *instances: Configured, **more: Any) -> Daemon:
    profiles = (Configured("default", "profile", default or {}),)
    whole = Daemon(
        "incus", "/var/lib/incus", "", clustered=False, certificates=(), profiles=profiles, instances=instances
    )
    return replace(whole, **more)


def container(name: str, **config: str) -> Configured:
    return Configured(name, "container", {key.replace("_", "."): value for key, value in config.items()})


def context(*daemons: Daemon, accept: bool = False, members: Any = None, **rules: Any) -> Context:
    host = Survey({Incus: IncusReading(daemons, members or {})})
    policy = Policy("p", {IncusRules: IncusRules(**rules)}, accept=frozenset((ACCEPT,) if accept else ()))
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(name: str, *daemons: Daemon, **more: Any) -> tuple[State, str]:
    finding = context(*daemons, **more).findings[f"incus.{name}"]
    return finding.state, finding.verdict.reason


PRIVILEGED = container("web", security_privileged="true")
# The policy's key, what it says, what is right, what is wrong, and a word of the reason for that.
CASES: dict[str, tuple[Any, Daemon, Daemon, str]] = {
    "isolated": (True, daemon({"security.idmap.isolated": "true"}), daemon(), "does not set security.idmap.isolated"),
    "pids": (100, daemon({"limits.processes": "99"}), daemon({"limits.processes": "101"}), "limits.processes to 101"),
    "memory": (1 << 30, daemon({"limits.memory": "1GiB"}), daemon({"limits.memory": "2GB"}), "limits.memory to 2GB"),
    "privileged": ([], daemon({}, container("web", security_privileged="false")), daemon({}, PRIVILEGED),
                   "web of incus: root in it is root on the host"),
    "nesting": ([], daemon(), daemon({"security.nesting": "1"}), "profile:default of incus: it may run containers"),
    "raw": ([], daemon({}, container("web", raw_lxc="")), daemon({}, container("web", raw_lxc="x", raw_qemu="y")),
            "web of incus: it has raw.lxc, raw.qemu"),
    "address": ("none", daemon(), daemon(address=":8443"), "incus listens on :8443 for other machines"),
    "certificates": (["ci"], daemon(), daemon(certificates=(OPS,)), "trusts the client ops (926f60d6677e) of incus"),
}  # fmt: skip


@pytest.mark.parametrize("key", CASES)
def test_each_rule_is_judged(key: str) -> None:
    wanted, right, wrong, word = CASES[key]
    assert found(key, right, **{key: wanted})[0] is State.PASS
    state, reason = found(key, wrong, **{key: wanted})
    assert (state, word in reason, f"(incus.{key})" in reason) == (State.FAIL, True, True), reason
    assert found(key, wrong)[0] is State.NOT_APPLICABLE
    assert found(key, **{key: wanted})[0] is State.NOT_APPLICABLE
    no = Unknown("no")
    unread = daemon(address=no, certificates=no, profiles=no, instances=no)
    assert found(key, unread, **{key: wanted}) == (State.UNKNOWN, "no")
    assert len(list(SUBJECT.plan(context(wrong, **{key: wanted})))) == 1


@pytest.mark.parametrize(
    ("key", "may"),
    [("privileged", ["web"]), ("nesting", ["profile:default"]), ("raw", ["web"]), ("certificates", ["926f60d6677e"])],
)
def test_what_the_policy_names_may(key: str, may: list[str]) -> None:
    assert found(key, CASES[key][2], **{key: may})[0] is State.PASS


@pytest.mark.parametrize("key", ["isolated", "pids", "memory"])
def test_the_default_profiles_of_other_projects_count_and_are_left_to_whoever_made_them(key: str) -> None:
    wanted, right, wrong, word = CASES[key]
    (default,) = right.profiles if isinstance(right.profiles, tuple) else ()
    shop = replace(wrong.default, name="shop/default")
    two = replace(right, profiles=(default, shop, replace(shop, name="shop/build")))
    state, reason = found(key, two, **{key: wanted})
    assert (state, f"incus's profile shop/default {word}" in reason.replace("sets ", "")) == (State.FAIL, True), reason
    (blocked,) = SUBJECT.plan(context(two, accept=True, **{key: wanted}))
    assert isinstance(blocked, Blocked)
    assert "of each project" in blocked.by_hand
    assert found(key, replace(right, profiles=(default, replace(default, name="shop/default"))), **{key: wanted})[
        0
    ] is (State.PASS)


def test_a_soft_limit_of_memory_is_none() -> None:
    soft = daemon({"limits.memory": "1GiB", "limits.memory.enforce": "soft"})
    state, reason = found("memory", soft, memory=1 << 30)
    assert (state, "profile default sets limits.memory.enforce to soft" in reason) == (State.FAIL, True)
    (blocked,) = SUBJECT.plan(context(soft, accept=True, memory=1 << 30))
    assert isinstance(blocked, Blocked)
    assert "unset limits.memory.enforce" in blocked.by_hand


@pytest.mark.parametrize("address", ["127.0.0.1:8443", "[::1]:8443", "127.8.8.8", "::1", "localhost:8443"])
def test_loopback_is_for_no_other_machine(address: str) -> None:
    assert found("address", daemon(address=address), address="none")[0] is State.PASS
    assert found("address", daemon(address=f"1{address}"), address="none")[0] is State.FAIL


def test_members_of_the_cluster_are_no_clients_and_who_reads_metrics_is_named_so() -> None:
    member = replace(OPS, name="n2", kind="server")
    assert found("certificates", daemon(certificates=(member,)), certificates=[])[0] is State.PASS
    state, reason = found("certificates", daemon(certificates=(replace(OPS, kind="metrics"),)), certificates=[])
    assert (state, "the client ops (926f60d6677e, which may read metrics only)" in reason) == (State.FAIL, True)


@pytest.mark.parametrize("config", [
    {"security.syscalls.allow": "bpf"}, {"security.syscalls.deny_default": "false"},
    {"security.syscalls.blacklist_default": "0"}, {"raw.apparmor": "mount,"}, {"raw.idmap": "both 0 0"},
])  # fmt: skip
def test_what_takes_the_filter_or_the_profile_its_force_is_raw(config: dict[str, str]) -> None:
    state, reason = found("raw", daemon({}, Configured("shop/web", "container", config)), raw=["web"])
    assert (state, f"shop/web of incus: it has {next(iter(config))}" in reason) == (State.FAIL, True)


def test_users_are_named_with_their_group() -> None:
    members = {"incus-admin": ("ops", "dev"), "incus": ()}
    state, reason = found("api-users", daemon(), members=members, trusted_users=["ops"])
    assert (state, "dev (incus-admin) may start instances" in reason) == (State.FAIL, True)
    assert found("api-users", daemon(), members=members, trusted_users=["ops", "dev"])[0] is State.PASS
    assert found("api-users", daemon(), members=members)[0] is State.NOT_APPLICABLE
    (blocked,) = SUBJECT.plan(context(daemon(), members=members, trusted_users=[]))
    assert isinstance(blocked, Blocked)


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [("1GiB", 1 << 30), ("1GB", 10**9), ("512MiB", 512 << 20), ("64kB", 64_000), ("7", 7), ("50%", None), ("", None),
     ("1XB", None), ("-1", None), ("²", None)],
)  # fmt: skip
def test_amounts(value: str, bytes_: int | None) -> None:
    assert amount(value) == bytes_


# ------------------------------------------------------------------------------------------------ what is set


WANTED: dict[str, Any] = {"isolated": True, "pids": 100, "memory": 1 << 30}


def test_what_reaches_instances_that_run_waits_for_an_accept() -> None:
    (blocked,) = SUBJECT.plan(context(daemon({"limits.memory": "4GiB"}), **WANTED))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == (ACCEPT,)
    assert set(blocked.controls) == {"incus.isolated", "incus.pids", "incus.memory"}
    assert "its limits hold at once for those that run, and may end what takes more" in blocked.why


@pytest.mark.parametrize(
    ("instances", "set_"),
    [
        ((container("web"),), False),  # gets ids that it does not start with (Incus 6.0.4, tried)
        ((container("web", security_idmap_isolated="false"),), True),
        ((container("web", security_privileged="true"), Configured("vm", "virtual-machine", {})), True),
        (Unknown("no"), False),
    ],
)
def test_containers_that_would_be_isolated_later_are_decided_by_hand_first(instances: Any, set_: bool) -> None:
    made = context(replace(daemon(), instances=instances), accept=True, isolated=True)
    assert made.findings["incus.isolated"].state is State.FAIL
    (change,) = SUBJECT.plan(made)
    assert isinstance(change, Command if set_ else Blocked)
    assert set_ or "security.idmap.isolated=false in each container" in str(change)


def test_a_limit_that_is_not_understood_stays() -> None:
    made = context(daemon({"limits.memory": "50%"}), memory=1 << 30, accept=True)
    assert made.findings["incus.memory"].state is State.FAIL
    assert [type(each) for each in SUBJECT.plan(made)] == [Blocked]


@pytest.mark.parametrize(("more", "word"), [
    ({"clustered": True}, "member of a cluster"), ({"name": "lxd", "folder": "/var/snap/lxd/common/lxd"}, "is a snap"),
])  # fmt: skip
def test_what_is_not_this_hosts_alone_or_not_at_hand_is_left(more: dict[str, Any], word: str) -> None:
    (blocked,) = SUBJECT.plan(context(daemon(**more), accept=True, **WANTED))
    assert isinstance(blocked, Blocked)
    assert word in blocked.why
    assert not blocked.accepts


CLIENT = """\
#!/bin/sh
# profile get|set|unset default KEY[=VALUE]..., kept in files
echo "$*" >>"$STATE/.asked"; touch "$HOME/config.yml"; shift; verb=$2; shift 3
for word; do
  case $verb in
  get) cat "$STATE/$word" 2>/dev/null || echo ;;
  set) printf '%s\\n' "${word#*=}" >"$STATE/${word%%=*}" ;;
  unset) rm -f "$STATE/$word" ;;
  esac
done
[ "$verb" != set ] || exit "${FAILS:-0}"
"""


def run(folder: Path, script: str, fails: int = 0) -> int:
    """The script of a change, with a client that keeps a profile in a folder."""
    (folder / "bin").mkdir(exist_ok=True)
    client = folder / "bin/incus"
    client.write_text(CLIENT)
    client.chmod(client.stat().st_mode | stat.S_IXUSR)
    (folder / "state").mkdir(exist_ok=True)
    path = f"{folder}/bin:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "STATE": f"{folder}/state", "TMPDIR": str(folder),
           "FAILS": str(fails)}  # fmt: skip
    return subprocess.run(["sh", "-c", script], env=env, check=False).returncode


@pytest.fixture
def incusd() -> Iterator[None]:
    """A process that is called as the daemon is."""
    with TemporaryDirectory() as folder:
        shutil.copy("/bin/sleep", f"{folder}/incusd")
        with subprocess.Popen([f"{folder}/incusd", "60"]) as process:
            yield
            process.kill()


def profile(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in (folder / "state").iterdir() if path.name[0] != "."}


@pytest.mark.usefixtures("incusd")
def test_what_is_set_goes_back_but_for_what_another_has_set_since(tmp_path: Path) -> None:
    old = {"limits.memory": "4 GiB", "limits.cpu": "2"}
    (change,) = SUBJECT.plan(context(daemon(old), accept=True, **WANTED))
    assert isinstance(change, Command)
    run(tmp_path, "incus --force-local profile set default 'limits.memory=4 GiB' limits.cpu=2")
    assert run(tmp_path, change.script) == 0
    written = {"limits.memory": "1073741824", "limits.processes": "100", "security.idmap.isolated": "true"}
    assert profile(tmp_path) == {**written, "limits.cpu": "2"}
    run(tmp_path, "incus --force-local profile set default limits.processes=7")
    assert run(tmp_path, change.undo) == 0
    assert profile(tmp_path) == {**old, "limits.processes": "7"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "state"], "the client's own file is gone"
    assert subprocess.run(["sh", "-c", change.undo.replace("incus", "false")], check=False).returncode != 0


@pytest.mark.usefixtures("incusd")
def test_a_client_that_fails_for_an_instance_has_changed_the_profile_all_the_same(tmp_path: Path) -> None:
    (change,) = SUBJECT.plan(context(daemon(), accept=True, pids=9))
    assert isinstance(change, Command)
    assert run(tmp_path, change.script, fails=1) == 0
    (tmp_path / "bin/incus").write_text("#!/bin/sh\nexit 1\n")
    assert subprocess.run(["sh", "-c", change.script.replace("incus", "false")], check=False).returncode != 0


def test_a_daemon_that_does_not_run_is_not_started_to_put_back_what_it_had(tmp_path: Path) -> None:
    (change,) = SUBJECT.plan(context(daemon(), accept=True, pids=9))
    assert isinstance(change, Command)
    for script in (change.script, change.undo):
        assert run(tmp_path, script) != 0
        assert not (tmp_path / "state/.asked").exists()


def test_two_daemons_each_get_what_they_lack() -> None:
    both = daemon({"limits.processes": "9"}), daemon(name="lxd", folder="/var/lib/lxd")
    (change,) = SUBJECT.plan(context(*both, accept=True, pids=9))
    assert isinstance(change, Command)
    assert change.what.startswith("set limits.processes=9 in lxd's profile default: limits hold at once")
    assert "lxc --force-local profile" in change.script
    again = daemon({"limits.processes": "9"}, name="lxd", folder="/var/lib/lxd")
    assert list(SUBJECT.plan(context(both[0], again, accept=True, pids=9))) == []
