"""Domains that the policy owns: what is declared of them, once that is accepted, and that all others are left alone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Blocked, Command, Context, Undoing, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.libvirt import domain_text
from deploys.engines.libvirt.controls import SUBJECT
from deploys.engines.libvirt.owned import VALIDATE
from deploys.engines.libvirt.rules import LibvirtRules
from deploys.run.three_way import merged_lines
from facts.containers import Containers
from facts.core.reading import Block, Section, Unknown
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines.libvirt import Libvirt
from facts.networks.bridges import RULES_FILE, Bridges, BridgesReading
from facts.userns import Range, Userns
from tests.support import bridges
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
INTERFACES    <console type='pty'/>
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


NETWORKS = """\
/etc/libvirt/qemu/networks/default.xml:  <name>default</name>
/etc/libvirt/qemu/networks/default.xml:  <bridge name='virbr0' stp='on' delay='0'/>
/etc/libvirt/qemu/networks/pool.xml:  <name>pool</name>
/etc/libvirt/qemu/networks/ovs.xml:  <name>ovs</name>
/etc/libvirt/qemu/networks/ovs.xml:  <bridge name='ovsbr0'/>
/etc/libvirt/qemu/networks/ovs.xml:  <virtualport type='openvswitch'/>
"""
FILTERS = """\
/etc/libvirt/nwfilter/clean-traffic.xml:<filter name='clean-traffic' chain='root'>
/etc/libvirt/nwfilter/clean-traffic.xml:  <filterref filter='no-mac-spoofing'/>
/etc/libvirt/nwfilter/clean-traffic.xml:  <filterref filter='ip'/>
/etc/libvirt/nwfilter/ip.xml:<filter name='ip'>
/etc/libvirt/nwfilter/ip.xml:  <filterref filter='no-ip-spoofing'/>
/etc/libvirt/nwfilter/ip.xml:  <filterref filter='no-arp-spoofing'/>
/etc/libvirt/nwfilter/a.xml:<filter name='no-mac-spoofing'>
/etc/libvirt/nwfilter/b.xml:<filter name='no-ip-spoofing'>
/etc/libvirt/nwfilter/c.xml:<filter name='no-arp-spoofing'>
/etc/libvirt/nwfilter/own.xml:<filter name='own'>
/etc/libvirt/nwfilter/own.xml:  <filterref filter='no-mac-spoofing'/>
"""
MAC = "52:54:00:00:00:01"
INTERFACE = f"""\
    <interface type='network'>
      <mac address='{MAC}'/>
      <source network='default'/>
    </interface>
"""
ON_BRIDGE = INTERFACE.replace("'network'", "'bridge'").replace("network=", "bridge=").replace("default", "br0")
DIRECT = INTERFACE.replace("'network'", "'direct'").replace("network='default'", "dev='eth0' mode='bridge'")
POOL, SWITCH = (INTERFACE.replace("default", name) for name in ("pool", "ovs"))
PORT = ON_BRIDGE.replace("    </i", "      <virtualport type='openvswitch'>\n      </virtualport>\n    </i")
USER = INTERFACE.replace(":01", ":03").replace("'network'", "'user'").replace("      <source network='default'/>\n", "")


def with_filter(name: str, interface: str = INTERFACE) -> str:
    return interface.replace("    </interface>", f"      <filterref filter='{name}'/>\n    </interface>")


def text_of(name: str, features: str = "", interfaces: str = "") -> str:
    return TEXT.replace("NAME", name).replace("FEATURES", features).replace("INTERFACES", interfaces)


ISOLATED = '  meta ibrname "virbr*" drop'


def tables(disk: str = "", live: str = "") -> BridgesReading:
    """What hullproof's own table has."""
    files = {**bridges.reading().files, RULES_FILE: disk}
    return bridges.reading(files=files, listed=tuple(live.split("\n")))


def host(
    files: Mapping[str, str], mapped: tuple[Range, ...] = (), *, filters: bool = True, table: Any = None
) -> Survey:
    """A host with these containers of libvirt's."""
    lines = [f"{path}:{line}" for path, text in files.items() for line in text.removesuffix("\n").split("\n")]
    said = {"daemons": "libvirtd", "drivers": "lxc", "domains": "\n".join(lines), "containers": "\n".join(lines)}
    said["networks"] = f"{NETWORKS}{FILTERS if filters else ''}"
    domains = Libvirt.parse(Section({name: Block(0, text) for name, text in said.items()}))
    listing = beside(docker(installed=False, running=False), also=("libvirt",))
    return Survey({Libvirt: domains, Containers: listing, Userns: reading(mapped=mapped), Bridges: table or tables()})


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


# ------------------------------------------------------------------------------------------------------ their networks
OPEN: dict[str, tuple[str, Any, State, str]] = {
    "none": ("", tables(), State.PASS, ""),
    "on a network": (INTERFACE, tables(), State.FAIL, "web: its interface on default has no filter (/etc"),
    "on a bridge of the host's": (ON_BRIDGE, tables(), State.FAIL, "its interface on br0 has no filter"),
    "by macvtap": (DIRECT, tables(), State.FAIL, "its interface on eth0 has no filter"),
    "without neighbours": (USER, tables(), State.PASS, ""),
    "filtered": (with_filter("clean-traffic"), tables(), State.PASS, ""),
    "filtered on a switch": (with_filter("clean-traffic", SWITCH), tables(), State.FAIL, "which does not hold on its"),
    "filtered on its port": (with_filter("clean-traffic", PORT), tables(), State.FAIL, "which does not hold on its"),
    "filtered by less": (with_filter("own"), tables(), State.FAIL, "has the filter own, which lets it"),
    "filtered by nothing": (with_filter("gone"), tables(), State.FAIL, "has the filter gone, which lets it"),
    "two, one of them open": (with_filter("clean-traffic") + ON_BRIDGE, tables(), State.FAIL, "interface on br0"),
    "isolated by hullproof's table": (INTERFACE, tables(ISOLATED, ISOLATED), State.PASS, ""),
    "isolated until a reboot": (INTERFACE, tables(live=ISOLATED), State.FAIL, "on default has no filter"),
    "isolated from a reboot on": (INTERFACE, tables(ISOLATED), State.FAIL, "on default has no filter"),
    "no table known": (INTERFACE, replace(tables(), listed=Unknown("no nft")), State.UNKNOWN, "no nft"),
    "isolated, but elsewhere": (ON_BRIDGE, tables(ISOLATED, ISOLATED), State.FAIL, "on br0 has no filter"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPEN)
def test_who_may_take_a_neighbours_address_is_named(case: str) -> None:
    interfaces, table, state, words = OPEN[case]
    survey = host({path_of("web"): text_of("web", interfaces=interfaces)}, table=table)
    finding = context(survey, unfiltered=[]).findings["libvirt.filtered"]
    assert (finding.state, words in finding.verdict.reason) == (state, True), finding.verdict.reason
    named = context(survey, unfiltered=["web"]).findings["libvirt.filtered"]
    assert named.state is State.PASS


FREE: dict[str, Any] = {"host_ids": None, "domain_capabilities": None, "unfiltered": [], "owned": ["web"]}


def test_interfaces_of_an_owned_container_are_filtered() -> None:
    before = text_of("web", interfaces=INTERFACE + USER)
    (change,) = SUBJECT.plan(context(host({path_of("web"): before}), **FREE))
    assert isinstance(change, WriteFile)
    assert change.text == before.replace(INTERFACE, with_filter("clean-traffic"))
    assert f"{MAC} are filtered by clean-traffic" in change.what
    assert list(SUBJECT.plan(context(host({path_of("web"): change.text}), **FREE))) == []


@pytest.mark.parametrize(
    ("interfaces", "filters", "why"),
    [
        (INTERFACE, False, "libvirt has no filter clean-traffic here"),
        (with_filter("own"), True, "it has a filter of its owner's"),
        (DIRECT, True, "libvirt filters no interface of this kind"),
        (POOL, True, "libvirt filters only what is on a bridge, and the network pool has none"),
        (INTERFACE.replace("default", "gone"), True, "the network gone has none"),
        (SWITCH, True, "no filter of libvirt's holds on ovs, which is a switch of its own"),
        (PORT, True, "no filter of libvirt's holds on br0"),
    ],
)
def test_interfaces_that_cannot_be_filtered_are_left(interfaces: str, filters: bool, why: str) -> None:
    survey = host({path_of("web"): text_of("web", interfaces=interfaces)}, filters=filters)
    (change,) = SUBJECT.plan(context(survey, **FREE))
    assert isinstance(change, Blocked)
    assert why in change.why


VIRSH = """\
#!/bin/sh
shift 3
case $1 in
list) echo "$GUEST" ;;
dumpxml) cat "$AT/now" ;;
define) cat >"$AT/new" && mv "$AT/new" "$AT/now" ;;
esac
"""


def test_a_guests_interfaces_are_filtered_by_virsh_and_the_undo_leaves_what_others_declared(tmp_path: Path) -> None:
    guest = text_of("web", interfaces=INTERFACE + with_filter("clean-traffic", ON_BRIDGE.replace(":01", ":02")))
    path = path_of("web").replace("lxc", "qemu")
    (change,) = SUBJECT.plan(context(host({path: guest}), **FREE))
    assert isinstance(change, Command)
    (tmp_path / "virsh").write_text(VIRSH)
    (tmp_path / "virsh").chmod(0o755)
    (tmp_path / "now").write_text(guest)

    def run(script: str, name: str = "web") -> str:
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "AT": str(tmp_path), "GUEST": name}
        subprocess.run(["sh", "-c", script], env=env, check=True)
        return (tmp_path / "now").read_text()

    done = guest.replace(INTERFACE, with_filter("clean-traffic"))
    assert run(change.script) == done
    assert run(change.script) == done
    assert run(change.undo, name="other") == done, "it is gone"
    (tmp_path / "now").write_text(done.replace("65536</memory>", "131072</memory>"))
    assert run(change.undo) == guest.replace("65536</memory>", "131072</memory>")
    with pytest.raises(subprocess.CalledProcessError):
        run(change.script, name="other")


@pytest.mark.parametrize(
    ("tools", "allowed"),
    [
        ({}, True),
        ({"virt-xml-validate": "#!/bin/sh\nxmllint --noout"}, True),  # libvirt 9 without libxml2-utils
        ({"virt-xml-validate": "#!/bin/sh\nxmllint --noout", "xmllint": "#!/bin/sh\nexit 3"}, False),
        ({"virt-xml-validate": "exit 1"}, False),  # as a program is, of which the script's mark is not the first word
    ],
)
def test_a_validator_that_cannot_run_refuses_nothing(tmp_path: Path, tools: dict[str, str], allowed: bool) -> None:
    for name, text in tools.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for name in ("sh", "head", "grep"):
        (tmp_path / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    script = VALIDATE.replace("{}", "domain.xml")
    assert (subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(tmp_path)}).returncode == 0) is allowed
