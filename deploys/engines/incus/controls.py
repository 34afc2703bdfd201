"""Incus and LXD: what new instances get, which differ, and who may speak to the API, which is as good as root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploys.core.change import Change, Context, Subject, by_hand, mending
from deploys.core.control import Control, Severity, Verdict, failed, naming_key, only_where, passed, some, undeclared
from deploys.core.policy import Policy
from deploys.engines.defaults import Defaults
from deploys.engines.incus import instances
from deploys.engines.incus.defaults import ACCEPT, ROWS, write
from deploys.engines.incus.instances import absent
from deploys.engines.incus.rules import IncusRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.incus.incus import Certificate, Incus

LOOPBACK = re.compile(r"(127(\.[0-9]{1,3}){3}|\[::1\]|localhost)(:[0-9]{1,5})?$|::1$")

DEFAULTS = Defaults(
    subject="incus",
    shown="Incus or LXD",
    fact=Incus,
    rules=IncusRules,
    installed=lambda incus: bool(incus.daemons),
    rows=ROWS,
    files=(),
    packages=("incus*", "lxd*"),
    write=write,
)


@only_where(absent, undeclared(IncusRules, "incus.address"))
@naming_key("incus.address")
def _address(survey: Survey, policy: Policy) -> Verdict:
    addresses = [(each.name, known(each.address)) for each in survey[Incus].daemons]
    found = [f"{name} listens on {at}" for name, at in addresses if at and not LOOPBACK.match(at)]
    if found:
        return failed(f"{some(found)} for other machines", declared="none", disk=found, live=found)
    return passed("the API listens for no other machine", declared="none", disk=[], live=[])


@only_where(absent, undeclared(IncusRules, "incus.certificates"))
def _certificates(survey: Survey, policy: Policy) -> Verdict:
    trusted = policy[IncusRules].certificates or []
    clients = [(each, client) for each in survey[Incus].daemons for client in known(each.certificates)]
    others = [f"{_shown(client)} of {each.name}" for each, client in clients
              if client.kind != "server" and not {client.name, client.fingerprint} & set(trusted)]  # fmt: skip
    if others:
        wants = f"the policy trusts {some(trusted) or 'none'} (incus.certificates)"
        return failed(f"the API trusts {some(others)}; {wants}", declared=trusted, disk=others)
    return passed("the API trusts no other clients", declared=trusted, disk=[])


def _shown(client: Certificate) -> str:
    kept = "" if client.projects is None else f", which is kept to {some(client.projects) or 'no project'}"
    kept += ", which may read metrics only" if client.kind == "metrics" else ""
    return f"the client {client.name or 'without a name'} ({client.fingerprint}{kept})"


@only_where(absent, undeclared(IncusRules, "incus.trusted_users"))
def _users(survey: Survey, policy: Policy) -> Verdict:
    trusted, groups = policy[IncusRules].trusted_users or [], survey[Incus].members
    others = [f"{user} ({group})" for group, users in groups.items() for user in users if user not in trusted]
    if others:
        wants = f"the policy trusts {some(trusted) or 'nobody'} (incus.trusted_users)"
        return failed(f"{some(others)} may start instances, by a group; {wants}", declared=trusted, disk=others)
    return passed("only trusted users are in the groups of Incus and LXD", declared=trusted, disk=[])


def plan(context: Context) -> Iterator[Change]:
    yield from DEFAULTS.plan(context)
    for name in context.which(*(control.id for control in OTHERS)):
        yield from mending([name], [by_hand(context.findings[name])])


OTHERS = (
    *instances.CONTROLS,
    Control(
        id="incus.address",
        title="The API of Incus and LXD listens for no other machine",
        severity=Severity.HIGH,
        why="Whoever speaks to the API starts containers that are root on the host.",
        check=_address,
        references=("NIST-800-190-4.5.1",),
        by_hand="take it from the network with incus config unset core.https_address (LXD: lxc config unset)",
    ),
    Control(
        id="incus.certificates",
        title="The API of Incus and LXD trusts only clients that the policy names",
        severity=Severity.MEDIUM,
        why="A client's key is as good as root on the host, wherever a copy of it lies.",
        check=_certificates,
        references=("NIST-800-190-4.5.1",),
        by_hand="remove it with incus config trust remove FINGERPRINT (LXD: lxc config trust remove), or name it in "
        "incus.certificates",
    ),
    Control(
        id="incus.api-users",
        title="Only trusted users are in the groups of Incus and LXD",
        severity=Severity.MEDIUM,
        why="Members of incus-admin and lxd start containers that are root on the host, without a password; those of "
        "incus get a project of their own.",
        check=_users,
        references=("NIST-800-190-4.5.1",),
        files=("/etc/group",),
        by_hand="take these users from the group (gpasswd -d USER GROUP), or name them in incus.trusted_users",
    ),
)
CONTROLS = (*DEFAULTS.controls(), *OTHERS)

SUBJECT = Subject(
    name="incus",
    rules=IncusRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Incus,),
    accepts=(ACCEPT,),
    unproved="a profile says what instances get; what running ones really have is attacked as containers.*",
    installed=lambda survey: bool(survey[Incus].daemons),
)
