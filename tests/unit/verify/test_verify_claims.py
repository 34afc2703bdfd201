"""What is asked of which engine, and what says nothing against a control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploys.core.policy_file import load_policy
from deploys.subjects import SUBJECTS
from tests.verify import claims, scenarios
from tests.verify.probe import ENGINES, HERE, CannotTell, NotProved, Outcome, Outcomes, Prober, about
from tests.verify.verdict import Verdict, root_is_mapped, worst

BASELINE, STRICT = (load_policy(name, SUBJECTS) for name in ("baseline", "strict"))
ALONE = set(ENGINES) - {"docker", "podman"}


class Told(Prober):
    """A host that has already said what it is. `first`: what root in a container is on the host, by whose it is."""

    def __init__(self, said: str, policy: str = "baseline", first: dict[str, str] | None = None) -> None:
        super().__init__(lambda: pytest.fail("no connection wanted"), policy)
        self.said, self.first, self.runs = said, first or {}, list[str]()

    about: Any = property(lambda self: about(self.said))
    absent = "user"  # what a launcher says where it starts nothing

    def run(self, scenario: str, *before: str, **given: str) -> Outcomes:
        self.runs.append(before[1])
        found = Outcomes()
        first = self.first.get(given.get("user", ""), "")
        row = Outcome("uid_map", 0, 0, f"0 {first} 65536") if first else Outcome(self.absent, -1, 2)
        found[row.name] = row
        return found


HOST = "machine x86_64\nagent /usr/bin/perl\ncopies perl-base\npodman 5.4.2 \nlxc 6.0.4 \n"


def test_every_engine_has_a_launcher() -> None:
    for engine in ENGINES:
        text = (HERE / "engines" / f"{engine}.sh").read_text()
        assert ("\nalone() {" in text and "\nleave() {" in text) == (engine in ALONE)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_made_without_a_word_shares_nothing_whatever_the_policy_says(engine: str) -> None:
    claims.declared(BASELINE, engine, "containers.host-namespaces")


@pytest.mark.parametrize(
    ("engine", "control", "key"),
    [
        ("lxc", "lxc.no-new-privileges", "lxc.no_new_privileges"),
        ("nspawn", "nspawn.capabilities", "nspawn.capabilities"),
        ("podman", "podman.capabilities", "podman.capabilities"),
    ],
)
def test_what_only_strict_asks_for_is_not_tried_under_baseline(engine: str, control: str, key: str) -> None:
    claims.declared(STRICT, engine, control)
    with pytest.raises(CannotTell, match=f"does not declare {key}"):
        claims.declared(BASELINE, engine, control)


@pytest.mark.parametrize("control", [*claims.KEYS, "libvirt.confined", "lxc.seccomp", "nspawn.refused-calls"])
def test_each_control_has_a_key_of_the_policy(control: str) -> None:
    claims.declared(BASELINE, "lxc", control)


@pytest.mark.parametrize(
    ("policy", "engine", "control", "what", "why"),
    [
        (STRICT, "lxc", "lxc.seccomp", "keyctl", ""),
        (BASELINE, "lxc", "lxc.seccomp", "keyctl", "does not ask"),
        (BASELINE, "lxc", "lxc.seccomp", "perf_event_open", ""),
        (STRICT, "lxc", "lxc.seccomp", "setns", "does not ask"),
        (BASELINE, "nspawn", "nspawn.refused-calls", "keyctl", ""),  # by its group
        (BASELINE, "nspawn", "nspawn.refused-calls", "io_uring_setup", ""),
        (BASELINE, "nspawn", "nspawn.refused-calls", "unshare", "does not ask"),
        (STRICT, "lxc", "lxc.capabilities", "mknod", ""),
        (BASELINE, "lxc", "lxc.capabilities", "mknod", "does not ask"),
        (STRICT, "nspawn", "nspawn.capabilities", "raw_socket", ""),
        (STRICT, "podman", "podman.capabilities", "raw_socket", ""),
        (STRICT, "podman", "containers.seccomp", "keyctl", "comes with Podman"),
        (STRICT, "podman", "containers.seccomp", "unshare", ""),
        (STRICT, "podman-user", "containers.seccomp", "unshare", "comes with Podman"),
        (STRICT, "libvirt", "libvirt.confined", "unshare", ""),
        (STRICT, "libvirt", "containers.seccomp", "keyctl", "no seccomp filter"),
        (STRICT, "libvirt", "containers.user-namespace", "secret", "idmap"),
        (STRICT, "podman-user", "containers.no-new-privileges", "setuid", "leaves users' containers"),
        (STRICT, "podman", "containers.no-new-privileges", "setuid", ""),
        (STRICT, "lxc", "lxc.user-namespace", "core_pattern", ""),
        (STRICT, "lxc", "lxc.user-namespace", "own mount", "left to a container's root"),
        (STRICT, "containerd", "containers.confined", "mount", "ctr has no settings"),
        (STRICT, "docker", "seccomp.default-profile", "mount", ""),
    ],
)
def test_what_no_setting_asks_for_says_nothing(policy: Any, engine: str, control: str, what: str, why: str) -> None:
    excuse = claims.excuse(policy, engine, control, what)
    assert why in excuse if why else excuse == ""


def test_the_profile_that_comes_with_podman_excuses_nothing_where_the_policy_has_another(tmp_path: Path) -> None:
    path = tmp_path / "hullproof.yml"
    path.write_text("podman: {seccomp: hullproof}\n")
    policy = load_policy(str(path), SUBJECTS)
    for engine in ("podman", "podman-user"):
        assert claims.excuse(policy, engine, "containers.seccomp", "keyctl") == ""


def for_users(folder: Path, *names: str) -> str:
    path = folder / "users.yml"
    path.write_text(f"containers: {{host_ids: []}}\nrootless: {{users: [{', '.join(names)}]}}\n")
    return str(path)


@pytest.mark.parametrize(("dev", "holds"), [("0", False), ("200000", True)])
def test_each_user_whom_the_policy_names_is_tried_and_the_worst_counts(tmp_path: Path, dev: str, holds: bool) -> None:
    host = Told(HOST, for_users(tmp_path, "ops", "dev"), {"ops": "100000", "dev": dev})
    control = "containers.user-namespace"
    verdict = claims.judged(host, "podman-user", control, "uid_map", lambda found: root_is_mapped(found["uid_map"]))
    assert host.runs == ["engines/podman-user.sh"] * 2
    assert verdict == Verdict(holds, f"ops: its uid_map is 0 100000 65536; dev: its uid_map is 0 {dev} 65536")


@pytest.mark.parametrize(("users", "why"), [([], "names no user"), (["gone"], "no user gone here")])
def test_no_user_to_try_is_a_reason_to_skip(tmp_path: Path, users: list[str], why: str) -> None:
    with pytest.raises(CannotTell, match=why):
        scenarios.inside(Told(HOST, for_users(tmp_path, *users)), "podman-user")


def test_a_user_who_is_not_there_leaves_the_others_a_proof(tmp_path: Path) -> None:
    host = Told(HOST, for_users(tmp_path, "gone", "ops"), {"ops": "100000"})
    assert scenarios.inside(host, "podman-user").keys() == {"ops"}


def test_a_machine_that_would_have_the_host_forward_is_not_started() -> None:
    host = Told("machine x86_64\nagent /usr/bin/perl\ncopies perl-base\nnspawn systemd 257 \n")
    host.absent = "forwarding"
    with pytest.raises(CannotTell, match="IP forwarding"):
        scenarios.inside(host, "nspawn")


def test_the_host_has_to_find_the_shared_memory_that_it_has_made() -> None:
    """With kernel.shm_rmid_forced it is gone by then."""
    tried = [line.split("\t") for line in scenarios.outside(Told(HOST))["outside"].split("\n")]
    flags = {name: arguments[-1] for name, _, *arguments in tried if "memory" in name}
    assert flags == {"made-memory": "i:896", "host:hosts-memory": "i:0"}
    assert list(flags) == ["made-memory", "host:hosts-memory"]


@pytest.mark.parametrize(
    ("rules", "tried"),
    [
        ("lxc: {pids: 512, memory: 268435456}", ["forks 513", "fill 285212672"]),
        ("lxc: {pids: 513, memory: 268435457}", []),  # what a host in use would feel
        ("lxc: {memory: 6291456}", ["fill 23068672"]),
        ("podman: {pids: 1}", []),
    ],
)
def test_limits_are_tried_where_that_takes_little_of_a_host(tmp_path: Path, rules: str, tried: list[str]) -> None:
    path = tmp_path / "limits.yml"
    path.write_text(f"{rules}\n")
    attempts = scenarios.limits(Told(HOST, str(path)), "lxc")
    assert [f"{one.name} {one.arguments[0]}" for one in attempts] == tried


def test_without_programs_to_copy_nothing_is_started() -> None:
    host = Told(HOST.replace("copies perl-base\n", ""))
    with pytest.raises(CannotTell, match="without perl-base"):
        scenarios.inside(host, "lxc")
    assert host.runs == []


@pytest.mark.parametrize("engine", ["lxc", "nspawn", "libvirt", "containerd", "podman-user"])
def test_a_host_without_an_engine_is_left_alone(engine: str) -> None:
    host = Told("machine x86_64\nagent /usr/bin/perl\ncopies perl-base\n")
    with pytest.raises(CannotTell, match=f"no {ENGINES[engine]} on this host"):
        scenarios.inside(host, engine)
    assert host.runs == []


@pytest.mark.parametrize(
    ("engine", "said", "version"),
    [
        ("lxc", "6.0.4 ", (6, 0, 4)),
        ("libvirt", "11.3.0 ", (11, 3, 0)),
        ("nspawn", "systemd 257 (257.13-1~deb13u1) +PAM +AUDIT ", (257,)),
        ("containerd", "ctr github.com/containerd/containerd 1.7.24~ds1 ", (1, 7, 24)),
        ("containerd", "ctr github.com/containerd/containerd/v2 v2.1.0 ", (2, 1, 0)),
    ],
)
def test_versions(engine: str, said: str, version: tuple[int, ...]) -> None:
    assert Told(f"{engine} {said}\n").version(engine) == version


def test_an_engine_that_does_not_answer_is_a_failure() -> None:
    with pytest.raises(NotProved, match="LXC does not answer: lxc-start: error"):
        Told("lxc lxc-start: error while loading shared libraries\n").version("lxc")


def test_the_worst_of_several() -> None:
    yes, no, dunno = Verdict(True, "a"), Verdict(False, "b"), Verdict(None, "c")
    assert worst({"": yes}) == Verdict(True, "a")
    assert worst({"x": yes, "y": dunno}) == Verdict(None, "x: a; y: c")
    assert worst({"x": dunno, "y": no}).holds is False
