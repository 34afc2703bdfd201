"""What iptables does with the first packet of a forwarded or incoming connection: FORWARD and INPUT, evaluated.

Only rules that `iptables-save -t filter` prints and that can be reached from these two are kept. The evaluation errs in
one direction: `verdict` reports a drop only where no earlier rule could accept any such packet, and `passes` reports a
pass only where no earlier rule could drop one.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import merge

from facts.core.reading import Jsonable, UnknownReading

DEEPEST = 50  # chains within chains that are followed
DROPS = ("DROP", "REJECT")
# Options that do not narrow what a rule matches.
NEUTRAL = ("-m", "--comment", "--reject-with", "--log-prefix", "--log-level")


@dataclass(frozen=True)
class Verdict(Jsonable):
    """Whether all (or, the other way round, some) of the packets are dropped, and the rule or policy that decides."""

    drop: bool
    by: str  # the rule's text, or "FORWARD policy DROP"
    chain: str  # of that rule or policy
    policy: bool  # no rule decided: the chain's policy did


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, as far as it is known."""

    comes: str  # the device that it comes in by
    goes: str  # and leaves by; "": it is for the host itself
    source: tuple[str, ...] = ()  # subnets; (): anywhere
    destination: tuple[str, ...] = ()
    proto: str = ""  # tcp, udp, icmp; "": any
    port: int | None = None  # where it goes to; None: any
    bridged: bool = False  # it stays within a bridge and passes here because of br_netfilter; False: not known


@dataclass(frozen=True)
class _Rule:
    """`target`: None where the rule cannot be read. `tests`: (negated, option, its values)."""

    number: int
    text: str
    target: str | None
    tests: tuple[tuple[bool, str, str], ...] = ()

    @property
    def device(self) -> tuple[str, str] | None:
        """The only device that it can match, as ("-i", "docker0"); None where it may match others."""
        tests = ((option, value) for negated, option, value in self.tests if not negated)
        named = [(option, value) for option, value in tests if option in ("-i", "-o") and not value.endswith("+")]
        return named[0] if named else None


class _Chain:
    """A chain's rules by device: engines write some for each network, and a packet needs only those of its own."""

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self.of: dict[tuple[str, str] | None, list[_Rule]] = {}
        for rule in rules:
            self.of.setdefault(rule.device, []).append(rule)

    def about(self, packet: Packet) -> Iterator[_Rule]:
        """All rules that may match, in order."""
        keys = (None, ("-i", packet.comes), ("-o", packet.goes))
        return merge(*(self.of.get(key, ()) for key in keys), key=lambda rule: rule.number)


@dataclass(frozen=True)
class Filter(Jsonable):
    """The filter table as far as FORWARD and INPUT reach: their policies, and rules in order."""

    policy: str  # of FORWARD
    input: str  # the policy of INPUT
    rules: tuple[str, ...]  # "-A CHAIN …"

    def chains(self) -> frozenset[str]:
        return frozenset(self._by_chain) | frozenset(_targets(self.rules))

    @cached_property
    def _by_chain(self) -> dict[str, list[str]]:
        return _by_chain(self.rules)

    @cached_property
    def _read(self) -> dict[str, _Chain]:
        return {}

    def chain(self, name: str) -> _Chain:
        """Parsed when a packet first reaches it."""
        if name not in self._read:
            rules = enumerate(rule for rule in self._by_chain.get(name, ()) if not _published(rule))
            self._read[name] = _Chain(_rule(number, text) for number, text in rules)
        return self._read[name]

    def between_ports(self, bridge: str, subnets: tuple[str, ...]) -> Verdict:
        """What happens to a new connection that comes in by `bridge` and leaves by it."""
        return self.verdict(Packet(bridge, bridge, subnets, subnets))

    def verdict(self, packet: Packet) -> Verdict:
        """`drop` where all such packets are dropped. UnknownReading where a rule that they reach cannot be parsed."""
        return self._walk(packet, drop=True)

    def passes(self, packet: Packet) -> Verdict:
        """No `drop` where all such packets pass. UnknownReading as above."""
        return self._walk(packet, drop=False)

    def _walk(self, packet: Packet, drop: bool) -> Verdict:
        name, policy = ("FORWARD", self.policy) if packet.goes else ("INPUT", self.input)
        return _Walk(self, packet, drop).chain(name, 0) or Verdict(
            drop=policy in DROPS, by=f"{name} policy {policy}", chain=name, policy=True
        )


def read_filter(text: str) -> Filter | None:
    """The output of `iptables-save -t filter`; None where it is incomplete."""
    policies = dict(re.findall(r"^:(FORWARD|INPUT) (\S+)", text, re.MULTILINE))
    if len(policies) < 2 or not re.search(r"^COMMIT$", text, re.MULTILINE):
        # An iptables that has never been used prints no table, and accepts everything.
        return None if text.strip() and "*filter" in text else Filter("ACCEPT", "ACCEPT", ())
    rules = [line for line in text.splitlines() if line.startswith("-A ")]
    chains = _by_chain(rules)
    reached, todo = {"FORWARD", "INPUT"}, ["FORWARD", "INPUT"]
    while todo:
        new = set(_targets(chains.get(todo.pop(), ()))) - reached
        reached |= new
        todo += new
    return Filter(policies["FORWARD"], policies["INPUT"], tuple(rule for rule in rules if _chain_of(rule) in reached))


def _chain_of(rule: str) -> str:
    return rule.split(" ", 2)[1]


def _by_chain(rules: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for rule in rules:
        found.setdefault(_chain_of(rule), []).append(rule)
    return found


def _targets(rules: Iterable[str]) -> list[str]:
    found = (re.search(r" (?:-j|-g) (\S+)", rule) for rule in rules)
    return [match[1] for match in found if match]


@dataclass(frozen=True)
class _Match:
    """A rule that matches: `sure` where it matches all of the packets, not only some."""

    target: str
    sure: bool


class _Walk:
    """One packet's evaluation. Each chain is evaluated once, however many rules lead to it. `careful` is the verdict
    (drop is True) that is given only where it holds for all of the packets."""

    def __init__(self, table: Filter, packet: Packet, careful: bool) -> None:
        self.table = table
        self.packet = packet
        self.careful = careful
        self.found: dict[str, Verdict | None] = {}

    def chain(self, name: str, depth: int) -> Verdict | None:
        """The verdict that ends the evaluation in this chain; None where it returns to the caller, or may return."""
        if depth > DEEPEST:
            raise UnknownReading(f"iptables' chains are nested more than {DEEPEST} deep")
        if name not in self.found:
            self.found[name] = None  # for a chain that leads to itself, which iptables rejects
            self.found[name] = self.walk(name, depth)
        return self.found[name]

    def walk(self, name: str, depth: int) -> Verdict | None:
        returned = False
        for rule in self.table.chain(name).about(self.packet):
            match = self.match(rule)
            if match and match.target == "RETURN":
                if match.sure:
                    return None
                returned = True
            elif match and (found := self.end(rule.text, match, depth)):
                return None if found.drop is self.careful and returned else found
        return None

    def end(self, rule: str, match: _Match, depth: int) -> Verdict | None:
        """The careful verdict ends the evaluation only where the rule always matches; the other, where it may."""
        if match.target in (*DROPS, "ACCEPT"):
            drop = match.target != "ACCEPT"
            found: Verdict | None = Verdict(drop=drop, by=rule, chain=_chain_of(rule), policy=False)
        else:
            found = self.chain(match.target, depth + 1)
        return found if found and (match.sure or found.drop is not self.careful) else None

    def match(self, rule: _Rule) -> _Match | None:
        """None where the rule cannot match."""
        if rule.target is None:
            raise UnknownReading(f"cannot parse this rule of iptables: {rule.text[:200]}")
        sure = True
        for negated, option, value in rule.tests:
            answer = self.test(option, value)
            if answer is negated:
                return None
            sure = sure and answer is not None
        return _Match(rule.target, sure)

    def test(self, option: str, value: str) -> bool | None:
        """Whether one option matches: True always, False never, None sometimes or not known."""
        packet = self.packet
        if option in ("-i", "-o"):
            return _device(value, packet.comes if option == "-i" else packet.goes)
        if option in ("-s", "-d"):
            return _address(value, packet.source if option == "-s" else packet.destination)
        if option == "-p":
            return value in (packet.proto, f"ipv6-{packet.proto}") if packet.proto else None
        if option in ("--dport", "--dports"):
            return _port(value, packet.port) if packet.port else None
        if option in ("--ctstate", "--state") and "NEW" not in value:
            return False
        if option == "--physdev-is-bridged" and packet.bridged:
            return True
        return True if option in NEUTRAL else None


@lru_cache(maxsize=10_000)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _address(value: str, subnets: tuple[str, ...]) -> bool | None:
    network = _network(value)
    found = [_network(subnet) for subnet in subnets]
    if network is None or None in found:
        return None
    same = [own for own in found if own and own.version == network.version]
    if same and all(str(network) == str(own) or own.subnet_of(network) for own in same):  # type: ignore[arg-type]
        return True
    return None if not same or any(network.overlaps(own) for own in same) else False


def _port(value: str, port: int) -> bool | None:
    """`--dport 53`, `--dport 1024:2048`, `--dports 53,67,1024:2048`."""
    ranges = [re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?", part) for part in value.split(",")]
    if None in ranges:
        return None
    return any(int(found[1]) <= port <= int(found[2] or found[1]) for found in ranges if found)


def _rule(number: int, text: str) -> _Rule:
    try:
        words = shlex.split(text) if re.search(r"[\"'\\]", text) else text.split()
        options = _options(words[2:])
        targets = [values[0] for _, option, values in options if option in ("-j", "-g")]
    except (ValueError, IndexError):
        return _Rule(number, text, None)
    tests = ((negated, option, " ".join(values)) for negated, option, values in options if option not in ("-j", "-g"))
    return _Rule(number, text, targets[-1] if targets else "", tuple(tests))


def _options(words: Iterable[str]) -> list[tuple[bool, str, list[str]]]:
    """(negated, option, its values), in order."""
    options: list[tuple[bool, str, list[str]]] = []
    negated = False
    for word in words:
        if word == "!":
            negated = True
        elif word.startswith("-"):
            options.append((negated, word, []))
            negated = False
        elif options:
            options[-1][2].append(word)
    return options


def _published(rule: str) -> bool:
    """Docker's accept for a published port, which neighbours may reach too."""
    return rule.startswith("-A DOCKER ") and "--dport " in rule and rule.endswith("-j ACCEPT")


def _device(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern
