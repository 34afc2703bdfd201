"""What iptables does with a new connection that the host forwards or is asked for: FORWARD and INPUT, walked.

Only rules that `iptables-save -t filter` prints and that can be reached from these two are kept. The walk is careful in
one direction: `verdict` says `drop` only where nothing before the drop could let any such packet through, and `passes`
says `pass` only where nothing before the accept could stop one.
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
    """`drop`, or not; by which rule or policy. What it does not do to all of the packets, it does to some."""

    drop: bool
    by: str  # the rule's text, or "FORWARD policy DROP"
    chain: str  # of that rule or policy
    policy: bool  # no rule decided: the chain's policy did


@dataclass(frozen=True)
class Packet:
    """The first of a connection, as far as it is known."""

    comes: str  # the device that it comes in by
    goes: str  # and leaves by; "": it is for the host itself
    source: tuple[str, ...] = ()  # subnets; (): anywhere
    destination: tuple[str, ...] = ()
    proto: str = ""  # tcp, udp, icmp; "": any
    port: int | None = None  # where it goes to; None: any
    bridged: bool = False  # it stays within a bridge, and is here by br_netfilter; else that is not known


@dataclass(frozen=True)
class _Rule:
    """`target`: None where the rule cannot be read. `tests`: (negated, option, its values)."""

    number: int
    text: str
    target: str | None
    tests: tuple[tuple[bool, str, str], ...] = ()

    @property
    def device(self) -> tuple[str, str] | None:
        """The one device that it is about at most, as ("-i", "docker0"); None where it may be about more."""
        named = [(option, value) for negated, option, value in self.tests
                 if option in ("-i", "-o") and not negated and not value.endswith("+")]  # fmt: skip
        return named[0] if named else None


class _Chain:
    """A chain's rules by device: engines write some for each of their networks, and a packet meets those of its own."""

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self.of: dict[tuple[str, str] | None, list[_Rule]] = {}
        for rule in rules:
            self.of.setdefault(rule.device, []).append(rule)

    def about(self, packet: Packet) -> Iterator[_Rule]:
        """In order, all those that may match."""
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
        """Read when a packet first comes to it."""
        if name not in self._read:
            rules = enumerate(rule for rule in self._by_chain.get(name, ()) if not _published(rule))
            self._read[name] = _Chain(_rule(number, text) for number, text in rules)
        return self._read[name]

    def between_ports(self, bridge: str, subnets: tuple[str, ...]) -> Verdict:
        """What happens to a new connection that comes in by `bridge` and goes out by it."""
        return self.verdict(Packet(bridge, bridge, subnets, subnets))

    def verdict(self, packet: Packet) -> Verdict:
        """`drop` where all such packets are dropped. UnknownReading where a rule that they come to cannot be read."""
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
    """`iptables-save -t filter`, None where it is not whole."""
    policies = dict(re.findall(r"^:(FORWARD|INPUT) (\S+)", text, re.MULTILINE))
    if len(policies) < 2 or not re.search(r"^COMMIT$", text, re.MULTILINE):
        # An iptables that has never been used has no table to print, and lets everything pass.
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
    """What a rule does with our packets: `sure` where it matches all of them, not merely some."""

    target: str
    sure: bool


class _Walk:
    """One packet's way. What becomes of it in a chain is found once, however many rules lead there. `careful` of one of
    the two, drop (True) or pass: it is said only where it is so for all of the packets."""

    def __init__(self, table: Filter, packet: Packet, careful: bool) -> None:
        self.table = table
        self.packet = packet
        self.careful = careful
        self.found: dict[str, Verdict | None] = {}

    def chain(self, name: str, depth: int) -> Verdict | None:
        """The verdict that ends the walk in this chain; None where it comes back to the caller, or may do so."""
        if depth > DEEPEST:
            raise UnknownReading(f"iptables' chains lead to each other more than {DEEPEST} deep")
        if name not in self.found:
            self.found[name] = None  # where it leads to itself, which iptables makes of no chain
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
        """What it is careful of ends the walk only where the rule matches always; the other, where it may match."""
        if match.target in (*DROPS, "ACCEPT"):
            drop = match.target != "ACCEPT"
            found: Verdict | None = Verdict(drop=drop, by=rule, chain=_chain_of(rule), policy=False)
        else:
            found = self.chain(match.target, depth + 1)
        return found if found and (match.sure or found.drop is not self.careful) else None

    def match(self, rule: _Rule) -> _Match | None:
        """None where the rule cannot match."""
        if rule.target is None:
            raise UnknownReading(f"what this rule of iptables does cannot be told: {rule.text[:200]}")
        sure = True
        for negated, option, value in rule.tests:
            answer = self.test(option, value)
            if answer is negated:
                return None
            sure = sure and answer is not None
        return _Match(rule.target, sure)

    def test(self, option: str, value: str) -> bool | None:
        """Whether one option matches: True always, False never, None sometimes (or we do not know)."""
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
    """Docker's own accept for one published port: published is published, to siblings too."""
    return rule.startswith("-A DOCKER ") and "--dport " in rule and rule.endswith("-j ACCEPT")


def _device(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern
