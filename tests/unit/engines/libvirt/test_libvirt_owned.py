"""Domains that the policy owns: what is declared of them, once that is accepted, and that all others are left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from deploys.core.change import Blocked, Context, Undoing, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.libvirt import domain_text
from deploys.engines.libvirt.controls import SUBJECT
from deploys.engines.libvirt.rules import LibvirtRules
from deploys.run.three_way import merged_lines
from facts.containers import Containers
from facts.core.reading import Block, Section, Unknown
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines.libvirt import Libvirt
from facts.userns import Range, Userns
from tests.support.hosts import beside, docker
from tests.support.userns import reading

ACCEPT = "libvirt-domains"
REFUSED = ["MKNOD", "SYS_MODULE", "SYS_RAWIO"]
# As libvirt writes it.
TEXT = """\
<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:
  virsh edit NAME
or other application using the libvirt API.
-->

<domain type='lxc'>
  <name>NAME</name>
  <uuid>3c4b5f0e-2f0c-4a7a-9a52-4f0a8a1d6c11</uuid>
  <memory unit='KiB'>65536</memory>
  <vcpu placement='static'>1</vcpu>
  <os>
    <type arch='x86_64'>exe</type>
    <init>/bin/sleep</init>
  </os>
FEATURES  <clock offset='utc'/>
  <devices>
    <console type='pty'/>
  </devices>
</domain>
"""
ALLOW = """\
  <features>
    <privnet/>
    <capabilities policy='allow'>
      <mknod state='on'/>
      <chown state='off'/>
    </capabilities>
  </features>
"""
FEATURES = {
    "none": "", "others": "  <features>\n    <privnet/>\n  </features>\n", "allow": ALLOW,
    "allow all": "  <features>\n    <capabilities policy='allow'/>\n  </features>\n",
    "deny": ALLOW.replace("allow", "deny").replace("chown", "sys_rawio").replace("'off'", "'on'"),
}  # fmt: skip


def text_of(name: str, features: str = "") -> str:
    return TEXT.replace("NAME", name).replace("FEATURES", features)


def host(files: Mapping[str, str], mapped: tuple[Range, ...] = ()) -> Survey:
    """A host with these containers of libvirt's."""
    lines = [f"{path}:{line}" for path, text in files.items() for line in text.removesuffix("\n").split("\n")]
    said = {"daemons": "libvirtd", "drivers": "lxc", "domains": "\n".join(lines), "containers": "\n".join(lines)}
    domains = Libvirt.parse(Section({name: Block(0, text) for name, text in said.items()}))
    listing = beside(docker(installed=False, running=False), also=("libvirt",))
    return Survey({Libvirt: domains, Containers: listing, Userns: reading(mapped=mapped)})


def context(survey: Survey, accept: str = ACCEPT, **rules: Any) -> Context:
    wanted = {"host_ids": [], "domain_capabilities": REFUSED, **rules}
    policy = Policy("p", {LibvirtRules: LibvirtRules(**wanted)}, accept=frozenset(accept.split()))
    return Context(survey, policy, {f.control.id: f for f in judge(SUBJECT.controls, survey, policy)})


def path_of(name: str) -> str:
    return f"/etc/libvirt/lxc/{name}.xml"


IDS, CAPABILITIES = "libvirt.host-ids", "libvirt.domain-capabilities"


@pytest.mark.parametrize("features", FEATURES)
def test_an_owned_container_is_declared_as_the_policy_wants_it_and_the_undo_takes_that_back(features: str) -> None:
    before = text_of("web", FEATURES[features])
    made = context(host({path_of("web"): before}), owned=["web"])
    (change,) = SUBJECT.plan(made)
    assert isinstance(change, WriteFile)
    assert (change.path, change.before, change.shared) == (path_of("web"), before, "lines")
    assert change.activate.endswith(f"define --validate {path_of('web')}")
    assert "for its next start: its root is the host's user 1912602624, to whom its files" in change.what
    assert set(change.controls) == {IDS, CAPABILITIES}
    after = context(host({path_of("web"): change.text}), owned=["web"])
    assert (after.findings[IDS].state, after.findings[CAPABILITIES].state) == (State.PASS, State.PASS)
    assert list(SUBJECT.plan(after)) == []
    assert merged_lines(before, change.text, change.text) == before
    later = change.text.replace("65536</memory>", "131072</memory>")
    assert merged_lines(before, change.text, later) == before.replace("65536</memory>", "131072</memory>")


def test_what_a_file_says_of_other_capabilities_stays() -> None:
    after = domain_text.without(text_of("web", ALLOW), REFUSED)
    assert re.findall(r"<(\w+) state='(\w+)'", after) == [
        ("chown", "off"), ("mknod", "off"), ("sys_module", "off"), ("sys_rawio", "off"),
    ]  # fmt: skip


def test_what_libvirt_takes_without_a_word_is_not_held() -> None:
    def reason(features: str) -> str:
        return context(host({path_of("web"): text_of("web", features)})).findings[CAPABILITIES].verdict.reason

    assert reason("").startswith("web: it gets SYS_RAWIO (/etc/libvirt/lxc/web.xml)")
    assert reason(ALLOW).startswith("web: it gets SYS_MODULE, SYS_RAWIO, MKNOD ")
    assert reason(FEATURES["deny"]).startswith("web: it gets SYS_RAWIO, MKNOD ")


def test_nothing_is_written_before_it_is_accepted() -> None:
    (change,) = SUBJECT.plan(context(host({path_of("web"): text_of("web")}), accept="", owned=["web"]))
    assert isinstance(change, Blocked)
    assert change.accepts == (ACCEPT,)


def test_others_containers_are_named_and_never_changed() -> None:
    survey = host({path_of(name): text_of(name) for name in ("web", "theirs")})
    assert list(SUBJECT.plan(context(survey, owned=None))) == []
    assert context(survey).findings[IDS].verdict.reason.startswith("theirs: root in it")
    *left, change = SUBJECT.plan(context(survey, owned=["web"]))
    assert isinstance(change, WriteFile)
    assert change.path == path_of("web")
    assert [each.controls for each in left if isinstance(each, Blocked)] == [(IDS,), (CAPABILITIES,)]


def test_each_gets_ids_that_nobody_else_has() -> None:
    taken = Range("u", 0x7200_0000, 65536, "eve", "/etc/subuid")
    survey = host({path_of(name): text_of(name) for name in ("a", "b")}, (taken,))
    changes = [change for change in SUBJECT.plan(context(survey, owned=["a", "b"])) if isinstance(change, WriteFile)]
    targets = [re.findall(r"target='([0-9]+)' count='65536'", change.text) for change in changes]
    assert targets == [[str(0x7201_0000)] * 2, [str(0x7202_0000)] * 2]


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        ("/run/libvirt/lxc/web.xml", text_of("web"), "does not last"),
        (path_of("web"), text_of("web") + "\n" * 400, "was not read as a whole"),
        (path_of("web"), text_of("web").replace("  <os>", "<os>"), "not as libvirt writes it: no single line <os>"),
    ],
)
def test_what_cannot_be_edited_for_certain_is_not(path: str, text: str, why: str) -> None:
    (change,) = SUBJECT.plan(context(host({path: text}), owned=["web"]))
    assert isinstance(change, Blocked)
    assert why in change.why


def test_without_the_ranges_of_others_none_is_given() -> None:
    survey = host({path_of("web"): text_of("web")})
    survey = Survey({Libvirt: survey[Libvirt], Containers: survey[Containers], Userns: Unknown("no")})
    (change,) = SUBJECT.plan(context(survey, owned=["web"]))
    assert isinstance(change, Blocked)


def test_a_rollback_leaves_a_domain_its_ids_unless_that_is_accepted() -> None:
    def entry(control: str) -> JournalEntry:
        return JournalEntry(control, "libvirt", "declare web", path_of("web"), True, False, controls=(control,))

    entries = (entry(IDS), entry(CAPABILITIES))
    for accept, staying in (("", [IDS]), (ACCEPT, [])):
        undoing = Undoing(context(host({}), accept=accept), entries, {})
        assert [remark.entry for remark in SUBJECT.undoing(undoing) if remark.stays] == staying


def test_a_capability_that_libvirt_takes_from_none_is_refused_in_the_policy() -> None:
    with pytest.raises(ValueError, match="libvirt takes BPF from no container"):
        LibvirtRules(domain_capabilities=["BPF"])
