"""Networks: the controls and the plan, from readings alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, Install, MergeJson, WriteFile
from deploys.core.control import State
from deploys.engines.docker import daemon
from deploys.networks import tables as subject
from deploys.networks.isolation import NetworksRules, closes_later, later_rule
from facts.core.reading import Unknown, known
from facts.engines.docker.docker import DockerReading, Network
from facts.engines.docker.neutral import ENABLE_ICC
from facts.kernel.sysctls import SysctlFile
from facts.networks.networks import (
    LATER_FILE,
    RULES_FILE,
    SYSCTL_FILE,
    UNIT,
    UNIT_FILE,
    Bridge,
    NetworksReading,
    Port,
)
from facts.networks.nft import chains
from tests.support.cases import older
from tests.support.forward import DOCKER_26, table
from tests.support.networks import (
    BOTH_BRIDGES,
    DEFAULT,
    DOCKER0,
    NO_RULES,
    NONE,
    OPEN,
    SHOP,
    changes,
    context,
    docker,
    reading,
    reason,
    state,
)

# ------------------------------------------------------------------------------------------------ readings


SPARED = NetworksRules(icc=False, cover="all", except_=["shop"])
SHOP_ONLY = NetworksRules(icc=False, cover=["shop"])
VMS = SysctlFile("/etc/sysctl.d/v.conf", "net.bridge.bridge-nf-call-iptables=0\n")
ALL = NetworksRules(icc=False, cover="all")
SWITCHED = NetworksRules(br_netfilter=True)  # asked for by itself, not for icc


@pytest.fixture(autouse=True)
def merge(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(where: Context, name: str, what: str, put: Any, drop: Any = ()) -> Change:
        return MergeJson(name, what, path="/etc/docker/daemon.json", before=None, put=put)

    monkeypatch.setattr(daemon, "daemon_json", fake)


OURS = {**NONE, RULES_FILE: subject.rules_text(ALL, BOTH_BRIDGES, BOTH_BRIDGES), UNIT_FILE: "x"}
LATER = {**OURS, LATER_FILE: later_rule()}
SIX = Network("bridge", "bridge", "docker0", False, False, ("172.17.0.0/16", "fd00:1::/64"), ())
OURS_ALONE = {
    **NONE,
    RULES_FILE: subject.rules_text(ALL, DOCKER0, DOCKER0),
    UNIT_FILE: templates.text(f"networks/{UNIT}"),
}
APART = reading(dropped=("docker0",), files=OURS_ALONE, unit_enabled=True)
WITHIN = "-A FORWARD -i docker0 -o docker0 -j DROP\n"
TALKING = table(DOCKER_26.replace(WITHIN, WITHIN.replace("DROP", "ACCEPT")))
OPENED = table(DOCKER_26.replace("-A FORWARD -j DOCKER-USER", "-A FORWARD -j ACCEPT", 1))


@pytest.mark.parametrize(
    ("nets", "host", "want", "says"),
    [
        (APART, docker(), State.PASS, "on bridge"),
        # ways in which icc=false is set and not in force: whoever reads daemon.json alone would let each of them pass
        (reading(br_netfilter=False, nf_call={}), docker(), State.FAIL, "br_netfilter is not loaded"),
        (reading(br_netfilter=False, nf_call={}, forwarding4=0), docker(), State.FAIL, "ip_forward is 0"),
        (reading(nf_call={"iptables": 0}), docker(), State.FAIL, "bridge-nf-call-iptables is 0"),
        (reading(filter4=NO_RULES), docker({"icc": False, "iptables": False}), State.FAIL, "with iptables=false"),
        # written, and not taken up: the rules are there until the daemon starts anew
        (reading(), docker({"icc": False, "iptables": False}), State.FAIL, "each other: iptables drops IP packets "
            "alone"),
        (reading(filter4=NO_RULES), docker(), State.FAIL, "FORWARD policy ACCEPT"),
        (reading(filter4=OPENED), docker(), State.FAIL, "-A FORWARD -j ACCEPT"),
        (reading(filter4=None), docker(), State.FAIL, "not installed"),
        (reading(), docker(networks=(SIX,)), State.FAIL, "ip6tables accepts their packets"),
        (reading(), docker(), State.FAIL, "iptables drops IP packets alone"),
        # the daemon has not taken it up: with live-restore a restart leaves the bridges of running containers alone
        (reading(filter4=TALKING), docker(networks=(OPEN,)), State.FAIL, "(set on disk, not in force): iptables "
            "accepts"),
        # set live only, set nowhere
        (reading(dropped=("docker0",)), docker({}), State.FAIL, "no file restores"),
        (reading(filter4=OPENED), docker({}, networks=(OPEN,)), State.FAIL, "containers reach each other: iptables"),
        # the bridge's own switch does as well as the host's
        (reading(nf_call={"iptables": 0}, bridges=(Bridge("docker0", (), False, True, True, ()),)), docker(),
         State.FAIL, "iptables drops IP packets alone"),
        # our own table needs none of that
        (reading(dropped=("docker0",), br_netfilter=False, nf_call={}, filter4=OPENED), docker(), State.PASS, "bridge"),
        # another network's isolation that nobody asked for
        (reading(dropped=("br-aaa",)), docker(), State.FAIL, "hullproof's table isolates containers on network shop"),
        # what is not known
        (reading(filter4=Unknown("denied")), docker(), State.UNKNOWN, "denied"),
        (reading(dropped=Unknown("denied")), docker(), State.UNKNOWN, "denied"),
        (reading(br_netfilter=Unknown("denied")), docker(), State.UNKNOWN, "denied"),
        (reading(), docker(networks=Unknown("no daemon")), State.UNKNOWN, "no daemon"),
        (reading(), docker(installed=False), State.NOT_APPLICABLE, "not installed"),
    ],
)  # fmt: skip
def test_icc_on_the_default_bridge(nets: NetworksReading, host: DockerReading, want: State, says: str) -> None:
    found = context(nets, host)
    assert state(found, "icc") is want
    assert says in reason(found, "icc")


CLOSED = {"default-network-opts": {"bridge": {ENABLE_ICC: "false"}}}
KEPT = reading(dropped=("br-aaa", "docker0"), files=LATER, unit_enabled=True)
NEW = Network("new", "bridge", "br-0123456789ab", False, True, ("172.19.0.0/16",), ())
SPARES = {**LATER, RULES_FILE: subject.rules_text(ALL, DOCKER0, DOCKER0, spared=[NEW.bridge])}


@pytest.mark.parametrize(
    ("rules", "nets", "host", "want", "says"),
    [
        (ALL, reading(), docker(keys_known=()), State.FAIL, "on network shop containers reach each other"),
        (SPARED, reading(dropped=("docker0",), files={**NONE, LATER_FILE: later_rule()}), docker(keys_known=()),
         State.PASS, "bridge"),
        (SPARED, reading(), docker(keys_known=()), State.FAIL, "on new networks"),
        (SHOP_ONLY, reading(), docker({}), State.FAIL, "on network shop"),
        (SHOP_ONLY, reading(dropped=("br-aaa",)), docker(), State.FAIL, "no file restores"),
        (ALL, KEPT, docker(keys_known=()), State.PASS, "bridge, shop"),
        (ALL, KEPT, docker(), State.FAIL, "on new networks"),
        (ALL, KEPT, docker(CLOSED), State.PASS, "bridge, shop"),
        (ALL, replace(KEPT, files=OURS), docker(CLOSED), State.FAIL, "on new networks"),  # to raw frames
        (ALL, reading(dropped=(NEW.bridge,), files=LATER, unit_enabled=True), docker(networks=(NEW,), keys_known=()),
         State.PASS, "new"),
        (ALL, reading(dropped=(NEW.bridge,), files=SPARES, unit_enabled=True), docker(networks=(NEW,), keys_known=()),
         State.FAIL, "no file restores"),
        (NetworksRules(icc=False, cover=["gone"]), reading(), docker(), State.NOT_APPLICABLE, "names none"),
        (NetworksRules(icc=True), reading(), docker(), State.NOT_APPLICABLE, "the policy allows it"),
        (NetworksRules(), reading(), docker(), State.NOT_APPLICABLE, "does not declare"),
    ],
)  # fmt: skip
def test_icc_on_other_networks(rules: Any, nets: Any, host: Any, want: State, says: str) -> None:
    found = context(nets, host, rules)
    assert state(found, "icc") is want
    assert says in reason(found, "icc")


@pytest.mark.parametrize(
    ("nets", "want", "says"),
    [
        (reading(), State.PASS, "now and after"),
        (reading(br_netfilter=False, nf_call={}), State.FAIL, "not loaded"),
        (reading(modules_load=()), State.FAIL, "modules-load.d"),
        (reading(nf_call={"iptables": 1, "ip6tables": 0}), State.FAIL, "bridge-nf-call-ip6tables=0"),
        (reading(modules_blocked=("/etc/modprobe.d/x.conf: blacklist br_netfilter",)), State.FAIL, "x.conf"),
        (reading(nf_call={"iptables": Unknown("denied"), "ip6tables": 1}), State.UNKNOWN, "denied"),
    ],
)  # fmt: skip
def test_br_netfilter(nets: NetworksReading, want: State, says: str) -> None:
    found = context(nets, rules=SWITCHED)
    assert state(found, "br-netfilter") is want
    assert says in reason(found, "br-netfilter")


@pytest.mark.parametrize(
    "of_kernel",
    [{"modules": ()}, {"modules": Unknown("no /proc/modules"), "builtin": ("br_netfilter",)}],
)
def test_br_netfilter_that_is_built_in_is_not_loaded_by_a_file(of_kernel: dict[str, Any]) -> None:
    blocked = ("/etc/modprobe.d/x.conf: blacklist br_netfilter",)
    for nets in (reading(modules_load=()), reading(modules_load=(), modules_blocked=blocked)):
        assert state(context(nets, rules=SWITCHED, **of_kernel), "br-netfilter") is State.PASS
    off = {"nf_call": {"iptables": 0, "ip6tables": 0}, "modules_load": (), "modules_blocked": blocked}
    found = changes(context(reading(**off), rules=SWITCHED, **of_kernel))
    assert [type(change).__name__ for change in found] == ["Command", "WriteFile"], "only the sysctls"


def test_whether_br_netfilter_is_built_in_is_not_guessed() -> None:
    where = context(reading(modules_load=()), rules=SWITCHED, modules=Unknown("denied"))
    assert state(where, "br-netfilter") is State.UNKNOWN


def test_without_an_engine_nothing_depends_on_br_netfilter() -> None:
    nets = reading(br_netfilter=False, nf_call={}, modules_load=())
    where = context(nets, docker(installed=False), NetworksRules(br_netfilter=True))
    assert state(where, "br-netfilter") is State.NOT_APPLICABLE
    assert changes(where) == []


# ------------------------------------------------------------------------------------------------ the plan


def test_nothing_to_do_where_all_holds() -> None:
    assert changes(context(APART)) == []


def test_what_only_raw_frames_can_do_is_stopped_without_asking_anybody() -> None:
    closed = Network("shop", "bridge", "br-aaa", False, False, ("172.18.0.0/16",), ("cart", "till"))
    filter4 = table(DOCKER_26.replace(WITHIN, WITHIN + WITHIN.replace("docker0", "br-aaa")))
    found = changes(context(reading(filter4=filter4), docker(networks=(DEFAULT, closed)), ALL))
    assert not [change for change in found if isinstance(change, Blocked)]
    (rules,) = [change for change in found if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert 'ibrname "br-aaa" drop' in rules.text
    assert rules.interrupts == ""


def test_cutting_a_running_stack_is_asked_first() -> None:
    found = changes(context(host=docker(keys_known=()), rules=ALL))
    blocked = [change for change in found if isinstance(change, Blocked)]
    assert [change.what for change in blocked] == ["keep containers on network shop apart"]
    for words in ("cart, till", "accept=network-isolation", "networks.except"):
        assert words in blocked[0].reason
    (rules,) = [change for change in found if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert 'ibrname "br-aaa" drop' not in rules.text  # the rest of the policy is done all the same


def test_accepted_it_is_done_and_said_whom_it_parts() -> None:
    found = changes(context(host=docker(keys_known=()), rules=ALL, accept="network-isolation"))
    assert not any(isinstance(change, Blocked) for change in found)
    (rules,) = [change for change in found if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert "shop: cart, till" in rules.interrupts
    assert rules.validate == "nft -c -f {}"


def test_one_container_alone_is_cut_from_nobody() -> None:
    alone = Network("shop", "bridge", "br-aaa", False, True, ("172.18.0.0/16",), ("cart",))
    found = changes(context(host=docker(keys_known=(), networks=(DEFAULT, alone)), rules=ALL))
    assert not any(isinstance(change, Blocked) for change in found)


def test_nft_is_installed_only_where_it_is_missing() -> None:
    host = docker({}, networks=(OPEN,))
    assert not [c for c in changes(context(reading(filter4=OPENED), host)) if isinstance(c, Install)]
    (install,) = [c for c in changes(context(reading(filter4=OPENED, tables=None), host)) if isinstance(c, Install)]
    assert install.packages == ("nftables",)


def test_new_networks_are_closed_where_the_daemon_can_be_told_so() -> None:
    keys = {"icc": False, "default-network-opts": {"bridge": {"mtu": "1400"}, "overlay": {"a": "b"}}}
    merges = [c for c in changes(context(host=docker(keys), rules=ALL, accept="network-isolation"))
              if isinstance(c, MergeJson)]  # fmt: skip
    wanted = {"bridge": {"mtu": "1400", ENABLE_ICC: "false"}, "overlay": {"a": "b"}}
    assert [merge.put for merge in merges] == [{"default-network-opts": wanted}]


def test_planning_again_after_the_changes_yields_nothing() -> None:
    before = context(
        reading(filter4=OPENED), docker({}, networks=(OPEN, SHOP), keys_known=()), ALL, "network-isolation"
    )
    files = {c.path: c.text for c in changes(before) if isinstance(c, WriteFile)}
    assert LATER_FILE in files
    after = reading(filter4=OPENED, files={**reading().files, **files}, unit_enabled=True, tables=("bridge hullproof",),
                    own=chains(files[RULES_FILE]))  # fmt: skip
    assert after.dropped == {"br-aaa", "docker0"}
    host = docker(networks=(OPEN, SHOP), keys_known=())
    assert changes(context(after, host, ALL)) == []
    assert state(context(after, host, ALL), "icc") is State.PASS


def test_what_is_no_longer_covered_is_let_go() -> None:
    files = {**OURS, UNIT_FILE: templates.text(f"networks/{UNIT}")}
    (rules,) = changes(context(reading(dropped=("br-aaa", "docker0"), files=files, unit_enabled=True)))
    assert isinstance(rules, WriteFile)
    assert rules.text == subject.rules_text(NetworksRules(icc=False), DOCKER0, DOCKER0)
    assert "@later" not in rules.text


def test_a_name_that_no_rule_can_hold_is_never_rendered() -> None:
    evil = Network("evil", "bridge", '"; drop', False, True, (), ())
    found = changes(context(host=docker(networks=(evil,), keys_known=()), rules=ALL))
    assert not [c for c in found if isinstance(c, WriteFile) and evil.bridge in c.text]
    assert [c for c in found if isinstance(c, Blocked)]


def test_switches_are_set_live_and_lasting_and_put_back_as_they_were() -> None:
    nets = reading(modules_load=(), nf_call={"iptables": 0, "ip6tables": 0})
    found = changes(context(nets, rules=SWITCHED))
    switches = [c for c in found if c.what.startswith(("load br", "pass bridged"))]
    assert [type(c).__name__ for c in switches] == ["WriteFile", "Command", "WriteFile"]
    (live,) = [c for c in found if isinstance(c, Command)]
    assert "sysctl -q -w net.bridge.bridge-nf-call-iptables=0" in live.undo


def test_br_netfilter_is_loaded_and_its_reach_is_told() -> None:
    bridges = (Bridge("virbr0", (), False, False, False, ()), *known(reading().bridges))
    vms = Bridge("br-lan", (Port("vnet0", False), Port("vnet1", False)), False, False, False, ())
    nets = reading(br_netfilter=False, nf_call={}, modules_load=(), bridges=(*bridges, vms))
    (blocked,) = changes(context(nets, rules=SWITCHED))
    assert isinstance(blocked, Blocked)
    assert "br-lan (vnet0, vnet1)" in blocked.why
    found = changes(context(nets, rules=SWITCHED, accept="bridged-guests"))
    (load,) = [c for c in found if isinstance(c, Command) and "modprobe br_netfilter" in c.script]
    assert "br-lan (vnet0, vnet1)" in load.interrupts
    assert "virbr0" not in load.interrupts  # nothing hangs on it


def test_a_blocked_module_is_left_to_who_blocks_it() -> None:
    line = "/etc/modprobe.d/x.conf: install br_netfilter /bin/false"
    nets = reading(br_netfilter=False, nf_call={}, modules_load=(), modules_blocked=(line,))
    found = changes(context(nets, rules=SWITCHED))
    assert [c for c in found if isinstance(c, Blocked) and line in c.why]
    assert not [c for c in found if isinstance(c, Command)]


def test_somebody_s_file_against_it_fails_and_ours_comes_later() -> None:
    found = context(APART, rules=SWITCHED, files=(VMS,))
    assert state(found, "br-netfilter") is State.FAIL
    assert "/etc/sysctl.d/v.conf sets net.bridge.bridge-nf-call-iptables=0" in reason(found, "br-netfilter")
    (file,) = changes(found)
    assert isinstance(file, WriteFile)
    after = context(replace(APART, files={**OURS_ALONE, SYSCTL_FILE: file.text}), rules=SWITCHED,
                    files=(VMS, SysctlFile(SYSCTL_FILE, file.text)))  # fmt: skip
    assert state(after, "br-netfilter") is State.PASS


def test_what_udev_closes_stays_closed_though_another_version_wrote_the_rule() -> None:
    rule = older(later_rule())
    assert rule != later_rule()
    assert closes_later(replace(KEPT, files={**LATER, LATER_FILE: rule}))
