"""What containerd gives containers of Kubernetes, and who speaks to it: judged, and what harden writes for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, Change, Command, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.containerd.controls import SUBJECT
from deploys.engines.containerd.rules import ContainerdRules
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.containerd import Containerd
from facts.engines.containerd.containerd import CONFIG, SOCKET, ContainerdReading, Socket, merged
from tests.support.hosts import beside, docker, listed

CRI, RUNTIME, IMAGES = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"
IMPORT = "/etc/containerd/own.toml"
CLOSED = Socket("0660", "root", "root")


def containerd(text: str | None = "version = 2\n", imports: str = "", **more: Any) -> ContainerdReading:
    tables = {CONFIG: tomllib.loads(text or ""), **({IMPORT: tomllib.loads(imports)} if imports else {})}
    values: dict[str, Any] = {
        "installed": True, "version": "1.7.24", "text": text, "config": merged(tables), "broken": (), "file": CONFIG,
        "imported": {path: table for path, table in tables.items() if path != CONFIG}, "running": True, "stale": (),
        "used": "kubelet", "restarted_with": (), "socket": CLOSED, "selinux": False, "runtimes": {},
        "insecure": (), "verifiers": (), "listening": ("127.0.0.1:36013",),
    }  # fmt: skip
    return ContainerdReading(**(values | more))


def plugin(*rows: str, name: str = CRI, version: int = 2) -> str:
    return f'version = {version}\n[plugins."{name}"]\n' + "\n".join(rows) + "\n"


def context(reading: ContainerdReading, accept: str = "", **rules: Any) -> Context:
    listing = beside(docker(installed=False, running=False), listed("pod", engine="containerd"), also=("containerd",))
    host = Survey({Containerd: reading, Containers: listing})
    policy = Policy("p", {ContainerdRules: ContainerdRules(**rules)}, accept=frozenset(accept.split()))
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(reading: ContainerdReading, key: str, wanted: Any = None) -> tuple[State, str]:
    rules: dict[str, Any] = {} if wanted is None else {key: wanted}
    finding = context(reading, **rules).findings[f"containerd.{key.replace('_', '-')}"]
    return finding.state, finding.verdict.reason


def text_of(changes: Iterable[Change]) -> str:
    (text,) = (each.text for each in changes if isinstance(each, WriteFile))
    return text


# The policy's key, a file that is right, one that is wrong, and words of the reason for that.
CASES = {
    "seccomp": (plugin('unset_seccomp_profile = "runtime/default"'), plugin(), "unset_seccomp_profile is ''"),
    "confined": (plugin(), plugin("disable_apparmor = true"), "disable_apparmor is True (/etc/containerd/config.toml)"),
    "restrict_oom_score_adj": (plugin("restrict_oom_score_adj = true"), plugin(), "restrict_oom_score_adj is False"),
    "systemd_cgroup": (plugin("containerd.runtimes.runc.options.SystemdCgroup = true"),
                       plugin("[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.own]"),
                       "of runtime own SystemdCgroup is False"),
    "devices": (plugin("containerd.runtimes.runc.privileged_without_host_devices = true"), plugin(), "of runtime runc"),
}  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("key", CASES)
def test_each_setting_is_judged_and_mended(key: str, version: int) -> None:
    right, wrong, words = (each.replace(CRI, RUNTIME) if version == 3 else each for each in CASES[key])
    made = [containerd(text.replace("version = 2", f"version = {version}")) for text in (right, wrong)]
    assert found(made[0], key, True)[0] is State.PASS
    state, reason = found(made[1], key, True)
    assert (state, words in reason, f"(containerd.{key})" in reason) == (State.FAIL, True, True), reason
    assert found(made[1], key)[0] is State.NOT_APPLICABLE
    assert found(containerd(config=Unknown("no")), key, True)[0] is State.UNKNOWN
    rules: dict[str, Any] = {key: True}
    changes = list(SUBJECT.plan(context(made[1], accept="containerd-cgroups", **rules)))
    after = containerd(text_of(changes))
    assert found(after, key, True)[0] is State.PASS
    assert list(SUBJECT.plan(context(after, **rules))) == []


def test_where_selinux_runs_it_is_the_label_that_confines() -> None:
    state, reason = found(containerd(selinux=True), "confined", True)
    assert (state, "enable_selinux is False" in reason) == (State.FAIL, True)


@pytest.mark.parametrize(
    ("more", "why"),
    [({"text": 'version = 2\ndisabled_plugins = ["cri"]\n'}, "is disabled"), ({"used": ""}, "but nothing uses it")],
)
def test_where_docker_alone_uses_containerd_nothing_of_kubernetes_applies(more: dict[str, Any], why: str) -> None:
    state, reason = found(containerd(**more), "seccomp", True)
    assert (state, why in reason) == (State.NOT_APPLICABLE, True)


def test_without_containerd_nothing_applies_and_nothing_is_planned() -> None:
    none = containerd(None, installed=False, version=None, socket=None)
    keys = {"registries": "tls", "image_verifier": True, "user_namespaces": True, "socket": "root", "tcp": "none"}
    made = context(none, **{**dict.fromkeys(CASES, True), **keys})  # type: ignore[arg-type]
    assert {f.state for f in made.findings.values()} == {State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(made)) == []


def test_a_broken_file_fails_by_its_name() -> None:
    broken = containerd(config=Unknown("no"), broken=("/etc/containerd/config.toml: not TOML (at line 2)",))
    state, reason = found(broken, "settings")
    assert (state, "at line 2" in reason) == (State.FAIL, True)
    assert found(containerd(), "settings")[0] is State.PASS
    assert found(containerd(config=Unknown("no")), "settings")[0] is State.UNKNOWN


def test_without_a_file_one_is_written_in_the_version_that_containerd_has() -> None:
    for version, number, name in (("1.7.24", 2, CRI), ("2.1.0", 3, RUNTIME)):
        text = text_of(SUBJECT.plan(context(containerd(None, version=version), seccomp=True)))
        assert tomllib.loads(text) == {
            "version": number, "plugins": {name: {"unset_seccomp_profile": "runtime/default"}},
        }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"imports": plugin()}, "/etc/containerd/own.toml is read after"),
        ({"file": "/srv/c.toml"}, "containerd reads /srv/c.toml"),
        ({"text": "oom_score = 0\n"}, "has version 1"),
        ({"restarted_with": ("docker.service",)}, "systemd restarts docker.service"),
        ({"text": "version = 2\nplugins = {}\n"}, CONFIG),
    ],
)
def test_what_is_in_the_way_is_said_and_nothing_is_written(more: dict[str, Any], why: str) -> None:
    (blocked,) = SUBJECT.plan(context(containerd(**more), seccomp=True))
    assert isinstance(blocked, Blocked)
    assert why in blocked.why


def test_a_file_of_another_name_is_judged_by_its_name() -> None:
    state, reason = found(containerd(plugin(), file="/srv/c.toml"), "seccomp", True)
    assert (state, "unset_seccomp_profile is ''" in reason) == (State.FAIL, True)
    own = containerd(plugin('registry.mirrors."r".endpoint = ["http://r"]'), file="/srv/c.toml")
    assert "r by http://r (/srv/c.toml)" in found(own, "registries", "tls")[1]


def test_what_waits_for_a_restart_is_restarted_and_no_file_is_written() -> None:
    late = containerd(plugin('unset_seccomp_profile = "runtime/default"'), stale=(CONFIG,))
    assert found(late, "seccomp", True)[0] is State.PENDING_RESTART
    (change,) = SUBJECT.plan(context(late, seccomp=True))
    assert isinstance(change, Activate)
    assert "these keep running: pod" in change.interrupts


def test_kubelet_has_to_be_told_first() -> None:
    (blocked,) = SUBJECT.plan(context(containerd(), systemd_cgroup=True))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("containerd-cgroups",)


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (containerd(plugin('registry.mirrors."r:5000".endpoint = ["http://r:5000"]')), "r:5000 by http://r:5000"),
        (containerd(plugin('registry.configs."r".tls.insecure_skip_verify = true')), "r with insecure_skip_verify"),
        (containerd(insecure=("/etc/containerd/certs.d/r/hosts.toml:1:server = http://r",)), "hosts.toml:1"),
    ],
)
def test_registries_without_tls_are_named(reading: ContainerdReading, words: str) -> None:
    state, reason = found(reading, "registries", "tls")
    assert (state, words in reason) == (State.FAIL, True), reason
    assert found(containerd(plugin("registry.mirrors = 1")), "registries", "tls")[0] is State.PASS
    assert found(containerd(insecure=Unknown("no")), "registries", "tls")[0] is State.UNKNOWN


def verified(text: str = "version = 3\n", version: str | None = "2.1.0", **more: Any) -> tuple[State, str]:
    reading = containerd(text, version=version, **({"verifiers": ("/opt/v",)} | more))
    return found(reading, "image_verifier", True)


def test_a_verifier_is_asked_from_containerd_2_1_on() -> None:
    assert verified()[0] is State.PASS
    for version in ("1.7.24", "2.0.0"):
        state, reason = verified(version=version)
        assert (state, f"containerd {version} asks no verifier" in reason) == (State.NOT_APPLICABLE, True)
    assert verified(version=None)[0] is State.UNKNOWN


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('version = 3\ndisabled_plugins = ["io.containerd.image-verifier.v1.bindir"]\n', "is disabled"),
        (plugin("use_local_image_pull = true", name=IMAGES, version=3), f"use_local_image_pull is True ({CONFIG})"),
        (plugin("max_concurrent_downloads = 9", name=IMAGES, version=3), "max_concurrent_downloads is 9"),
        (plugin('registry.configs."r".auth = {}', name=IMAGES, version=3), f"registry.configs is set ({CONFIG})"),
        (plugin("containerd.discard_unpacked_layers = true"), "discard_unpacked_layers is True"),
        (plugin("max_verifiers = 0", name="io.containerd.image-verifier.v1.bindir", version=3), "max_verifiers is 0"),
    ],
)
def test_a_verifier_past_which_images_are_pulled_is_none(text: str, why: str) -> None:
    state, reason = verified(text)
    assert (state, why in reason) == (State.FAIL, True), reason


def test_a_folder_without_a_verifier_is_none_and_one_that_was_not_read_is_unknown() -> None:
    assert verified(verifiers=())[0] is State.FAIL
    assert verified(verifiers=Unknown("no"))[0] is State.UNKNOWN


def mapped(text: str = "version = 3\n", version: str = "2.0.1", **runtimes: str) -> tuple[State, str]:
    reading = containerd(text, version=version, runtimes=runtimes or {"runc": "1.2.5+ds1-1"})
    return found(reading, "user_namespaces", True)


CRUN = plugin(f'[plugins."{RUNTIME}".containerd.runtimes.runc.options]', 'BinaryName = "/usr/bin/crun"', name=RUNTIME,
              version=3)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "more", "state", "why"),
    [
        ("version = 3\n", {}, State.PASS, "give pods user namespaces"),
        (CRUN, {"crun": "1.21"}, State.PASS, "give pods user namespaces"),
        ("version = 2\n", {"version": "1.7.24"}, State.FAIL, "containerd 1.7.24 gives Kubernetes' pods none"),
        ("version = 3\n", {"runc": "1.1.15+ds1-2"}, State.FAIL, "runc 1.1.15+ds1-2 cannot map"),
        (CRUN, {"crun": "1.8"}, State.FAIL, "crun 1.8 cannot map"),
        (CRUN, {"runc": "1.2"}, State.UNKNOWN, "the release of crun is not known"),
        (CRUN.replace("crun", "youki"), {}, State.UNKNOWN, "the runtime runc"),
        (CRUN.replace("/usr/bin", "/srv"), {"crun": "1.21"}, State.UNKNOWN, "the runtime runc"),
    ],
)
def test_pods_have_user_namespaces_where_all_that_makes_them_can(
    text: str, more: dict[str, str], state: State, why: str
) -> None:
    says = mapped(text, **more)
    assert (says[0], why in says[1]) == (state, True), says


@pytest.mark.parametrize(
    ("socket", "state"),
    [
        (CLOSED, State.PASS), (Socket("0660", "root", "ops"), State.FAIL), (Socket("0666", "root", "root"), State.FAIL),
        (Socket("0600", "eve", "root"), State.FAIL), (None, State.UNKNOWN),
    ],
)  # fmt: skip
def test_the_socket_is_roots(socket: Socket | None, state: State) -> None:
    reading = containerd(socket=socket)
    assert found(reading, "socket", "root")[0] is state
    changes = list(SUBJECT.plan(context(reading, socket="root")))
    assert [type(each) for each in changes] == [Command] * (state is State.FAIL)


def test_a_socket_that_its_file_opens_is_closed_by_hand() -> None:
    open_socket = containerd("version = 2\n[grpc]\ngid = 7\n", socket=Socket("0660", "root", "ops"))
    state, reason = found(open_socket, "socket", "root")
    assert (state, "gid is 7" in reason, SOCKET in reason) == (State.FAIL, True, True)
    assert [type(each) for each in SUBJECT.plan(context(open_socket, socket="root"))] == [Blocked]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("version = 2\n[debug]\naddress = '/run/d.sock'\n[metrics]\naddress = '127.0.0.1:1338'\n", State.PASS),
        ("version = 2\n[metrics]\naddress = '0.0.0.0:1338'\n", State.FAIL),
        ("version = 2\n[grpc]\ntcp_address = ':7'\n", State.FAIL),
        (plugin("stream_server_address = '10.0.0.1'"), State.FAIL),
    ],
)
def test_what_other_machines_reach_is_named(text: str, state: State) -> None:
    assert found(containerd(text), "tcp", "none")[0] is state


def test_what_still_listens_although_no_file_says_so_is_named() -> None:
    state, reason = found(containerd(listening=("127.0.0.1:36013", "[::]:1338")), "tcp", "none")
    assert (state, "it listens on [::]:1338" in reason, "36013" in reason) == (State.FAIL, True, False)
    assert found(containerd(listening=Unknown("no")), "tcp", "none")[0] is State.UNKNOWN
