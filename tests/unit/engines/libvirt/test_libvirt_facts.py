"""libvirt's files and daemons as they are read: what is of another form than expected costs no more than that part."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.engines.libvirt import Libvirt
from facts.engines.libvirt.conf import Entry
from facts.engines.libvirt.interfaces import Network
from facts.engines.libvirt.libvirt import Socket, Unit

CONF = 'security_driver = [ "selinux", "apparmor" ]\nsecurity_default_confined = 1\n'


def read(**blocks: str | Block) -> Any:
    """What the fact makes of a host with libvirtd, as the survey does: checked for its shape."""
    said: dict[str, str | Block] = {
        "daemons": "libvirtd",
        "drivers": "lxc qemu lxc",
        "lsm": "lockdown,apparmor",
        **blocks,
    }
    texts = {"/etc/libvirt/lxc.conf": CONF, "/etc/libvirt/qemu.conf": "", "/etc/libvirt/libvirtd.conf": ""}
    made = {name: text if isinstance(text, Block) else Block(0, text) for name, text in (texts | said).items()}
    return Libvirt.read(Section(made))


def test_a_file_is_read_with_the_lines_of_its_keys() -> None:
    reading = read()
    assert reading.files["lxc"].keys["security_driver"] == Entry(("selinux", "apparmor"), 1, 18, 43)
    assert (reading.drivers, reading.lsm) == (("lxc", "qemu"), ("apparmor",))


def test_what_is_no_daemon_and_no_driver_of_libvirts_is_unknown() -> None:
    """Their names are words of scripts, and of files."""
    reading = read(drivers="lxc ID=debian")
    assert isinstance(reading.drivers, Unknown)
    assert reading.daemons == ("libvirtd",)
    assert isinstance(read(daemons="libvirtd x';reboot;'"), Unknown)


def test_a_broken_file_costs_its_own_keys() -> None:
    reading = read(**{"/etc/libvirt/qemu.conf": "\nuser = root\n"})
    assert reading.files["qemu"].broken.startswith("/etc/libvirt/qemu.conf, line 2: 'root'")
    assert isinstance(reading.files["qemu"].keys, Unknown)
    assert reading.files["lxc"].broken == ""
    assert isinstance(read(**{"/etc/libvirt/lxc.conf": Block(1, "Permission denied")}).files["lxc"].text, Unknown)


def test_a_daemon_that_started_before_a_file_was_changed_does_not_know_it() -> None:
    times = "100 90 /etc/libvirt/lxc.conf\n100 111 /etc/libvirt/qemu.conf\n110 110 /run/libvirtd.pid\nnonsense"
    assert read(times=times).stale == {"libvirtd": ("/etc/libvirt/qemu.conf",)}
    assert read().stale == {}


def test_units_sockets_accounts_and_listeners_are_read() -> None:
    reading = read(
        units="Id=libvirtd.socket\nActiveState=active\nUnitFileState=enabled\n\nId=libvirtd-tcp.socket\nActiveState=inactive",
        sockets="666 root root /run/libvirt/libvirt-sock\nstat: cannot statx 'x'",
        accounts="/etc/passwd:qemu:x:107:107::/:/sbin/nologin\n/etc/group:qemu:x:107:\n/etc/group:libvirt:x:9:ops,eve",
        listening="/proc/12/cmdline\n",
    )
    assert reading.units == {"libvirtd.socket": Unit(True, True), "libvirtd-tcp.socket": Unit(False, False)}
    assert reading.sockets == (Socket("/run/libvirt/libvirt-sock", "0666", "root", "root"),)
    assert (reading.users, reading.members, reading.listening) == ({"qemu": "qemu"}, ("ops", "eve"), True)
    assert isinstance(read().units, Unknown)


def test_a_domain_has_the_name_that_it_gives_itself_and_one_without_usb_has_none() -> None:
    file = "/etc/libvirt/qemu/x.xml"
    rows = ["<domain type='kvm'>", "  <name>a &amp; b</name>", "    <controller type='usb' model='none'/>", "<nonsense"]
    (domain,) = read(domains="\n".join(f"{file}:{row}" for row in rows)).domains
    assert (domain.name, domain.devices, domain.driver) == ("a & b", (), "qemu")
    assert read(domains=Block(1, "")).domains == ()


@pytest.mark.parametrize(
    ("machine", "devices"),
    [
        ("pc-i440fx-10.0", ("a floppy controller (machine type pc-i440fx-10.0)",)),
        ("pc", ("a floppy controller (machine type pc)",)),
        ("isapc", ("a floppy controller (machine type isapc)",)),
        ("pc-q35-10.0", ()),
        ("virt-10.0", ()),
    ],
)
def test_a_machine_that_always_has_a_floppy_controller_is_known_by_its_type(
    machine: str, devices: tuple[str, ...]
) -> None:
    file = "/etc/libvirt/qemu/x.xml"
    rows = ["<domain type='kvm'>", f"    <type arch='x86_64' machine='{machine}'>hvm</type>"]
    (domain,) = read(domains="\n".join(f"{file}:{row}" for row in rows)).domains
    assert domain.devices == devices
    rows.append("    <controller type='fdc' index='0'/>")
    (domain,) = read(domains="\n".join(f"{file}:{row}" for row in rows)).domains
    assert domain.devices == ("a floppy controller",), "which is said once"


@pytest.mark.parametrize(
    ("rows", "why", "broken"),
    [
        (["<domain type='lxc'>", "  <name>a</name>", "</domain>"], "", False),
        ([], "it has no <domain>", True),
        (["<domain type='lxc'>", "  <name>a</name>"], "it has no <domain>", True),
        (["  <name>a</name>", "</domain>"], "it has no <domain>", True),
        (["<domain type='lxc'><name>a</name><seclabel type='none'/></domain>"], "more than one element", False),
        (["<domain type='lxc'>"] + ["  <idmap>"] * 400, "too long", False),
    ],
)
def test_a_file_that_is_no_whole_domain_or_that_nobody_can_read_so_is_named(
    rows: list[str], why: str, broken: bool
) -> None:
    file = "/etc/libvirt/lxc/a b.xml"
    other = "/etc/libvirt/qemu/b.xml"
    text = [*(f"{file}:{row}" for row in rows), f"{other}:<domain type='kvm'>", f"{other}:</domain>"]
    found = read(domains="\n".join(text), **{"domains.files": f"{file}\n{other}\n"}).unread
    assert [(each.file, each.broken) for each in found] == ([(file, broken)] if why else [])
    assert all(why in each.why for each in found)


def test_the_script_reads_which_ports_are_a_switchs(tmp_path: Path) -> None:
    port = "<virtualport type='openvswitch'/>"
    for name, lines in {
        "qemu/a.xml": ("<domain type='kvm'>", "<interface type='bridge'>", port, "</domain>"),
        "qemu/networks/ovs.xml": ("<network>", "<name>ovs</name>", port),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("".join(f"  {line}\n" for line in lines))
    script = Libvirt.script[Libvirt.script.index("run domains grep") :].replace("/etc/libvirt", str(tmp_path))
    given = 'run() { [ "$1" != "$WANTED" ] || { shift; "$@"; }; }'
    said = {
        name: subprocess.run(["sh", "-c", f"{given}\n{script}"], env={"WANTED": name, "PATH": os.environ["PATH"]},
                             capture_output=True, text=True, check=True).stdout.replace(str(tmp_path), "/etc/libvirt")
        for name in ("domains", "networks")
    }  # fmt: skip
    reading = read(**said)
    assert [each.virtualport for each in reading.domains[0].interfaces] == [True]
    assert reading.networks == {"ovs": Network("", virtualport=True)}


def test_a_file_whose_name_has_a_colon_is_not_read_and_that_is_no_fault_of_the_domains() -> None:
    rows = ("<domain type='kvm'>", "  <name>win:2019</name>", "</domain>")
    file = "/etc/libvirt/qemu/win:2019.xml"
    (found,) = read(domains="\n".join(f"{file}:{row}" for row in rows), **{"domains.files": f"{file}\n"}).unread
    assert (found.file, found.why, found.broken) == (file, "its name has a colon", False)
