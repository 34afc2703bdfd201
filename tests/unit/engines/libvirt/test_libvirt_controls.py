"""What libvirt gives new containers and guests, and who speaks to it: judged, and what harden writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, Change, Command, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.libvirt.controls import SUBJECT
from deploys.engines.libvirt.rules import LibvirtRules
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.libvirt import Libvirt
from facts.engines.libvirt.conf import Broken, read_conf
from facts.engines.libvirt.domains import Domain, Unread
from facts.engines.libvirt.libvirt import Conf, LibvirtReading, Socket, Unit
from facts.guests import Guest
from tests.support.hosts import beside, docker, listed

OFF, ON = Unit(active=False, enabled=False), Unit(active=True, enabled=True)
RUNNING = {"libvirtd.service": ON, "libvirtd.socket": ON}
WIDE = Socket("/run/libvirt/libvirt-sock", "0666", "root", "root")


def conf(text: str) -> Conf:
    try:
        return Conf(text, read_conf(text), "")
    except Broken as error:
        return Conf(text, Unknown(f"libvirt cannot read it: {error}"), f"/etc/libvirt/lxc.conf, {error}")


def libvirt(lxc: str = "", qemu: str = "", libvirtd: str = "", **more: Any) -> LibvirtReading:
    values: dict[str, Any] = {
        "daemons": ("libvirtd",), "drivers": ("lxc", "qemu"), "lsm": ("apparmor",),
        "files": {"lxc": conf(lxc), "qemu": conf(qemu), "libvirtd": conf(libvirtd)}, "units": RUNNING, "stale": {},
        "listening": False, "sockets": (WIDE,), "users": {"libvirt-qemu": "libvirt-qemu"}, "members": (), "domains": (),
        "networks": {}, "filters": {},
    }  # fmt: skip
    return LibvirtReading(**(values | more))


def context(reading: LibvirtReading, emulators: Any = (), /, accept: str = "", **rules: Any) -> Context:
    listing = beside(docker(installed=False, running=False), listed("web", engine="libvirt"), also=("libvirt",))
    object.__setattr__(listing, "guests", emulators)
    host = Survey({Libvirt: reading, Containers: listing})
    policy = Policy("p", {LibvirtRules: LibvirtRules(**rules)}, accept=frozenset(accept.split()))
    return Context(host, policy, {f.control.id: f for f in judge(SUBJECT.controls, host, policy)})


def found(reading: LibvirtReading, name: str, emulators: Any = (), /, **rules: Any) -> tuple[State, str]:
    finding = context(reading, emulators, **rules).findings[f"libvirt.{name}"]
    return finding.state, finding.verdict.reason


def written(changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    files = {each.path: each.text for each in changes if isinstance(each, WriteFile)}
    return {path: {key: entry.value for key, entry in read_conf(text).items()} for path, text in files.items()}


def hardened(reading: LibvirtReading, changes: Iterable[Change]) -> LibvirtReading:
    texts = {each.path: each.text for each in changes if isinstance(each, WriteFile)}
    files = {name: conf(texts[path]) if (path := f"/etc/libvirt/{name}.conf") in texts else file
             for name, file in reading.files.items()}  # fmt: skip
    return libvirt(**(vars(reading) | {"files": files}))


CONFINED = "security_default_confined = 1\n"
# The policy's key, its control, files that are right, files that are wrong, and words of the reason for those.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "confined": ("confined", {"lxc": CONFINED}, {"qemu": 'security_driver = "none"'},
                 "security_driver is 'none' (/etc/libvirt/qemu.conf:1)"),
    "require_confined": ("require-confined", {name: "security_require_confined = 1" for name in ("lxc", "qemu")}, {},
                         "/etc/libvirt/lxc.conf does not set it"),
    "unprivileged_emulators": ("unprivileged-emulators", {}, {"qemu": '#\ngroup = "+0"'},
                               "group is '+0' (/etc/libvirt/qemu.conf:2)"),
    "seccomp_sandbox": ("seccomp-sandbox", {"qemu": "seccomp_sandbox = -1"}, {"qemu": "seccomp_sandbox = 0"},
                        "seccomp_sandbox is 0"),
    "authenticated": ("authenticated", {"libvirtd": 'auth_unix_rw = "sasl"'}, {"libvirtd": 'auth_unix_rw = "none"'},
                      "libvirt-sock is 0666 root:root"),
}  # fmt: skip


@pytest.mark.parametrize("key", CASES)
def test_each_setting_is_judged_and_mended(key: str) -> None:
    name, right, wrong, words = CASES[key]
    rules: dict[str, Any] = {key: True}
    bad = libvirt(**wrong)
    assert found(libvirt(**right), name, **rules)[0] is State.PASS
    state, reason = found(bad, name, **rules)
    assert (state, words in reason, f"(libvirt.{key})" in reason) == (State.FAIL, True, True), reason
    assert found(bad, name)[0] is State.NOT_APPLICABLE
    assert found(libvirt(lxc="a", qemu="a", libvirtd="a"), name, **rules)[0] is State.UNKNOWN
    changes = list(SUBJECT.plan(context(bad, accept="libvirt-api", **rules)))
    assert {type(each) for each in changes} == {WriteFile}
    after = hardened(bad, changes)
    assert found(after, name, **rules)[0] is State.PASS
    assert list(SUBJECT.plan(context(after, **rules))) == []


def test_without_libvirt_nothing_applies_and_nothing_is_planned() -> None:
    none = libvirt(daemons=(), files={}, drivers=())
    lists = ("trusted_users", "host_ids", "unlabelled", "emulated_devices", "domain_capabilities", "unfiltered")
    given: dict[str, Any] = {"tcp": "none", **dict.fromkeys(CASES, True), **{key: [] for key in lists}}
    made = context(none, **given)
    assert {f.state for f in made.findings.values()} == {State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(made)) == []


def test_a_driver_that_is_not_there_is_not_asked_for() -> None:
    lxc = libvirt(lxc=CONFINED, qemu="seccomp_sandbox = 0", drivers=("lxc",))
    assert found(lxc, "seccomp-sandbox", seccomp_sandbox=True)[0] is State.NOT_APPLICABLE
    assert found(lxc, "confined", confined=True)[0] is State.PASS


def test_both_drivers_get_the_module_that_the_kernel_runs() -> None:
    made = context(libvirt(qemu='security_driver = [ "apparmor" ]\n' + CONFINED, lsm=("selinux",)), confined=True)
    both = {"security_driver": "selinux", "security_default_confined": 1}
    assert written(SUBJECT.plan(made)) == {"/etc/libvirt/lxc.conf": both, "/etc/libvirt/qemu.conf": both}


def test_a_kernel_that_confines_nothing_is_mended_by_hand() -> None:
    made = context(libvirt(lsm=()), confined=True)
    (blocked,) = SUBJECT.plan(made)
    assert isinstance(blocked, Blocked)
    assert "neither AppArmor nor SELinux" in blocked.why


def test_a_file_that_cannot_be_read_fails_by_its_line() -> None:
    state, reason = found(libvirt(lxc="\nsecurity_driver = none"), "settings")
    assert (state, "/etc/libvirt/lxc.conf, line 2: 'none'" in reason) == (State.FAIL, True)
    assert found(libvirt(), "settings")[0] is State.PASS
    unread = libvirt(files={"lxc": Conf(Unknown("no"), Unknown("no"), "")})
    assert found(unread, "settings")[0] is State.UNKNOWN


def test_what_waits_for_a_restart_is_restarted_and_no_file_is_written() -> None:
    late = libvirt(lxc=CONFINED, stale={"libvirtd": ("/etc/libvirt/lxc.conf",)})
    state, reason = found(late, "confined", confined=True)
    assert (state, "after libvirtd started" in reason) == (State.PENDING_RESTART, True)
    (change,) = SUBJECT.plan(context(late, confined=True))
    assert isinstance(change, Activate)
    assert "containers and guests keep running: web" in change.interrupts
    assert found(libvirt(lxc=CONFINED, stale=Unknown("no")), "confined", confined=True)[0] is State.UNKNOWN


def test_a_daemon_for_each_driver_is_restarted_by_its_own_name() -> None:
    modular = libvirt(daemons=("libvirtd", "virtqemud", "virtlxcd"), units={"libvirtd.socket": OFF})
    (change,) = SUBJECT.plan(context(modular, confined=True))
    assert isinstance(change, WriteFile)
    assert change.service
    assert change.service.what == "restart virtqemud and virtlxcd with the new settings"


def test_who_loses_the_api_is_asked_first() -> None:
    (blocked,) = SUBJECT.plan(context(libvirt(libvirtd='auth_unix_rw = "none"'), authenticated=True))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("libvirt-api",)
    group = libvirt(libvirtd='auth_unix_rw = "none"', sockets=(Socket(WIDE.path, "0770", "root", "libvirt"),))
    assert found(group, "authenticated", authenticated=True)[0] is State.PASS


def test_an_emulator_that_runs_as_root_is_named() -> None:
    guest = Guest("shop", 7, "", 0, 2, ())
    state, reason = found(libvirt(), "unprivileged-emulators", (guest,), unprivileged_emulators=True)
    assert (state, "the emulator of shop runs as root" in reason) == (State.FAIL, True)
    alone = Guest("", 8, "", 0, 2, ())
    assert found(libvirt(), "unprivileged-emulators", (alone,), unprivileged_emulators=True)[0] is State.PASS, (
        "libvirt has not started it"
    )
    unknown = libvirt(users={})
    assert found(unknown, "unprivileged-emulators", unprivileged_emulators=True)[0] is State.FAIL
    assert isinstance(next(iter(SUBJECT.plan(context(unknown, unprivileged_emulators=True)))), Blocked)


# ------------------------------------------------------------------------------------------------------- who may speak
def test_a_port_is_closed_where_that_is_accepted_and_opened_by_the_undo() -> None:
    open_port = libvirt(units=RUNNING | {"libvirtd-tcp.socket": ON, "libvirtd-tls.socket": OFF})
    state, reason = found(open_port, "tcp", tcp="tls")
    assert (state, "libvirtd-tcp.socket is enabled, libvirtd-tcp.socket listens" in reason) == (State.FAIL, True)
    assert isinstance(next(iter(SUBJECT.plan(context(open_port, tcp="tls")))), Blocked)
    (change,) = SUBJECT.plan(context(open_port, tcp="tls", accept="libvirt-api"))
    assert isinstance(change, Command)
    assert change.script.endswith("disable --now libvirtd-tcp.socket")
    assert change.undo == "systemctl -q enable libvirtd-tcp.socket && systemctl -q start libvirtd-tcp.socket"


@pytest.mark.parametrize(
    ("libvirtd", "rule", "state"),
    [
        ("listen_tls = 0", "none", State.PASS),
        ("", "none", State.FAIL),  # with --listen, TLS is on where nothing is said
        ("", "tls", State.PASS),
        ("listen_tcp = 1", "tls", State.FAIL),
        ("tls_no_verify_certificate = 1", "tls", State.FAIL),
    ],
)
def test_a_daemon_that_listens_itself_is_judged_by_its_file(libvirtd: str, rule: str, state: State) -> None:
    listening = libvirt(libvirtd=libvirtd, listening=True)
    assert found(listening, "tcp", tcp=rule)[0] is state
    if state is State.FAIL:
        assert [type(each) for each in SUBJECT.plan(context(listening, tcp=rule))] == [Blocked]


def test_a_port_that_is_not_known_is_unknown() -> None:
    assert found(libvirt(units=Unknown("no systemd")), "tcp", tcp="none")[0] is State.UNKNOWN


def test_members_of_the_group_are_named_but_for_those_that_are_trusted() -> None:
    group = libvirt(members=("ops", "eve"))
    state, reason = found(group, "api-users", trusted_users=["ops"])
    assert (state, reason.startswith("eve can become root")) == (State.FAIL, True)
    assert found(group, "api-users", trusted_users=["ops", "eve"])[0] is State.PASS


# ------------------------------------------------------------------------------------------------------------- domains
def domain(driver: str = "lxc", **more: Any) -> Domain:
    values: dict[str, Any] = {"name": "web", "file": f"/etc/libvirt/{driver}/web.xml", "idmap": True,
                              "unlabelled": False, "devices": (),
                              "dropped": (), "interfaces": (), "text": ""}  # fmt: skip
    return Domain(driver=driver, **(values | more))


@pytest.mark.parametrize(
    ("key", "wrong", "words"),
    [
        ("host_ids", domain(idmap=False), "web: root in it is root on the host"),
        ("unlabelled", domain("qemu", unlabelled=True), "web: it is declared without a label"),
        ("emulated_devices", domain("qemu", devices=("USB", "sound")), "web: its emulator has USB, sound"),
    ],
)
def test_a_domain_that_no_list_names_fails_and_is_left_to_its_owner(key: str, wrong: Domain, words: str) -> None:
    control = key.replace("_", "-")
    good = domain("qemu", idmap=False)
    assert found(libvirt(domains=(good,)), control, **{key: []})[0] is State.PASS
    state, reason = found(libvirt(domains=(good, wrong)), control, **{key: []})
    assert (state, words in reason, wrong.file in reason) == (State.FAIL, True, True), reason
    assert found(libvirt(domains=(wrong,)), control, **{key: ["web"]})[0] is State.PASS
    assert found(libvirt(domains=(wrong,)), control)[0] is State.NOT_APPLICABLE
    assert found(libvirt(domains=Unknown("no")), control, **{key: []})[0] is State.UNKNOWN
    rules: dict[str, Any] = {key: []}
    assert list(SUBJECT.plan(context(libvirt(domains=(wrong,)), **rules))) == []


def test_a_domain_whose_file_is_broken_is_named_and_hides_no_other_ones_fault() -> None:
    lost = (Unread("/etc/libvirt/lxc/x.xml", "it has no <domain> from begin to end", broken=True),)
    state, reason = found(libvirt(unread=lost), "settings")
    assert (state, "/etc/libvirt/lxc/x.xml: it has no <domain>" in reason) == (State.FAIL, True)
    assert found(libvirt(unread=lost), "unlabelled", unlabelled=[])[0] is State.UNKNOWN
    joined = (replace(lost[0], broken=False),)
    assert found(libvirt(unread=joined), "settings")[0] is State.PASS
    free = libvirt(unread=joined, domains=(domain(unlabelled=True),))
    assert found(free, "unlabelled", unlabelled=[])[0] is State.FAIL
