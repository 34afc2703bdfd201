"""Domains that the policy owns (libvirt.owned): harden declares what the policy wants of them, for their next start."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from deploys.core.change import Blocked, Change, Context, Obstacle, Remark, Undoing, WriteFile, by_hand, mending
from deploys.engines.libvirt import domain_text
from deploys.engines.libvirt.domains import CAPABILITIES, IDS, Rule, held
from deploys.engines.libvirt.rules import LibvirtRules
from deploys.userns.ranges import LIBVIRT, SIZE, NoRange, plan_range
from facts.core.reading import UnknownReading
from facts.engines.libvirt.domains import Domain
from facts.userns import Userns

DOMAINS = "libvirt-domains"  # accepting it: owned domains get other ids and fewer capabilities when they start next
RULES = (IDS, CAPABILITIES)
# What libvirt does not know is refused by its own schema.
VALIDATE = "! command -v virt-xml-validate >/dev/null || virt-xml-validate {} domain >/dev/null"
DEFINE = "virsh -q -c lxc:/// define --validate"


def plan(context: Context) -> Iterator[Change]:
    """A domain's file is written once, for all rules that it is against."""
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
    what, text = f"declare {domain.name} as the policy wants it, for its next start", domain.text
    if not text:
        why = f"{domain.file} does not last (virsh create), or was not read as a whole"
        return Blocked("libvirt", what, why=why, by_hand="declare it with virsh define")
    done: list[str] = []
    try:
        if IDS in rules:
            start = plan_range(context.survey[Userns], SIZE * len(mapped), "", LIBVIRT) + SIZE * mapped.index(domain)
            text = domain_text.with_ids(text, start)
            done.append(f"its root is the host's user {start}, to whom its files have to be given (chown) before that")
        if CAPABILITIES in rules:
            names = held(domain, context.policy)
            text = domain_text.without(text, names)
            done.append(f"it does not get {', '.join(names)}")
    except (NoRange, UnknownReading, ValueError) as error:
        return Blocked("libvirt", what, why=str(error))
    what = f"{what}: {'; '.join(done)}"
    if not context.accepts(DOMAINS):
        why = "what is in it may need these when it starts next, and files that are not given to its ids are nobody's"
        return Blocked("libvirt", what, why=why, accepts=(DOMAINS,))
    return WriteFile(
        "libvirt", what, path=domain.file, text=text, before=domain.text, mode="", owner="", validate=VALIDATE,
        activate=f"{DEFINE} {shlex.quote(domain.file)}", shared="lines",
    )  # fmt: skip


def remarks(undoing: Undoing) -> Iterator[Remark]:
    """Files may have been given to a domain's ids meanwhile."""
    for entry in () if undoing.context.accepts(DOMAINS) else undoing.entries:
        if entry.subject == "libvirt" and IDS.id in entry.controls:
            why = "its files may belong to these ids: without them they are nobody's when it starts next"
            yield Remark(entry.id, stays=Obstacle(why=why, accepts=(DOMAINS,)))
