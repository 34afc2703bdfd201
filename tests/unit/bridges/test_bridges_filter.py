"""What the filter of declared bridges lets through, and the picture of who reaches whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploys.bridges.firewalls.forwarding import forward_text
from deploys.bridges.nft_filter import eui64, filter_text
from deploys.bridges.picture import picture, render_mermaid, render_text
from deploys.bridges.rules import Allow, BridgesRules
from deploys.core.change import Blocked, WriteFile
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.engines.docker.docker import Network
from facts.networks.bridges import OUR_FILES, RULES_FILE, UNIT_FILE
from tests.support.bridges import (
    BARE,
    DEVICES,
    DNS,
    FLOW,
    MAC,
    OPEN,
    RULES,
    context,
    device,
    hardened,
    on,
    plan,
    reading,
    replace_rules,
    state,
)
from tests.support.hosts import container
from tests.support.hosts import docker as engine

# ------------------------------------------------------------------------------------------------ the filter


def chain(text: str, name: str) -> list[str]:
    body = text.split(f"\tchain {name} {{\n", 1)[1].split("\n\t}", 1)[0]
    return [line.strip() for line in body.splitlines()]


def test_ports_of_one_network_do_not_meet_and_vlans_do_only_within() -> None:
    text = filter_text(RULES)
    assert chain(text, "within-tenants") == ["drop"]
    assert chain(text, "within-web") == [
        'iifname { "web-a" } oifname { "web-a" } accept',
        'iifname "eth1" oifname { "web-a" } accept',
        'iifname { "web-a" } oifname "eth1" accept',
        'iifname { "db" } oifname { "db" } accept',
        "drop",
    ]
    assert "ether type { 8021q, 8021ad } drop" in chain(text, "from-web")
    assert chain(text, "from-web")[-1] == "drop", "a port in no VLAN sends nothing"


def test_flows() -> None:
    text = filter_text(replace_rules(allow=(
        FLOW, DNS, Allow.model_validate({"from": "tenants", "to": "world"}),
        Allow.model_validate({"from": "world", "to": "web.10", "proto": "icmp"}),
        Allow.model_validate({"from": "web.10", "to": "tenants", "proto": "udp"}),
    )))  # fmt: skip
    ours = '{ "br-tenants", "br-web.10", "br-web.20" }'
    assert chain(text, "to-host")[2:] == ['iifname "br-tenants" udp dport 53 accept', "drop"]
    assert chain(text, "between") == [
        "ct state established,related accept",
        'iifname "br-web.10" oifname "br-web.10" accept',
        'iifname "br-web.20" oifname "br-web.20" accept',
        'iifname "br-web.10" oifname "br-web.20" tcp dport 5432 accept',
        f'iifname "br-tenants" oifname != {ours} accept',
        f'iifname != {ours} oifname "br-web.10" meta l4proto {{ icmp, ipv6-icmp }} accept',
        'iifname "br-web.10" oifname "br-tenants" meta l4proto udp accept',
        "drop",
    ]


def test_addresses_belong_to_their_port() -> None:
    text = filter_text(RULES)
    port = chain(text, "port-t-b")
    assert f"ether saddr != {MAC} drop" in port
    assert "ip6 saddr != { fe80::ff:fe00:800b, :: } drop" in port
    assert 'iifname != "t-b" arp saddr ip { 10.80.0.11 } drop' in chain(text, "from-tenants")
    assert "arp saddr ip 10.80.0.1 drop" in chain(text, "segment-tenants")
    assert eui64(MAC) == "fe80::ff:fe00:800b"


def test_tagged_frames_come_in_by_no_port_whether_the_bridge_knows_vlans_or_not() -> None:
    text = filter_text(RULES)
    for name in ("from-tenants", "from-web"):
        assert "ether type { 8021q, 8021ad } drop" in chain(text, name)
    rows = chain(text, "from-web")
    assert rows.index('iifname "eth1" return') < rows.index("ether type { 8021q, 8021ad } drop"), "but by the uplink"


def test_the_world_answers_private_addresses_through_the_host() -> None:
    assert "masquerade" not in filter_text(RULES)
    flow = Allow.model_validate({"from": "web.10", "to": "world"})
    text = filter_text(replace_rules(allow=(FLOW, flow)))
    inside = '{ "br-tenants", "br-web", "br-web.10", "br-web.20" }'  # the bridge too: its neighbours meet by it
    assert chain(text, "postrouting")[1:] == [f"ip saddr 10.81.10.0/24 oifname != {inside} masquerade"]
    public = RULES.networks["tenants"].model_copy(update={"subnets": ("8.8.8.0/24", "fd00:80::/64"), "ports": {}})
    rules = BridgesRules(
        networks={"tenants": public}, allow=(Allow.model_validate({"from": "tenants", "to": "world"}),)
    )
    assert chain(filter_text(rules), "postrouting")[1:] == [
        'ip6 saddr fd00:80::/64 oifname != { "br-tenants" } masquerade'
    ]


def test_only_the_metadata_address() -> None:
    rules = BridgesRules(metadata="closed")
    text = filter_text(rules)
    bridged = chain(text, "prerouting")
    clouds = ["ip daddr 169.254.169.254", "ip6 daddr fd00:ec2::254", "ip6 daddr fd20:ce::254"]
    assert bridged[1:] == [f"{cloud} jump metadata" for cloud in clouds], "on a link or an uplink too"
    but_names = "chain metadata {\n\t\tmeta l4proto { tcp, udp } th dport 53 return\n\t\tdrop\n\t}"
    assert text.count(but_names) == 2
    for cloud in clouds:
        assert f'meta iifkind "bridge" {cloud} jump metadata' in text
    assert "hook input" not in text
    where = context(rules=rules)
    assert state(where, "declared") is State.NOT_APPLICABLE
    assert state(where, "filter") is State.FAIL
    assert [change.path for change in plan(where) if isinstance(change, WriteFile)] == [UNIT_FILE, RULES_FILE]


# ------------------------------------------------------------------------------------------------ the picture

KERNEL_SAYS = (
    "table bridge bridges-hullproof {", "\tchain segment-tenants {", "\t\taccept", "\t}",
    "\tchain forward {", '\t\tmeta ibrname "br-tenants" goto within-tenants',
    '\t\tmeta ibrname "br-web" goto within-web', '\t\tmeta ibrname "lxcbr*" drop', "\t}",
    "\tchain within-tenants {", "\t\tdrop", "\t}", "}",
    "table inet bridges-hullproof {", "\tchain to-host {", "\t\tct state established,related accept",
    '\t\tiifname "br-tenants" udp dport 53 accept', "\t}",
    "\tchain between {", '\t\tiifname "br-web.10" oifname "br-web.10" accept',
    '\t\tiifname "br-web.10" oifname "br-web.20" tcp dport 5432 accept',
    '\t\tiifname "br-tenants" oifname != { "br-web.10", "br-tenants" } accept', "\t}", "}",
)  # fmt: skip


def test_the_picture_says_what_differs() -> None:
    devices = (*DEVICES, device("evil", master="br-tenants", peer='netns ]" --> x', port=OPEN))
    survey = context(hardened(devices=devices, listed=KERNEL_SAYS, loaded=KERNEL_SAYS), on()).survey
    seen = picture(RULES, survey)
    text = render_text(seen)
    assert "  web.10  (br-web.10, 10.81.10.1/24)\n    ├─ web-a ─ netns web-a, reaches its neighbours" in text
    assert "    ├─ t-a ─ netns t-a\n" in text
    assert "  web.10 ──▶ web.20: tcp/5432\n" in f"{text}\n"
    assert "  tenants ──▶ world: any  (FOUND, NOT DECLARED)" in text
    drawn = render_mermaid(seen)
    assert '  n1 -->|"tcp/5432"| n2' in drawn
    assert '  n0 ==>|"any"| n4' in drawn
    assert '["evil: netns ?? --? x"]' in drawn
    assert '["tenants (br-tenants, 10.80.0.1/24, fd00:80::1/64)"]' in drawn
    gone = render_text(picture(RULES, context(hardened(listed=()), on()).survey))
    assert "tenants ──▶ anybody: no filter  (FOUND, NOT DECLARED)" in gone
    assert "web.10 ──▶ web.20: tcp/5432  (declared, not found)" in gone


def test_bridges_that_the_policy_does_not_declare_are_in_the_picture_too() -> None:
    theirs = (device("docker0", "bridge"), device("veth1", master="docker0", pid=12), device("br0", "bridge"),
              device("lxcbr0", "bridge"), device("v9", master="lxcbr0"), device("v8", master="br0"))  # fmt: skip
    docker = engine({}, networks=(Network("bridge", "bridge", "docker0", False, True, (), ("web",)),),
                    containers=(container("web", pid=12),))  # fmt: skip
    found = hardened(devices=(*DEVICES, *theirs), listed=KERNEL_SAYS, loaded=KERNEL_SAYS)
    text = render_text(picture(RULES, context(found, on(), docker=docker).survey))
    assert "  docker0  (the Docker network bridge)\n    ├─ veth1 ─ container web, reaches its neighbours\n" in text
    assert "  br0  (not declared)\n    ├─ v8 ─ netns v8, reaches its neighbours\n" in text
    assert "  lxcbr0  (not declared)\n    ├─ v9 ─ netns v9\n" in text
    apart = render_text(picture(RULES, context(found, on(dropped=("docker0",)), docker=docker).survey))
    assert "├─ veth1 ─ container web\n" in apart
    opened = replace(found, listed=inserted("forward", "accept"))
    asleep = replace(found, listed=(KERNEL_SAYS[0], "\tflags dormant", *KERNEL_SAYS[1:]))
    for each in (opened, asleep):
        assert "├─ v9 ─ netns v9, reaches its neighbours\n" in render_text(picture(RULES, context(each, on()).survey))


def inserted(chain: str, rule: str) -> tuple[str, ...]:
    at = KERNEL_SAYS.index(f"\tchain {chain} {{") + 1
    return (*KERNEL_SAYS[:at], f"\t\t{rule}", *KERNEL_SAYS[at:])


@pytest.mark.parametrize(
    ("chain", "rule", "says", "drawn"),
    [
        ("within-tenants", "accept", "tenants ──▶ its neighbours: accept", 'n0 ==>|"accept"| n6'),
        ("within-tenants", "return", "tenants ──▶ its neighbours: return", 'n0 ==>|"return"| n6'),
        ("forward", 'meta ibrname "br-tenants" counter accept comment "x"',
         'tenants ──▶ its neighbours: meta ibrname "br-tenants" counter accept comment "x"',
         'n0 ==>|"meta ibrname ?br-tenants? counter accept comment ?x?"| n6'),
        ("to-host", "accept", "anybody ──▶ host: accept", 'n5 ==>|"accept"| n3'),
        ("to-host", 'iifname "br-tenants" udp sport 53 accept',
         'tenants ──▶ host: iifname "br-tenants" udp sport 53 accept',
         'n0 ==>|"iifname ?br-tenants? udp sport 53 accept"| n3'),
        ("between", "accept", "anybody ──▶ anybody: accept", 'n5 ==>|"accept"| n5'),
        ("between", 'oifname "br-web.20" accept', 'anybody ──▶ web.20: oifname "br-web.20" accept',
         'n5 ==>|"oifname ?br-web.20? accept"| n2'),
    ],
)  # fmt: skip
def test_a_rule_that_somebody_put_into_our_tables_is_in_the_picture(
    chain: str, rule: str, says: str, drawn: str
) -> None:
    found = hardened(listed=inserted(chain, rule), loaded=KERNEL_SAYS)
    seen = picture(RULES, context(found, on()).survey)
    text, mermaid = render_text(seen), render_mermaid(seen)
    assert f"  {says}  (FOUND, NOT DECLARED)" in text
    assert f"  {drawn}\n" in mermaid
    met = chain in ("within-tenants", "forward")
    assert ("    ├─ t-x ─ netns t-x, reaches its neighbours\n" in text) is met
    assert ("    ├─ t-a ─ netns t-a, reaches its neighbours\n" in text) is met, "t-x is not isolated by the kernel"
    assert ('["t-x: netns t-x, reaches its neighbours"]' in mermaid) is met
    assert "  web.10 ──▶ web.20: tcp/5432\n" in f"{text}\n", "what is declared is still found"


def test_ports_that_the_kernel_itself_keeps_apart_do_not_meet_by_a_rule() -> None:
    devices = tuple(one for one in DEVICES if one.name != "t-x")
    for loaded in (KERNEL_SAYS, None, Unknown("denied")):
        found = hardened(devices=devices, listed=inserted("within-tenants", "accept"), loaded=loaded)
        text = render_text(picture(RULES, context(found, on()).survey))
        assert "    ├─ t-a ─ netns t-a\n" in text
        assert ("its neighbours: accept" in text) is (loaded == KERNEL_SAYS), "what was loaded is not known"


def test_what_iptables_has_to_pass() -> None:
    world = Allow.model_validate({"from": "tenants", "to": "world"})
    text = forward_text(replace_rules(allow=(FLOW, DNS, world)), ("eth0", "eth5"))
    passes = [line.strip() for line in text.splitlines() if line.startswith("  accept ")]
    assert passes == [
        "accept br-tenants br-tenants", "accept br-tenants eth0", "accept br-tenants eth5", "accept br-web br-web",
        "accept br-web.10 br-web.20",
    ]  # fmt: skip


def test_bridges_of_engines_are_guarded_by_name_also_those_to_come() -> None:
    rules = BridgesRules(isolated_engines=("podman", "lxc"))
    text = filter_text(rules)
    assert chain(text, "forward")[1:] == [
        'meta ibrname "podman*" drop', 'meta ibrname "cni-podman*" drop', 'meta ibrname "lxcbr*" drop',
    ]  # fmt: skip
    assert 'iifname "lxcbr*" oifname "lxcbr*" drop' in chain(text, "engines")
    busy = (*BARE, device("lxcbr0", "bridge"), device("v1", master="lxcbr0"), device("v2", master="lxcbr0"))
    (blocked,) = plan(context(reading(devices=busy), rules=rules))
    assert isinstance(blocked, Blocked)
    assert "lxcbr0 (netns v1, netns v2)" in blocked.why
    assert len(plan(context(reading(devices=busy), rules=rules, accept="network-isolation"))) == 2


def test_guests_of_engines_reach_what_is_named_names_and_addresses() -> None:
    rules = BridgesRules(guarded_engines={"podman": (), "lxc": ("tcp/9100",)})
    text = filter_text(rules)
    assert chain(text, "served")[1:] == [
        'iifname "podman*" goto served-podman', 'iifname "cni-podman*" goto served-podman',
        'iifname "lxcbr*" goto served-lxc',
    ]  # fmt: skip
    assert "tcp dport 9100 accept" in chain(text, "served-lxc")
    assert "tcp dport 9100 accept" not in chain(text, "served-podman")
    for name in ("served-lxc", "served-podman"):
        assert {"udp dport 53 accept", "udp dport 67 accept"} <= set(chain(text, name))
        assert chain(text, name)[-1] == "drop"
    assert chain(text, "guests")[1] == 'iifname "podman*" goto from-own'
    assert chain(text, "from-own")[-1] == "fib saddr . iif oif missing drop"
    assert "chain served" not in filter_text(BridgesRules(isolated_engines=("lxc",)))


def test_running_guests_and_our_own_way_in_are_asked_for_first() -> None:
    rules = BridgesRules(guarded_engines={"lxc": ("tcp/9100",)})
    busy = (*BARE, device("lxcbr0", "bridge"), device("v1", master="lxcbr0"))
    (blocked,) = plan(context(reading(devices=busy), rules=rules))
    assert isinstance(blocked, Blocked)
    assert "lxcbr0 (netns v1)" in blocked.why
    assert blocked.accepts == ("host-services",)
    _, table = plan(context(reading(devices=busy), rules=rules, accept="host-services"))
    assert isinstance(table, WriteFile)
    assert "close the host's own services to guests of lxc" in table.what
    there = {**dict.fromkeys(OUR_FILES), RULES_FILE: filter_text(rules)}
    again = plan(context(reading(devices=busy, files=there), rules=rules))
    assert not [change for change in again if isinstance(change, Blocked)]
