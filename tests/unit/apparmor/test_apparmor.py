"""AppArmor: the controls and the plan, from readings alone."""

from __future__ import annotations

import pytest

from deploys.apparmor.controls import AppArmorRules
from deploys.apparmor.plan import DROP_IN
from deploys.core.change import Activate, Blocked, Command, Context, Install, WriteFile
from deploys.core.control import State
from deploys.engines.docker.daemon import RESTART
from deploys.lsm.controls import LsmRules, boot_obstacle
from facts.apparmor import AppArmorReading, Profile
from facts.core.reading import Unknown
from facts.engines.docker.docker import DockerReading
from facts.kernel.kernel import KernelReading
from tests.support.apparmor import BARE, CLOCK, DENIED, apparmor, changes, context, docker, finding, kernel

EVERY = AppArmorRules(enabled=True, containers=True, profiles=["man_groff"], container_profile="default")


def test_whether_this_kernel_has_apparmor_can_be_unknown() -> None:
    where = context(apparmor(enabled=Unknown("Permission denied")), rules=EVERY)
    assert {f.state for f in where.findings.values()} == {State.UNKNOWN}


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (context(rules=AppArmorRules()), "does not declare"),
        (context(stack=("capability", "selinux"), selinux=True, rules=EVERY), "selinux confines this host"),
        (context(apparmor(enabled=None), rules=EVERY), "built without AppArmor"),
        (context(inside="lxc", rules=EVERY), "a container (lxc)"),
    ],
)
def test_where_apparmor_is_not_the_answer(where: Context, says: str) -> None:
    assert {f.state for f in where.findings.values()} == {State.NOT_APPLICABLE}
    assert all(says in f.verdict.reason for f in where.findings.values())
    assert changes(where) == []


def test_selinux_without_a_policy_stands_in_nobodys_way() -> None:
    """What apparmor=0 leaves of Debian's kernel: the next of its modules, which confines nothing."""
    where = context(apparmor(enabled=False), stack=("capability", "yama", "selinux", "tomoyo"))
    assert finding(where, "enabled").state is State.PENDING_REBOOT


def test_what_waits_for_the_boot_that_brings_apparmor_is_pending() -> None:
    off = apparmor(enabled=False, profiles={})
    assert finding(context(off), "docker-profile").state is State.PENDING_REBOOT
    bare = context(apparmor(enabled=False, profiles={}, parser=None))
    assert finding(bare, "docker-profile").state is State.FAIL


def test_all_holds() -> None:
    where = context()
    assert {f.control.id: f.verdict.reason for f in where.findings.values() if not f.state.holds} == {}
    assert changes(where) == []


@pytest.mark.parametrize(
    ("reading", "want"),
    [
        (apparmor(), State.PASS),
        (apparmor(package=DENIED), State.PASS),  # built from source
        (BARE, State.FAIL),
        (apparmor(parser=None, package=DENIED), State.UNKNOWN),
        (apparmor(parser=DENIED), State.UNKNOWN),
        (apparmor(service="disabled"), State.FAIL),
        (apparmor(service="masked"), State.FAIL),
        (apparmor(service=None), State.FAIL),
        (apparmor(service=DENIED), State.UNKNOWN),
    ],
)
def test_installed(reading: AppArmorReading, want: State) -> None:
    assert finding(context(reading), "installed").state is want


@pytest.mark.parametrize(
    ("reading", "boot", "want", "says"),
    [
        (apparmor(), kernel(), State.PASS, ""),
        (apparmor(), kernel(DENIED), State.UNKNOWN, "denied"),
        (apparmor(), kernel(DENIED, "none"), State.PASS, ""),  # booted from outside: the live line is all there is
        (apparmor(enabled=False), kernel(), State.PENDING_REBOOT, "the kernel runs without AppArmor"),
        (apparmor(enabled=False), kernel(("apparmor=0",)), State.FAIL, "apparmor=0 on the kernel's command line turns"),
        (apparmor(), kernel(("apparmor=0",)), State.FAIL, "from the next boot on"),
        (apparmor(enabled=DENIED), kernel(), State.UNKNOWN, "denied"),
    ],
)
def test_enabled(reading: AppArmorReading, boot: KernelReading, want: State, says: str) -> None:
    found = finding(context(reading, kernel=boot), "enabled")
    assert found.state is want
    assert says in found.verdict.reason


@pytest.mark.parametrize(
    ("words", "bar"),
    [
        ("quiet", None),
        ("apparmor=0", "apparmor=0"),
        ("apparmor=0 apparmor=1", None),
        ("security=selinux", "security=selinux"),
        ("security=apparmor", None),
        ("lsm=landlock,yama", "lsm=landlock,yama"),
        ("lsm=landlock,apparmor security=selinux", None),  # with lsm= the kernel passes over security=
    ],
)
def test_what_keeps_it_off(words: str, bar: str | None) -> None:
    found = boot_obstacle("apparmor", words.split(), "debian")
    assert (found and str(found)) == bar


@pytest.mark.parametrize(
    ("reading", "host", "want"),
    [
        (apparmor(), docker(), State.PASS),
        (apparmor(profiles={}), docker(), State.FAIL),
        (apparmor(profiles={"docker-default": "complain"}), docker(), State.FAIL),
        (apparmor(profiles=DENIED), docker(), State.UNKNOWN),
        (apparmor(profiles={}), docker(running=False), State.NOT_APPLICABLE),
        (apparmor(profiles={}), docker(installed=False), State.NOT_APPLICABLE),
        (apparmor(profiles={}), docker(running=DENIED), State.UNKNOWN),
    ],
)
def test_docker_profile(reading: AppArmorReading, host: DockerReading, want: State) -> None:
    assert finding(context(reading, host=host), "docker-profile").state is want


def test_a_stock_host_gets_the_parser_and_docker_its_profile() -> None:
    install, restart = changes(context(BARE, rules=AppArmorRules(enabled=True, containers=True)))
    assert isinstance(install, Install)
    assert install.packages == ("apparmor",)
    assert isinstance(restart, Activate)
    assert restart.service.name == "docker"


def test_a_kernel_without_apparmor_gets_it_with_the_next_boot() -> None:
    off = apparmor(enabled=False, service="disabled", profiles={})
    rules = AppArmorRules(enabled=True, containers=True)
    command, write = changes(context(off, kernel=kernel(("quiet", "apparmor=0")), rules=rules))
    assert isinstance(write, WriteFile)
    assert (write.path, write.before) == (DROP_IN, None)
    assert 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT apparmor=1"' in write.text
    assert isinstance(command, Command)
    assert "systemctl enable apparmor.service" in command.script
    assert command.undo == "systemctl disable apparmor.service"
    assert write.controls == ("apparmor.enabled", "apparmor.profiles-loaded", "apparmor.docker-profile")
    done = apparmor(enabled=False, profiles={})
    again = context(done, kernel=kernel(("quiet", "apparmor=0", "apparmor=1")), rules=rules)
    assert finding(again, "enabled").state is State.PENDING_REBOOT
    assert changes(again) == []


@pytest.mark.parametrize(
    ("boot", "says"),
    [
        (kernel(("apparmor=0",), "bls"), "through GRUB's menu alone"),
        (kernel(("apparmor=0",), defaults={DROP_IN: "ours"}), "comes later on the command line"),
    ],
)
def test_a_command_line_that_is_not_ours_to_mend(boot: KernelReading, says: str) -> None:
    (change,) = changes(context(apparmor(), kernel=boot))
    assert isinstance(change, Blocked)
    assert says in change.why


@pytest.mark.parametrize(
    ("bar", "word"),
    [("lsm=landlock,yama", "lsm=landlock,yama,apparmor"), ("security=tomoyo", "security=apparmor")],
)
def test_the_last_word_counts(bar: str, word: str) -> None:
    (write,) = changes(context(apparmor(), kernel=kernel((bar,))))
    assert isinstance(write, WriteFile)
    assert word in write.text
    assert boot_obstacle("apparmor", (bar, word), "debian") is None


def test_nothing_ever_unloads_what_is_loaded() -> None:
    states = [
        BARE,
        apparmor(enabled=False, service="masked"),
        apparmor(("complain",), "complain"),
        apparmor(profiles={}),
    ]
    for planned in (changes(context(state, accept=RESTART)) for state in states):
        for change in planned:
            text = f"{getattr(change, 'script', '')} {getattr(change, 'activate', '')}"
            assert not any(
                word in text for word in ("teardown", "remove-unknown", "stop apparmor", "restart apparmor", "-R")
            )


def test_where_the_policy_wants_selinux_apparmor_is_not_brought_back() -> None:
    reading = apparmor(enabled=False, profiles={})
    switched = context(reading, kernel=kernel(("security=selinux",)), lsm=LsmRules(module="selinux"), stack=())
    assert finding(switched, "enabled").state is State.NOT_APPLICABLE
    assert not any(isinstance(change, WriteFile) for change in changes(switched))


def test_rules_of_another_under_the_name_of_dockers_profile() -> None:
    """By the time at which they were loaded, where Docker's own rules are in no file."""
    host = apparmor(replaced=CLOCK)
    assert finding(context(host, started=CLOCK - 10), "docker-profile").state is State.PASS
    assert finding(context(host, started=None), "docker-profile").state is State.PASS
    late = finding(context(host, started=CLOCK - 3600), "docker-profile")
    assert late.state is State.UNKNOWN
    assert "restart Docker" in late.verdict.reason
    ours = apparmor(replaced=CLOCK, current={"docker-default": True})
    assert finding(context(ours, started=CLOCK - 3600), "docker-profile").state is State.PASS
    other = finding(context(apparmor(current={"docker-default": False})), "docker-profile")
    assert other.state is State.FAIL
    assert "other rules" in other.verdict.reason


def test_dockers_profile_counts_by_what_the_kernel_says_it_allows() -> None:
    wide = apparmor(allowed={"docker-default": ("/proc/sysrq-trigger",)})
    found = finding(context(wide), "docker-profile")
    assert found.state is State.FAIL
    assert "lets a container write /proc/sysrq-trigger" in found.verdict.reason


def test_profiles_of_a_policy_namespace_are_not_missed_among_the_hosts_own() -> None:
    bwrap = Profile(":glycin:bwrap", "/etc/apparmor.d/glycin", ())
    where = context(apparmor(declared=(*apparmor().declared, bwrap)))  # type: ignore[misc]
    assert finding(where, "profiles-loaded").state is State.PASS
