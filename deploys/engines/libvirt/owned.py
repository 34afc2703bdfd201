"""Domains that the policy owns (libvirt.owned): harden declares what the policy wants of them, for their next start."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from deploys.core import templates
from deploys.core.change import (
    Blocked,
    Change,
    Command,
    Context,
    Obstacle,
    Remark,
    Undoing,
    WriteFile,
    by_hand,
    mending,
)
from deploys.engines.libvirt import domain_text
from deploys.engines.libvirt.domains import CAPABILITIES, FILTERED, IDS, Rule, held, network_of, open_interfaces
from deploys.engines.libvirt.rules import LibvirtRules
from deploys.userns.ranges import LIBVIRT, SIZE, NoRange, plan_range
from facts.core.reading import UnknownReading
from facts.engines.libvirt.domains import Domain
from facts.engines.libvirt.interfaces import stops_spoofing
from facts.engines.libvirt.libvirt import Libvirt
from facts.userns import Userns

DOMAINS = "libvirt-domains"  # accepting it: owned domains may do less from their next start on
RULES = (IDS, CAPABILITIES, FILTERED)
FILTER = "clean-traffic"
# What libvirt does not know is refused by its own schema. virt-xml-validate is a script in older releases, which calls
# xmllint, a package that Debian's libvirt-clients only recommends; DEFINE validates anyway.
VALIDATE = (
    "! p=$(command -v virt-xml-validate) || ( head -c 2 \"$p\" | grep -q '#!' && ! command -v xmllint >/dev/null )"
    " || virt-xml-validate {} domain >/dev/null"
)
DEFINE = "virsh -q -c lxc:/// define --validate"


class NotSo(Exception):
    """Why a domain cannot be declared so."""


def plan(context: Context) -> Iterator[Change]:
    """A domain is declared anew once, for all rules that it is against."""
    owned = context.policy[LibvirtRules].owned or []
    against: dict[Rule, list[Domain]] = {}
    for rule in RULES:
        if context.failing(rule.id):
            against[rule] = [domain for domain, _ in rule.found(context.survey, context.policy)]
            if 0 < sum(domain.name in owned for domain in against[rule]) < len(against[rule]):
                yield from mending([rule.id], [by_hand(context.findings[rule.id])])
    ours = dict.fromkeys(domain for found in against.values() for domain in found if domain.name in owned)
    mapped = [domain for domain in ours if domain in against.get(IDS, ())]
    for domain in ours:
        rules = [rule for rule in against if domain in against[rule]]
        yield from mending([rule.id for rule in rules], [_declared(context, domain, rules, mapped)])


def _declared(context: Context, domain: Domain, rules: Sequence[Rule], mapped: Sequence[Domain]) -> Change:
    """`mapped`: the domains that get ids of their own, each 65,536 of one range."""
    what = f"declare {domain.name} as the policy wants it, for its next start"
    try:
        macs = _to_filter(context, domain) if FILTERED in rules else []
        if domain.driver == "qemu":
            change: Change = _filtered(domain, macs, what)
        else:
            change = _written(context, domain, rules, mapped, macs, what)
    except (NotSo, NoRange, UnknownReading, ValueError) as error:
        return Blocked("libvirt", what, why=str(error))
    if context.accepts(DOMAINS):
        return change
    why = (
        "what is in it may need what it loses when it starts next, and files that are not given to its ids are nobody's"
    )
    return Blocked("libvirt", change.what, why=why, accepts=(DOMAINS,))


def _to_filter(context: Context, domain: Domain) -> list[str]:
    """By their addresses: the interfaces that get a filter."""
    found = [each for each, _ in open_interfaces(domain, context.survey, context.policy)]
    if any(each.filter for each in found):
        raise NotSo("it has a filter of its owner's, which stays as it is")
    if any(each.kind == "direct" or not each.mac for each in found):
        raise NotSo("libvirt filters no interface of this kind (direct)")
    for each in found:
        network = network_of(each, context.survey[Libvirt])
        if network.virtualport:
            raise NotSo(f"no filter of libvirt's holds on {each.source}, which is a switch of its own (virtualport)")
        if not network.bridge:
            raise NotSo(f"libvirt filters only what is on a bridge, and the network {each.source} has none")
    if not stops_spoofing(FILTER, context.survey[Libvirt].filters):
        raise NotSo(f"libvirt has no filter {FILTER} here, which the package libvirt-daemon-config-nwfilter brings")
    return [each.mac for each in found]


def _filters(macs: Sequence[str]) -> str:
    return f"{' and '.join(macs)} are filtered by {FILTER}: no other addresses than their own, and no IPv6"


def _filtered(domain: Domain, macs: Sequence[str], what: str) -> Command:
    words = f"NAME={shlex.quote(domain.name)} MACS={shlex.quote(' '.join(macs))} FILTER={FILTER}"
    script = templates.text("engines/libvirt/filter.sh")
    return Command("libvirt", f"{what}: {_filters(macs)}", script=f"{words} TAKE=0\n{script}",
                   undo=f"{words} TAKE=1\n{script}")  # fmt: skip


def _written(
    context: Context, domain: Domain, rules: Sequence[Rule], mapped: Sequence[Domain], macs: Sequence[str], what: str
) -> WriteFile:
    text = domain.text
    if not text:
        raise NotSo(
            f"{domain.file} does not last (virsh create), or was not read as a whole: declare it (virsh define)"
        )
    done: list[str] = []
    if IDS in rules:
        start = plan_range(context.survey[Userns], SIZE * len(mapped), "", LIBVIRT) + SIZE * mapped.index(domain)
        text = domain_text.with_ids(text, start)
        done.append(f"its root is the host's user {start}, to whom its files have to be given (chown) before that")
    if CAPABILITIES in rules:
        names = held(domain, context.policy)
        text = domain_text.without(text, names)
        done.append(f"it does not get {', '.join(names)}")
    if macs:
        text = domain_text.with_filters(text, macs, FILTER)
        done.append(_filters(macs))
    return WriteFile(
        "libvirt", f"{what}: {'; '.join(done)}", path=domain.file, text=text, before=domain.text, mode="", owner="",
        validate=VALIDATE, activate=f"{DEFINE} {shlex.quote(domain.file)}", shared="lines",
    )  # fmt: skip


def remarks(undoing: Undoing) -> Iterator[Remark]:
    """Files may have been given to a domain's ids meanwhile."""
    for entry in () if undoing.context.accepts(DOMAINS) else undoing.entries:
        if entry.subject == "libvirt" and IDS.id in entry.controls:
            why = "its files may belong to these ids: without them they are nobody's when it starts next"
            yield Remark(entry.id, stays=Obstacle(why=why, accepts=(DOMAINS,)))
