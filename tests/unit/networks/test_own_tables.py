"""hullproof's own tables as different versions of nft print them, and what others have changed in them."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core import templates
from deploys.core.change import Blocked, Command
from deploys.core.control import State
from deploys.networks import tables as subject
from deploys.networks.isolation import NetworksRules, later_rule
from deploys.networks.ports import FILES as PORT_FILES
from deploys.networks.ports import text_of
from facts.core.reading import Block, Section
from facts.networks.networks import LATER_FILE, LOADED_FILE, RULES_FILE, UNIT, UNIT_FILE, NetworksReading, _own_tables
from facts.networks.nft import chains, dormant
from facts.networks.own_tables import PRINTED, in_own_words
from tests.support.networks import BOTH_BRIDGES, NONE, changes, context, docker, reading, reason, state

RULES = NetworksRules(icc=False, host_services=["udp/53"], antispoof=True, cover="all")
TEXT = subject.rules_text(RULES, BOTH_BRIDGES, BOTH_BRIDGES)
THERE = {
    **NONE,
    **{path: text_of(path) for path in PORT_FILES},
    **{RULES_FILE: TEXT, UNIT_FILE: templates.text(f"networks/{UNIT}"), LATER_FILE: later_rule()},
}
# What a version of nft makes of the file's words.
HEADS = {"forward priority -1": "forward priority filter - 1", "input priority -1": "input priority filter - 1"}
BOOKWORM = {
    **HEADS,
    "priority -300; policy accept;\n\t\tmeta": "priority dstnat; policy accept;\n\t\tmeta",
    "priority -300; policy accept;\n\t\tiif": "priority raw; policy accept;\n\t\tiif",
}
TRIXIE = {**BOOKWORM, "iifname . @th,64,128 != @targets": "iifname . icmpv6 taddr != @targets"}
FORKY = {**TRIXIE, "iif oif missing": "iif check missing"}
VERSIONS = {"nft 1.0.6": BOOKWORM, "nft 1.1.3": TRIXIE, "nft 1.1.7": FORKY}


def printed(words: dict[str, str], text: str = TEXT) -> str:
    for own, theirs in words.items():
        assert own in text
        text = text.replace(own, theirs)
    return text


def live(listed: str, kept: str | Block, **more: Any) -> NetworksReading:
    """The host with `listed` in its kernel, and `kept` beside what was loaded; `ours` and `inet` are one here."""
    block = Block(0, kept) if isinstance(kept, str) else kept
    section = Section({"tables": Block(0, "table bridge hullproof {\n}\n"), "ours": Block(0, listed),
                       LOADED_FILE: block})  # fmt: skip
    found = _own_tables(section)
    return reading(
        **{"files": {**THERE, LOADED_FILE: section.file(LOADED_FILE)}, "unit_enabled": True, **found, **more}
    )


HOST = docker({"icc": False, "default-network-opts": {"bridge": {"com.docker.network.bridge.enable_icc": "false"}}})
CONTROLS = ("icc", "host-services", "antispoof")


def states(nets: NetworksReading) -> dict[str, str]:
    """What fails, and why."""
    where = context(nets, HOST, RULES)
    return {each: reason(where, each) for each in CONTROLS if state(where, each) is not State.PASS}


@pytest.mark.parametrize("words", VERSIONS.values(), ids=VERSIONS)
def test_what_this_nft_printed_right_after_the_load_is_what_was_loaded(words: dict[str, str]) -> None:
    listed = printed(words)
    nets = live(listed, f"{TEXT}{PRINTED}\n{listed}")
    assert nets.own == chains(TEXT)
    assert states(nets) == {}
    assert changes(context(nets, HOST, RULES)) == []


@pytest.mark.parametrize("words", VERSIONS.values(), ids=VERSIONS)
def test_an_nft_that_prints_other_words_than_the_one_that_loaded_needs_one_load(words: dict[str, str]) -> None:
    nets = live(
        printed({**words, "udp dport 53 accept": "udp dport domain accept"}), f"{TEXT}{PRINTED}\n{printed(words)}"
    )
    assert list(states(nets)) == ["host-services"]
    (load,) = changes(context(nets, HOST, RULES))
    assert isinstance(load, Command)
    assert load.script == subject.LOAD
    assert f">{LOADED_FILE}" in load.script


def insert(chain: str, row: str) -> dict[str, str]:
    head = next(part for part in TEXT.split(f"\tchain {chain} {{\n")[1:])
    first = head.partition("\n")[0] + "\n"
    return {f"\tchain {chain} {{\n{first}": f"\tchain {chain} {{\n{first}\t\t{row}\n"}


@pytest.mark.parametrize(
    ("change", "control", "says"),
    [
        (insert("forward", "accept"), "icc", "the rule `accept` in hullproof's chain forward is not hullproof's"),
        (
            insert("forward", 'meta ibrname "docker0" accept'),
            "icc",
            "on network bridge containers reach each other (set ",
        ),
        (insert("forward", 'iifname "docker0" oifname "docker0" accept'), "icc", "on network bridge containers reach"),
        (insert("forward", "iifname . oifname @later accept"), "icc", "the rule `iifname . oifname @later accept` in"),
        ({'meta ibrname "docker0" drop\n': "\n"}, "icc", "on network bridge containers reach each other (set on disk"),
        ({'iifname "docker0" oifname "docker0" drop\n': "\n"}, "icc", "on network bridge containers reach each other"),
        ({"type filter hook forward priority 0": "type filter hook postrouting priority 0"}, "icc", "chain forward is"),
        ({"\t\ttype filter hook input priority -1; policy accept;\n": ""}, "host-services", "begins with `iifname"),
        (insert("input", "accept"), "host-services", "the rule `accept` in hullproof's chain input is not hullproof's"),
        (insert("as-itself", "accept"), "antispoof", "differs from the policy"),
        ({"iif oif missing": "iif oif exists"}, "antispoof", "differs from the policy"),
    ],
)
@pytest.mark.parametrize("words", VERSIONS.values(), ids=VERSIONS)
def test_what_others_changed_in_the_kernel_is_found(
    words: dict[str, str], change: dict[str, str], control: str, says: str
) -> None:
    kept = f"{TEXT}{PRINTED}\n{printed(words)}"
    text = printed(change)
    nets = live(printed({own: theirs for own, theirs in words.items() if own in text}, text), kept)
    found = states(nets)
    assert list(found) == [control]
    assert says in found[control]
    (load,) = changes(context(nets, HOST, RULES))
    assert isinstance(load, Command)
    assert not isinstance(load, Blocked), "what the file kept apart before is restored unasked"


@pytest.mark.parametrize(("family", "fails"), [("bridge", ["icc", "antispoof"]), ("inet", list(CONTROLS))])
def test_a_dormant_table_is_not_in_force(family: str, fails: list[str]) -> None:
    asleep = TEXT.replace(f"table {family} hullproof {{\n", f"table {family} hullproof {{\n\tflags dormant\n\n")
    nets = live(asleep, f"{TEXT}{PRINTED}\n{TEXT}")
    assert nets.dormant == (family,)
    found = states(nets)
    assert list(found) == fails
    assert all(f"hullproof's table {family} hullproof is dormant, so none of its" in why for why in found.values())
    (load,) = changes(context(nets, HOST, RULES))
    assert isinstance(load, Command)


def test_tables_that_nobody_says_were_loaded() -> None:
    nets = live(printed(TRIXIE), Block(1, f"cat: {LOADED_FILE}: No such file or directory"))
    found = states(nets)
    assert list(found) == list(CONTROLS)
    assert all("hullproof-networks.service has not loaded the tables" in why for why in found.values())
    unread = live(printed(TRIXIE), Block(1, f"cat: {LOADED_FILE}: Permission denied"))
    where = context(unread, HOST, RULES)
    assert {state(where, each) for each in CONTROLS} == {State.UNKNOWN}


def test_a_rule_is_not_taken_for_another_chains() -> None:
    """The words of one chain do not apply in another, nor where the chain that was loaded had other rules."""
    own = "table inet hullproof {\n\tchain a {\n\t\tone\n\t}\n\tchain b {\n\t\ttwo\n\t}\n}\n"
    then = own.replace("one", "1").replace("two", "2")
    assert in_own_words(then, f"{own}{PRINTED}\n{then}") == chains(own)
    swapped = then.replace("1", "3").replace("2", "1").replace("3", "2")
    assert in_own_words(swapped, f"{own}{PRINTED}\n{then}") == {"inet a": ("2",), "inet b": ("1",)}
    more = then.replace("1\n", "1\n\t\t1\n")
    assert in_own_words(then, f"{own}{PRINTED}\n{more}") == {"inet a": ("1",), "inet b": ("two",)}


def test_flags() -> None:
    assert dormant("table inet hullproof {\n\tflags owner, dormant\n}\n") == ("inet",)
    assert dormant('table inet hullproof {\n\tcomment "x"\n\tflags dormant\n}\n') == ("inet",)
    assert dormant("table inet hullproof {\n\tset x {\n\t\tflags dormant\n\t}\n}\n") == ()


def test_only_bridges_that_are_in_both_tables_are_isolated_later() -> None:
    both = '\t\telements = { "br-0123456789ab" . "br-0123456789ab" }\n'
    listed = TEXT.replace("\t\ttype ifname . ifname\n", "\t\ttype ifname . ifname\n" + both)
    assert live(listed, f"{TEXT}{PRINTED}\n{TEXT}").later == ()
    listed = listed.replace(
        "set later {\n\t\ttype ifname\n", 'set later {\n\t\ttype ifname\n\t\telements = { "br-0123456789ab" }\n'
    )
    nets = live(listed, f"{TEXT}{PRINTED}\n{TEXT}")
    assert nets.later == ("br-0123456789ab",)
    assert nets.drops("br-0123456789ab")
