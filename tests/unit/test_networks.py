"""Networks: the controls and the plan, from readings alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import deploys.networks as subject
from deploys.engine.change import Blocked, Change, Command, Context, Install, MergeJson, WriteFile
from deploys.engine.control import State
from deploys.isolation import ENABLE_ICC, TEMPLATES, NetworksRules, later_rule
from facts.docker import Docker, DockerReading, Network
from facts.forward import Filter
from facts.kernel import Kernel
from facts.networks import (
    FILES,
    LATER_FILE,
    MODULES_FILE,
    RULES_FILE,
    SYSCTL_FILE,
    UNIT,
    UNIT_FILE,
    Bridge,
    Networks,
    NetworksReading,
    _dropped,
    chains,
)
from facts.reading import Block, Section, Unknown
from facts.sysctls import SysctlFile
from tests.unit.hosts import judged
from tests.unit.test_forward import DOCKER_26, table
from tests.unit.test_userns import docker as engine
from tests.unit.test_userns import kernel

DEFAULT = Network("bridge", "bridge", "docker0", False, False, ("172.17.0.0/16",), ("web", "db"))
SHOP = Network("shop", "bridge", "br-aaa", False, True, ("172.18.0.0/16",), ("cart", "till"))


# ------------------------------------------------------------------------------------------------ readings


def reading(**more: Any) -> NetworksReading:
    """A host with Docker on which icc=false is in force on the default bridge by iptables."""
    values: dict[str, Any] = {
        "bridges": (
            Bridge("docker0", (), False, False, False, ("172.17.0.1/16",)),
            Bridge("br-aaa", (), False, False, False, ("172.18.0.1/16",)),
        ),
        "vlans": (),
        "memberships": (),
        "addresses": {},
        "routes": (),
        "connection": "ens3",
        "doors": ("ens3",),
        "ssh_port": 22,
        "br_netfilter": True,
        "nf_call": {"iptables": 1, "ip6tables": 1, "arptables": 1},
        "forwarding4": 1,
        "forwarding6": 0,
        "modules_load": (MODULES_FILE,),
        "modules_blocked": (),
        "devices_blocked": (),
        "filter4": table(),
        "guards": (),
        "filter6": Filter("ACCEPT", "ACCEPT", ()),
        "tables": (),
        "dropped": (),
        "own": {},
        "later": (),
        "resolvers": ("127.0.0.53",),
        "files": dict.fromkeys(FILES),
        "unit_enabled": False,
        "managers": ("systemd-networkd",),
        "firewalls": (),
    }
    return NetworksReading(**{**values, **more})


def docker(keys: Any = None, networks: Any = (DEFAULT, SHOP), **more: Any) -> DockerReading:
    return engine({"icc": False} if keys is None else keys, networks=networks, **more)


SPARED = NetworksRules(icc=False, cover="all", except_=["shop"])
SHOP_ONLY = NetworksRules(icc=False, cover=["shop"])
VMS = SysctlFile("/etc/sysctl.d/v.conf", "net.bridge.bridge-nf-call-iptables=0\n")
NO_RULES = Filter("ACCEPT", "ACCEPT", ())
ACCEPTS = table(DOCKER_26.replace(":FORWARD DROP", ":FORWARD ACCEPT"))
DEFAULTS = NetworksRules(icc=False, br_netfilter=True, guarded_forwarding=True)
ALL = NetworksRules(icc=False, cover="all")


def context(
    nets: Any = None, host: Any = None, rules: NetworksRules = DEFAULTS, accept: str = "", files: Any = ()
) -> Context:
    readings = {Networks: nets or reading(), Docker: host or docker(), Kernel: kernel(*files)}
    return judged(subject.SUBJECT, rules, readings, accept)


def state(where: Context, control: str) -> State:
    return where.findings[f"networks.{control}"].state


def reason(where: Context, control: str) -> str:
    return where.findings[f"networks.{control}"].verdict.reason


@pytest.fixture(autouse=True)
def merge(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(where: Context, name: str, what: str, put: Any, drop: Any = ()) -> Change:
        return MergeJson(name, what, path="/etc/docker/daemon.json", before=None, put=put)

    monkeypatch.setattr(subject, "daemon_json", fake)


NONE = dict.fromkeys(FILES)
DOCKER0 = {"docker0": True}
BOTH_BRIDGES = {"br-aaa": True, **DOCKER0}
OURS = {**NONE, RULES_FILE: subject.rules_text(ALL, BOTH_BRIDGES, BOTH_BRIDGES), UNIT_FILE: "x"}
LATER = {**OURS, LATER_FILE: later_rule()}
OPEN = Network("bridge", "bridge", "docker0", False, True, ("172.17.0.0/16",), ())
SIX = Network("bridge", "bridge", "docker0", False, False, ("172.17.0.0/16", "fd00:1::/64"), ())
OURS_ALONE = {**NONE, RULES_FILE: subject.rules_text(ALL, DOCKER0, DOCKER0), UNIT_FILE: (TEMPLATES / UNIT).read_text()}
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
        (reading(filter4=NO_RULES), docker({"icc": False, "iptables": False}), State.FAIL, "as iptables=false has it"),
        # written, and not taken up: the rules are there until the daemon starts anew
        (reading(), docker({"icc": False, "iptables": False}), State.FAIL, "each other: iptables stops IP alone"),
        (reading(filter4=NO_RULES), docker(), State.FAIL, "FORWARD policy ACCEPT"),
        (reading(filter4=OPENED), docker(), State.FAIL, "-A FORWARD -j ACCEPT"),
        (reading(filter4=None), docker(), State.FAIL, "not installed"),
        (reading(), docker(networks=(SIX,)), State.FAIL, "ip6tables lets them through"),
        (reading(), docker(), State.FAIL, "iptables stops IP alone"),
        # the daemon has not taken it up: with live-restore a restart leaves the bridges of running containers alone
        (reading(filter4=TALKING), docker(networks=(OPEN,)), State.FAIL, "(set on disk, not in force): iptables lets"),
        # set live only, set nowhere
        (reading(dropped=("docker0",)), docker({}), State.FAIL, "nothing on disk"),
        (reading(filter4=OPENED), docker({}, networks=(OPEN,)), State.FAIL, "containers reach each other: iptables"),
        # the bridge's own switch does as well as the host's
        (reading(nf_call={"iptables": 0}, bridges=(Bridge("docker0", (), False, True, True, ()),)), docker(),
         State.FAIL, "iptables stops IP alone"),
        # our own table needs none of that
        (reading(dropped=("docker0",), br_netfilter=False, nf_call={}, filter4=OPENED), docker(), State.PASS, "bridge"),
        # another network's isolation that nobody asked for
        (reading(dropped=("br-aaa",)), docker(), State.FAIL, "network shop is kept apart by our own table"),
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
        (SPARED, reading(), docker(keys_known=()), State.FAIL, "made from now on"),
        (SHOP_ONLY, reading(), docker({}), State.FAIL, "on network shop"),
        (SHOP_ONLY, reading(dropped=("br-aaa",)), docker(), State.FAIL, "nothing on disk"),
        (ALL, KEPT, docker(keys_known=()), State.PASS, "bridge, shop"),
        (ALL, KEPT, docker(), State.FAIL, "made from now on"),
        (ALL, KEPT, docker(CLOSED), State.PASS, "bridge, shop"),
        (ALL, replace(KEPT, files=OURS), docker(CLOSED), State.FAIL, "made from now on"),  # to raw frames
        (ALL, reading(dropped=(NEW.bridge,), files=LATER, unit_enabled=True), docker(networks=(NEW,), keys_known=()),
         State.PASS, "new"),
        (ALL, reading(dropped=(NEW.bridge,), files=SPARES, unit_enabled=True), docker(networks=(NEW,), keys_known=()),
         State.FAIL, "nothing on disk"),
        (NetworksRules(icc=False, cover=["gone"]), reading(), docker(), State.NOT_APPLICABLE, "covers none"),
        (NetworksRules(icc=True), reading(), docker(), State.NOT_APPLICABLE, "lets them talk"),
        (NetworksRules(), reading(), docker(), State.NOT_APPLICABLE, "does not ask"),
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
    found = context(nets)
    assert state(found, "br-netfilter") is want
    assert says in reason(found, "br-netfilter")


# ------------------------------------------------------------------------------------------------ the plan


def changes(where: Context) -> list[Change]:
    return list(subject.plan(where))


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
        assert words in blocked[0].why
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
                    dropped=_dropped(Section({"ours": Block(0, files[RULES_FILE])})))  # fmt: skip
    assert after.dropped == ("br-aaa", "docker0")
    host = docker(networks=(OPEN, SHOP), keys_known=())
    assert changes(context(after, host, ALL)) == []
    assert state(context(after, host, ALL), "icc") is State.PASS


def test_what_is_no_longer_covered_is_let_go() -> None:
    files = {**OURS, UNIT_FILE: (subject.TEMPLATES / subject.UNIT).read_text()}
    (rules,) = changes(context(reading(dropped=("br-aaa", "docker0"), files=files, unit_enabled=True)))
    assert isinstance(rules, WriteFile)
    assert rules.text == subject.rules_text(ALL, DOCKER0, DOCKER0)


def test_a_name_that_no_rule_can_hold_is_never_rendered() -> None:
    evil = Network("evil", "bridge", '"; drop', False, True, (), ())
    found = changes(context(host=docker(networks=(evil,), keys_known=()), rules=ALL))
    assert not [c for c in found if isinstance(c, WriteFile) and evil.bridge in c.text]
    assert [c for c in found if isinstance(c, Blocked)]


def test_switches_are_set_live_and_lasting_and_put_back_as_they_were() -> None:
    found = changes(context(reading(modules_load=(), nf_call={"iptables": 0, "ip6tables": 0})))
    switches = [c for c in found if c.what.startswith(("load br", "have bridged", "keep that"))]
    assert [type(c).__name__ for c in switches] == ["WriteFile", "Command", "WriteFile"]
    (live,) = [c for c in found if isinstance(c, Command)]
    assert "sysctl -q -w net.bridge.bridge-nf-call-iptables=0" in live.undo


def test_br_netfilter_is_loaded_and_its_reach_is_told() -> None:
    bridges = (Bridge("virbr0", (), False, False, False, ()), *reading().bridges)
    vms = Bridge("br-lan", (subject_port(),), False, False, False, ())
    found = changes(context(reading(br_netfilter=False, nf_call={}, modules_load=(), bridges=(*bridges, vms))))
    (load,) = [c for c in found if isinstance(c, Command) and "modprobe br_netfilter" in c.script]
    assert "br-lan" in load.interrupts
    assert "virbr0" not in load.interrupts  # nothing hangs on it


def subject_port() -> Any:
    from facts.networks import Port

    return Port("vnet0", False)


def test_a_blocked_module_is_left_to_who_blocks_it() -> None:
    line = "/etc/modprobe.d/x.conf: install br_netfilter /bin/false"
    found = changes(context(reading(br_netfilter=False, nf_call={}, modules_load=(), modules_blocked=(line,),
                                    dropped=("docker0",))))  # fmt: skip
    assert [c for c in found if isinstance(c, Blocked) and line in c.why]
    assert not [c for c in found if isinstance(c, Command)]


def test_somebody_s_file_against_it_fails_and_ours_comes_later() -> None:
    found = context(APART, files=(VMS,))
    assert state(found, "br-netfilter") is State.FAIL
    assert "/etc/sysctl.d/v.conf sets net.bridge.bridge-nf-call-iptables=0" in reason(found, "br-netfilter")
    (file,) = changes(found)
    assert isinstance(file, WriteFile)
    after = context(replace(APART, files={**OURS_ALONE, SYSCTL_FILE: file.text}),
                    files=(VMS, SysctlFile(SYSCTL_FILE, file.text)))  # fmt: skip
    assert state(after, "br-netfilter") is State.PASS


# -------------------------------------------------------------------------- the host's services, and forged addresses

GUARD = NetworksRules(host_services=["udp/53"], antispoof=True, cover="all")
GUARDED = subject.rules_text(GUARD, BOTH_BRIDGES, BOTH_BRIDGES)
UNIT_TEXT = (TEMPLATES / UNIT).read_text()
THERE = {**NONE, RULES_FILE: GUARDED, UNIT_FILE: UNIT_TEXT, LATER_FILE: later_rule()}
IDLE = replace(DEFAULT, containers=())


def guarded(text: str = GUARDED, **more: Any) -> NetworksReading:
    return reading(**{"own": chains(text), "files": THERE, "unit_enabled": True, **more})


def inserted(chain: str, row: str) -> str:
    return GUARDED.replace(f"chain {chain} {{\n", f"chain {chain} {{\n\t\t{row}\n")


@pytest.mark.parametrize(
    ("nets", "host", "services", "forged"),
    [
        (guarded(), docker(), "containers reach udp/53 of the host's own services", "their network's addresses alone"),
        (reading(), docker(), "no rule of ours asks", "no rule of ours asks"),
        (guarded(GUARDED.replace('"docker0" g', '"x" g')), docker(), "bridge containers reach", "(set on disk, not"),
        (guarded(inserted("input", 'iifname "docker0" accept')), docker(), "no rule of ours asks", "alone"),
        (guarded(inserted("input", "tcp dport 22 accept")), docker(), "`tcp dport 22 accept` in our table", "alone"),
        (guarded(inserted("to-host", "tcp dport 22 accept")), docker(), "not as the policy says", "alone"),
        (guarded(inserted("from-own", "accept")), docker(), "containers reach udp/53", "the policy says: accept;"),
        (guarded(unit_enabled=False), docker(), "closed now, but nothing on disk", "closed now, but nothing on disk"),
        (guarded(files={**THERE, LATER_FILE: None}), docker(), "made from now on", "made from now on"),
        (guarded(own=Unknown("not root")), docker(), "not root", "not root"),
        (guarded(), docker(networks=()), "covers none", "covers none"),
    ],
)  # fmt: skip
def test_whether_the_host_is_closed_to_containers(nets: Any, host: Any, services: str, forged: str) -> None:
    where = context(nets, host, GUARD)
    for control, words in (("host-services", services), ("antispoof", forged)):
        assert words in reason(where, control)
        right = words.startswith(("containers reach udp", "their", "alone"))
        want = {"not root": State.UNKNOWN, "covers none": State.NOT_APPLICABLE}.get(words)
        assert state(where, control) is (want or (State.PASS if right else State.FAIL))


def test_a_network_that_udev_named_is_closed() -> None:
    later = Network("x", "bridge", "br-0123456789ab", False, True, ("172.20.0.0/16",), ())
    named = guarded(later=(later.bridge,))
    assert state(context(named, docker(networks=(later,)), GUARD), "host-services") is State.PASS
    assert state(context(guarded(), docker(networks=(later,)), GUARD), "host-services") is State.FAIL


def test_running_containers_keep_the_hosts_services_until_that_is_accepted() -> None:
    later = Network("x", "bridge", "br-0123456789ab", False, True, ("172.20.0.0/16",), ("shop",))
    host = docker(networks=(IDLE, later))
    found = changes(context(host=host, rules=GUARD))
    (blocked,) = [change for change in found if isinstance(change, Blocked)]
    assert "shop run on it" in blocked.why
    assert "accept=host-services" in blocked.why
    (rules,) = [change for change in found if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert 'iifname "docker0" goto to-host' in rules.text
    assert 'iifname "br-0123456789ab" accept' in rules.text, "or udev closes it"
    assert 'iifname "br-0123456789ab" goto from-own' in rules.text
    assert "hook forward" not in rules.text, "nobody asked to keep containers apart"
    assert "close the host's own services to docker0, drop what comes from other" in rules.what
    accepted = changes(context(host=host, rules=GUARD, accept="host-services"))
    (rules,) = [change for change in accepted if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert rules.interrupts == "shop reach none of the host's own services any more but udp/53"
    assert changes(context(guarded(), rules=GUARD)) == []


def test_what_was_closed_before_is_mended_and_changed_unasked_and_what_that_takes_away_is_told() -> None:
    (load,) = changes(context(guarded(inserted("to-host", "accept")), rules=GUARD))
    assert isinstance(load, Command)
    more = GUARD.model_copy(update={"host_services": ["udp/53", "tcp/9100"]})
    (rules,) = changes(context(guarded(), rules=more))
    assert isinstance(rules, WriteFile)
    assert not rules.interrupts
    (rules,) = changes(context(guarded(), rules=GUARD.model_copy(update={"host_services": []})))
    assert isinstance(rules, WriteFile)
    assert rules.interrupts == "cart, db, till, web reach none of the host's own services any more"
    assert 'iifname "docker0" goto to-host' in rules.text


def test_the_way_that_we_came_in_by_is_not_closed() -> None:
    """The controller is a container of the host."""
    came = reading(doors=("ens3", "docker0"), ssh_port=2222)
    (blocked,) = changes(context(came, rules=GUARD, accept="host-services"))
    assert isinstance(blocked, Blocked)
    assert "comes in by network bridge: name tcp/2222 in networks.host_services" in blocked.why
    named = GUARD.model_copy(update={"host_services": ["tcp/2222"]})
    assert len(changes(context(came, rules=named, accept="host-services"))) > 1


def test_who_asks_the_host_itself_for_names_is_not_cut_off_unasked() -> None:
    own = {"addresses": {"eth0": ("192.0.2.5/24",), "lo": ("127.0.0.1/8",)}, "resolvers": ("192.0.2.5",)}
    rules = GUARD.model_copy(update={"host_services": []})
    host = docker(networks=(IDLE,))
    (blocked,) = [change for change in changes(context(reading(**own), host, rules)) if isinstance(change, Blocked)]
    assert "containers ask 192.0.2.5 for names, which is this host (udp/53): name what they need" in blocked.why
    named = changes(context(reading(**own), host, GUARD))
    assert not [change for change in named if isinstance(change, Blocked)]


def test_what_is_lost_live_is_loaded_and_what_is_asked_no_more_is_taken_out() -> None:
    (load,) = changes(
        context(guarded(inserted("to-host", "accept")), docker(networks=(IDLE, replace(SHOP, containers=()))), GUARD)
    )
    assert isinstance(load, Command)
    assert load.script == subject.LOAD
    fewer = GUARD.model_copy(update={"antispoof": None})
    where = context(guarded(), rules=fewer)
    assert "left from an earlier policy" in reason(where, "antispoof")
    (rules,) = changes(where)
    assert isinstance(rules, WriteFile)
    assert "from-own" not in rules.text
    only = GUARD.model_copy(update={"cover": ["shop"]})
    assert "network bridge is closed by our own table" in reason(context(guarded(), rules=only), "antispoof")


@pytest.mark.parametrize("service", ["tcp", "tcp/0", "tcp/65536", "icmp/8", "53", "tcp/22/23"])
def test_what_is_no_service_is_refused(service: str) -> None:
    with pytest.raises(ValueError, match="is no service such as tcp/9100"):
        NetworksRules(host_services=[service])
