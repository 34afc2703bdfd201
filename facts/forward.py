"""What iptables does with a new connection that the host forwards or is asked for: FORWARD and INPUT, walked.

Only rules that `iptables-save -t filter` prints and that can be reached from these two are kept. The walk is careful in
one direction: `verdict` says `drop` only where nothing before the drop could let any such packet through, and `passes`
says `pass` only where nothing before the accept could stop one.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass

from facts.reading import Jsonable

DROPS = ("DROP", "REJECT")
# Options that do not narrow what a rule matches.
NEUTRAL = ("-m", "--comment", "--reject-with", "--log-prefix", "--log-level")


@dataclass(frozen=True)
class Verdict(Jsonable):
    """`drop`, or not; by which rule (or policy). What it does not do to all of the packets, it does to some."""

    drop: bool
    by: str


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
class Filter(Jsonable):
    """The filter table as far as FORWARD and INPUT reach: their policies, and rules in order."""

    policy: str  # of FORWARD
    input: str  # the policy of INPUT
    rules: tuple[str, ...]  # "-A CHAIN …"

    def chains(self) -> frozenset[str]:
        return frozenset(rule.split(" ", 2)[1] for rule in self.rules) | frozenset(_targets(self.rules))

    def between_ports(self, bridge: str, subnets: tuple[str, ...]) -> Verdict:
        """What happens to a new connection that comes in by `bridge` and goes out by it."""
        return self.verdict(Packet(bridge, bridge, subnets, subnets))

    def verdict(self, packet: Packet) -> Verdict:
        """`drop` where all such packets are dropped."""
        return self._walk(packet, drop=True)

    def passes(self, packet: Packet) -> Verdict:
        """No `drop` where all such packets pass."""
        return self._walk(packet, drop=False)

    def _walk(self, packet: Packet, drop: bool) -> Verdict:
        name, policy = ("FORWARD", self.policy) if packet.goes else ("INPUT", self.input)
        return _Walk(self.rules, packet, drop).chain(name, 0) or Verdict(policy in DROPS, f"{name} policy {policy}")


def read_filter(text: str) -> Filter | None:
    """`iptables-save -t filter`, None where it is not whole."""
    policies = dict(re.findall(r"^:(FORWARD|INPUT) (\S+)", text, re.MULTILINE))
    if len(policies) < 2 or not re.search(r"^COMMIT$", text, re.MULTILINE):
        # An iptables that has never been used has no table to print, and lets everything pass.
        return None if text.strip() and "*filter" in text else Filter("ACCEPT", "ACCEPT", ())
    rules = [line for line in text.splitlines() if line.startswith("-A ")]
    reached, todo = {"FORWARD", "INPUT"}, ["FORWARD", "INPUT"]
    while todo:
        name = todo.pop()
        for target in _targets(tuple(rule for rule in rules if rule.startswith(f"-A {name} "))):
            if target not in reached:
                reached.add(target)
                todo.append(target)
    return Filter(
        policies["FORWARD"], policies["INPUT"], tuple(rule for rule in rules if rule.split(" ", 2)[1] in reached)
    )


def _targets(rules: tuple[str, ...]) -> list[str]:
    found = (re.search(r" (?:-j|-g) (\S+)", rule) for rule in rules)
    return [match[1] for match in found if match]


@dataclass(frozen=True)
class _Match:
    """What a rule does with our packets: `sure` where it matches all of them, not merely some."""

    target: str
    sure: bool


class _Walk:
    """`careful` of one of the two, drop (True) or pass: it is said only where it is so for all of the packets."""

    def __init__(self, rules: tuple[str, ...], packet: Packet, careful: bool) -> None:
        self.rules = rules
        self.packet = packet
        self.careful = careful

    def chain(self, name: str, depth: int) -> Verdict | None:
        """The verdict that ends the walk in this chain; None where it comes back to the caller, or may do so."""
        returned = False
        for rule in self.rules if depth < 20 else ():
            if not rule.startswith(f"-A {name} ") or _published(rule):
                continue
            match = self.match(rule)
            if match and match.target == "RETURN":
                if match.sure:
                    return None
                returned = True
            elif match and (found := self.end(rule, match, depth)):
                return None if found.drop is self.careful and returned else found
        return None

    def end(self, rule: str, match: _Match, depth: int) -> Verdict | None:
        """What it is careful of ends the walk only where the rule matches always; the other, where it may match."""
        if match.target in (*DROPS, "ACCEPT"):
            found: Verdict | None = Verdict(match.target != "ACCEPT", rule)
        else:
            found = self.chain(match.target, depth + 1)
        return found if found and (match.sure or found.drop is not self.careful) else None

    def match(self, rule: str) -> _Match | None:
        """None where the rule cannot match."""
        target, sure = "", True
        for negated, option, values in _options(rule):
            if option in ("-j", "-g"):
                target = values[0]
                continue
            answer = self.test(option, " ".join(values))
            if answer is negated:
                return None
            sure = sure and answer is not None
        return _Match(target, sure)

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


def _address(value: str, subnets: tuple[str, ...]) -> bool | None:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None
    found = [ipaddress.ip_network(subnet, strict=False) for subnet in subnets]
    same = [own for own in found if own.version == network.version]
    if same and all(str(network) == str(own) or own.subnet_of(network) for own in same):  # type: ignore[arg-type]
        return True
    return None if not same or any(network.overlaps(own) for own in same) else False


def _port(value: str, port: int) -> bool:
    """`--dport 53`, `--dport 1024:2048`, `--dports 53,67,1024:2048`."""
    ranges = (part.partition(":") for part in value.split(","))
    return any(int(low) <= port <= int(high or low) for low, _, high in ranges)


def _options(rule: str) -> list[tuple[bool, str, list[str]]]:
    """(negated, option, its values), in order."""
    options: list[tuple[bool, str, list[str]]] = []
    negated = False
    for word in shlex.split(rule)[2:]:
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
