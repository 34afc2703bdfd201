"""libvirt: what it gives new containers and guests is declared, put in force, proved by what a new domain gets, watched
key by key, and rolled back, while containers and guests that run go on. Domains that the policy owns are declared anew,
proved by what they no longer can when they start next, and rolled back too.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
POLICY = """\
lsm: {module: apparmor}
apparmor: {enabled: true}
libvirt: {confined: true, require_confined: true, unprivileged_emulators: true, seccomp_sandbox: true,
  authenticated: true, trusted_users: [], tcp: none, host_ids: [old, web, twin], unlabelled: [],
  emulated_devices: [net], domain_capabilities: [SYSLOG], unfiltered: [], owned: [own, net]}
containers: {guests: [], guest_devices: [shop, till, one, other, free], shared_profiles: []}
files: {engines: true}
"""
ACCEPT = "libvirt-api,libvirt-domains"
PACKAGES = (
    "apparmor libvirt-daemon-system libvirt-clients libvirt-daemon-driver-lxc libvirt-daemon-driver-qemu "
    "libvirt-daemon-config-network libvirt-daemon-config-nwfilter dnsmasq-base qemu-system-x86"
)
CONTAINER = """\
<domain type='lxc'><name>NAME</name><memory unit='MiB'>64</memory>
<os><type>exe</type><init>/bin/sleep</init><initarg>1000000000</initarg></os>
<features><capabilities policy='default'><syslog state='off'/></capabilities></features>MORE
<devices><filesystem type='mount'><source dir='/srv/domain'/><target dir='/'/></filesystem>
<console type='pty'/></devices>
</domain>
"""
INTERFACE = "<interface type='network'><source network='default'/></interface>"
# Those that the policy owns. Of the container the first process tries what it should not be able to.
OWN = f"""\
<domain type='lxc'><name>own</name><memory unit='MiB'>64</memory>
<os><type>exe</type><init>/bin/sh</init><initarg>/attack</initarg></os>
<devices><filesystem type='mount'><source dir='/srv/own'/><target dir='/'/></filesystem>{INTERFACE}
<console type='pty'/></devices>
</domain>
"""
NET = f"""\
<domain type='qemu'><name>net</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>
<devices>{INTERFACE}</devices></domain>
"""
ATTACK = """\
asked() { busybox ping -q -c 2 -W 3 -I "$1" 192.168.122.1 >/dev/null 2>&1; }
{
  busybox dmesg >/dev/null 2>&1 && echo reads the log of the kernel
  busybox ip link set eth0 up
  busybox ip address add 192.168.122.50/24 dev eth0
  until [ -e /go ]; do asked 192.168.122.50; done
  asked 192.168.122.50 && echo is answered
  busybox ip address add 192.168.122.77/24 dev eth0
  asked 192.168.122.77 && echo is answered as another
  echo end
} >/said 2>/errors
exec busybox sleep 1000000000
"""
DISK = (
    "<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/>"
    "<source file='/var/lib/libvirt/images/{}'/><target dev='vda'/></disk></devices>"
)
GUEST = """\
<domain type='qemu'><name>NAME</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>
MORE</domain>
"""
# A guest without libvirt, and without a system.
ALONE = "systemd-run -q --unit alone MORE qemu-system-x86_64 -S -nodefaults -display none -machine accel=tcg -m 16"
UNLABELLED = "<seclabel type='none'/>"
# Not by security_driver: libvirt does not start with `none` where it is to confine.
UNCONFINE = "sed -i 's/^security_default_confined.*/security_default_confined = 0/' /etc/libvirt/lxc.conf"
# What a host may be found with: emulators that are root, and that may make any system call.
AS_ROOT = """\
sed -i '1i user = "root"\\ngroup = "root"\\nseccomp_sandbox = 0' /etc/libvirt/qemu.conf; systemctl restart libvirtd
"""
FORWARDS = "grep -qsx 3 /sys/class/net/virbr0/brif/*/state"
FILES = ("lxc", "qemu", "libvirtd")
IN = "/etc/libvirt"
# What is done to the host, the control that names it, and a word of the reason.
BREAKS = {
    "confined": (UNCONFINE, "lxc.conf:"),
    "require-confined": (f"sed -i '/^security_require_confined/d' {IN}/qemu.conf", "qemu.conf does not set it"),
    "unprivileged-emulators": (f"sed -i 's/^user = .*/user = \"root\"/' {IN}/qemu.conf", "user is 'root'"),
    "seccomp-sandbox": (f"sed -i 's/^seccomp_sandbox.*/seccomp_sandbox = 0/' {IN}/qemu.conf", "seccomp_sandbox is 0"),
    "authenticated": (f"echo 'auth_unix_rw = \"none\"' >>{IN}/libvirtd.conf", "auth_unix_rw is 'none'"),
    "tcp": ("systemctl -q enable libvirtd-tcp.socket", "libvirtd-tcp.socket is enabled"),
    "api-users": ("gpasswd -a ops libvirt", "ops can become root"),
    "host-ids": (f"sed 's/NAME/new/; s/MORE//' /root/domain.xml >{IN}/lxc/new.xml", "new: root"),
    "unlabelled": (f"sed \"s/NAME/new/; s|MORE|\\n{UNLABELLED}|\" /root/domain.xml >{IN}/lxc/new.xml", "new: it is"),
    "emulated-devices": (f"sed 's|MORE|<sound model=\"ac97\"/>|; s/NAME/big/' /root/guest.xml >{IN}/qemu/big.xml",
                         "big: its emulator has sound"),
    "domain-capabilities": (f"sed 's/NAME/new/; s/MORE//' /root/domain.xml >{IN}/lxc/new.xml", "new: it gets SYSLOG"),
    "filtered": ("sed 's/NAME/big/; s|MORE|\\n<interface type=\"bridge\">\\n<source bridge=\"br0\"/>|' "
                 f"/root/guest.xml >{IN}/qemu/big.xml", "big: its interface on br0 has no filter"),
    "settings": (f"echo 'security_driver = apparmor' >>{IN}/lxc.conf", "lxc.conf, line"),
}  # fmt: skip
MEND = (
    f"cp -p /root/kept/* {IN}/; rm -f {IN}/lxc/new.xml {IN}/qemu/big.xml;"
    " systemctl -q disable libvirtd-tcp.socket; gpasswd -d ops libvirt; systemctl restart libvirtd; true"
)

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def starts_filtered(vm: Vm) -> bool:
    """Whether libvirt starts a container whose interface has a filter: 9.0 does not."""
    return not vm.ssh("libvirtd --version").stdout.rpartition(" ")[2].startswith("9.0")


def deploy(vm: Vm, name: str, accept: str = ACCEPT) -> Result:
    path: Path = vm.folder / "libvirt.yml"
    path.write_text(POLICY if starts_filtered(vm) else POLICY.replace("unfiltered: []", "unfiltered: [own]"))
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}")


def start(vm: Vm, driver: str, name: str, more: str = "") -> str:
    """Makes a domain for once; what virsh says of it."""
    kind, uri = ("domain", "lxc:///") if driver == "lxc" else ("guest", "qemu:///system")
    made = f'sed "s/NAME/{name}/; s|MORE|{more}|" /root/{kind}.xml >/root/made.xml'
    paused = "--paused" if driver == "qemu" else ""
    done = vm.ssh(f"{made}; virsh -q -c {uri} create {paused} /root/made.xml 2>&1", check=False, timeout=300)
    return done.stdout


def label(vm: Vm, driver: str, name: str) -> str:
    """What confines the first process of a container, or the emulator of a guest."""
    at = f"/run/libvirt/{driver}/{name}.pid"
    child = "; p=$(cat /proc/$p/task/$p/children); p=${p%% *}" if driver == "lxc" else ""
    return vm.ssh(f"p=$(cat {at}){child}; tr -d '\\0' </proc/$p/attr/apparmor/current").stdout.strip()


def stop(vm: Vm, driver: str, name: str) -> None:
    vm.ssh(f"virsh -q -c {'lxc:///' if driver == 'lxc' else 'qemu:///system'} destroy {name}", timeout=120)


def emulator(vm: Vm, name: str) -> list[str]:
    """Who a guest's emulator is, and whether it has a seccomp filter (2)."""
    status = f"/proc/$(cat /run/libvirt/qemu/{name}.pid)/status"
    return vm.ssh(f"awk '/^(Uid|Seccomp):/ {{ print $2 }}' {status}").stdout.split()


def attacked(vm: Vm, *, filtered: bool) -> list[str]:
    """What the owned container can do, started anew, once the bridge forwards for it; where libvirt filters it, once
    that has learned its address, which takes minutes on a slow host."""
    begin = (
        "virsh -q -c lxc:/// destroy own 2>/dev/null; rm -f /srv/own/said /srv/own/go; virsh -q -c lxc:/// start own"
    )
    learned = "ebtables -t nat -L | grep -q 'chain: I-vnet[0-9]*-ipv4-ip'" if filtered else FORWARDS
    for script in (f"{begin}; {within(learned)}; touch /srv/own/go", within("grep -qs '^end' /srv/own/said")):
        vm.ssh(script, timeout=700)
    return vm.ssh("cat /srv/own/said").stdout.splitlines()


def within(holds: str) -> str:
    """sh that waits until that holds, for some minutes."""
    return f"n=0; until {holds} || [ $n = 300 ]; do n=$((n + 1)); sleep 1; done"


def opens(vm: Vm, profile: str, disk: str) -> bool:
    """Whether a process of emulators' user under this profile reads a guest's disk."""
    way = f"runuser -u libvirt-qemu -- aa-exec -p {profile} -- /bin/cat /var/lib/libvirt/images/{disk}"
    return vm.ssh(f"{way} >/dev/null", check=False).returncode == 0


def running(vm: Vm) -> list[str]:
    lists = (f"virsh -q -c {uri} list --name" for uri in ("lxc:///", "qemu:///system"))
    return sorted(vm.ssh("; ".join(lists), timeout=120).stdout.split())


def not_holding(result: Result) -> dict[str, str]:
    return {name: why for name, why in result.not_holding().items() if name.startswith("libvirt.")}


def test_before_a_container_is_not_confined_and_nothing_asks_for_it(vm: Vm) -> None:
    vm.ssh(f"apt-get -qq install --no-install-recommends {PACKAGES} 2>&1", timeout=1500)
    vm.ssh(f"mkdir -p /srv/domain/usr /srv/domain/sbin {IN}/lxc; tar -xf /var/lib/lab/busybox.tar -C /srv/domain")
    vm.ssh(f"cat >/root/domain.xml <<'E'\n{CONTAINER}E\ncat >/root/guest.xml <<'E'\n{GUEST}E")
    assert start(vm, "lxc", "old") == ""
    assert label(vm, "lxc", "old") == "unconfined"
    assert start(vm, "qemu", "shop", UNLABELLED) == ""
    assert label(vm, "qemu", "shop") == "unconfined"
    stop(vm, "qemu", "shop")
    assert start(vm, "qemu", "shop") == ""
    vm.ssh(AS_ROOT)
    assert start(vm, "qemu", "rooted") == ""
    assert emulator(vm, "rooted") == ["0", "0"]
    stop(vm, "qemu", "rooted")
    vm.ssh(f"mkdir /root/first; cp -p {' '.join(f'{IN}/{name}.conf' for name in FILES)} /root/first")


def test_before_a_container_that_will_be_owned_is_root_and_passes_for_another(vm: Vm) -> None:
    vm.ssh(
        "cp -r /srv/domain /srv/own; virsh -q -c qemu:///system net-start default 2>/dev/null;"
        "virsh -q -c qemu:///system net-list --name | grep -qx default"
    )
    vm.ssh(f"cat >/srv/own/attack <<'E'\n{ATTACK}E\ncat >/root/own.xml <<'E'\n{OWN}E\ncat >/root/net.xml <<'E'\n{NET}E")
    vm.ssh("virsh -q -c lxc:/// define /root/own.xml && virsh -q -c qemu:///system define /root/net.xml")
    vm.ssh(f"cp {IN}/lxc/own.xml {IN}/qemu/net.xml /root")
    assert attacked(vm, filtered=False) == [
        "reads the log of the kernel",
        "is answered",
        "is answered as another",
        "end",
    ]
    assert vm.ssh("stat -c %u /srv/own/said").stdout == "0\n"


def test_after_what_is_new_is_confined_and_what_ran_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    began = vm.ssh("cat /run/libvirt/lxc/old.pid /run/libvirt/qemu/shop.pid").stdout
    harden = deploy(vm, "harden.py")
    assert not_holding(harden) == {}, harden.out + harden.err
    assert "containers and guests keep running: old, own, shop" in harden.out
    story["runs"] = [harden.report["run"]["id"]]
    assert vm.ssh("cat /run/libvirt/lxc/old.pid /run/libvirt/qemu/shop.pid").stdout == began
    assert running(vm) == ["old", "own", "shop"]
    assert start(vm, "lxc", "web") == ""
    assert label(vm, "lxc", "web").endswith("(enforce)")
    assert label(vm, "lxc", "web").startswith("libvirt-")
    assert start(vm, "qemu", "till") == ""
    assert emulator(vm, "till") == [vm.ssh("id -u libvirt-qemu").stdout.strip(), "2"]
    assert "Unconfined guests are not allowed" in start(vm, "lxc", "free", UNLABELLED)
    assert "Unconfined guests are not allowed" in start(vm, "qemu", "free", UNLABELLED)
    vm.ssh(f"mkdir /root/kept; cp -p {' '.join(f'{IN}/{name}.conf' for name in FILES)} /root/kept")


def test_after_an_owned_container_is_root_no_more_and_passes_for_no_other(vm: Vm) -> None:
    target = vm.ssh(f"sed -n \"s/.*<uid start='0' target='\\([0-9]*\\)'.*/\\1/p\" {IN}/lxc/own.xml").stdout.strip()
    vm.ssh(f"chown -R {target}:{target} /srv/own")
    filtered = starts_filtered(vm)
    other = [] if filtered else ["is answered as another"]
    assert attacked(vm, filtered=filtered) == ["is answered", *other, "end"]
    assert vm.ssh("stat -c %u /srv/own/said").stdout == f"{target}\n"
    assert "filterref filter='clean-traffic'" in vm.ssh("virsh -q -c qemu:///system dumpxml --inactive net").stdout


def test_a_guest_that_takes_over_its_emulator_reads_no_other_guests_disk(vm: Vm) -> None:
    for name in ("one", "other"):
        vm.ssh(f"truncate -s 1M /var/lib/libvirt/images/{name}")
        assert start(vm, "qemu", name, DISK.format(name)) == ""
    own = label(vm, "qemu", "one").removesuffix(" (enforce)")
    assert (opens(vm, "unconfined", "one"), opens(vm, "unconfined", "other")) == (True, True)
    assert (opens(vm, own, "one"), opens(vm, own, "other")) == (True, False)
    for name in ("one", "other"):
        stop(vm, "qemu", name)


def test_no_container_starts_with_the_profile_of_another(vm: Vm) -> None:
    """libvirt has no profile of its own for it, and ends it; whatever else shares one is named all the same."""
    own = label(vm, "lxc", "web").removesuffix(" (enforce)")
    static = f"<seclabel type='static' model='apparmor' relabel='no'><label>{own}</label></seclabel>"
    start(vm, "lxc", "twin", static)
    vm.ssh(within("! virsh -q -c lxc:/// list --name | grep -qx twin"), timeout=400)
    assert "aa_change_profile" in vm.ssh("cat /var/log/libvirt/lxc/twin.log").stdout
    assert deploy(vm, "drift.py").states()["containers.own-profile"] == "pass"


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    again = deploy(vm, "harden.py")
    assert again.host()["changes"] == [], again.out
    for control in ("containers.guests", "containers.guest-devices", "containers.own-profile", "files.engines"):
        assert again.states()[control] == "pass", again.reason(control)


@pytest.mark.parametrize("control", BREAKS)
def test_what_is_broken_is_named(vm: Vm, control: str) -> None:
    script, word = BREAKS[control]
    vm.ssh(script)
    drift = deploy(vm, "drift.py")
    assert drift.states()[f"libvirt.{control}"] == "fail", drift.out
    assert word in drift.reason(f"libvirt.{control}")
    vm.ssh(MEND)


def test_a_guest_without_a_label_is_named(vm: Vm) -> None:
    vm.ssh(f"sed -i '/^security_require_confined/d' {IN}/qemu.conf; systemctl restart libvirtd")
    assert start(vm, "qemu", "free", UNLABELLED) == ""
    drift = deploy(vm, "drift.py")
    assert drift.states()["containers.guests"] == "fail", drift.out
    assert "free: its emulator is not confined" in drift.reason("containers.guests")
    stop(vm, "qemu", "free")
    vm.ssh(MEND)


def test_a_changed_key_is_put_right_and_other_lines_stay(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"echo '# by hand' >>{IN}/lxc.conf; {UNCONFINE}")
    again = deploy(vm, "harden.py")
    story["runs"].append(again.report["run"]["id"])
    assert not_holding(again) == {}, again.out
    assert vm.ssh(f"tail -n 1 {IN}/lxc.conf; cp -p {IN}/lxc.conf /root/kept").stdout == "# by hand\n"


def test_files_with_which_libvirt_does_not_come_up_go_back(vm: Vm) -> None:
    """A client that gets no answer while the new file is there, as where a driver does not start with it."""
    fails = f"grep -q '^security_default_confined = 1' {IN}/lxc.conf && exit 1; exec /usr/bin/virsh \"$@\""
    vm.ssh(UNCONFINE)
    vm.ssh(f"cat >/usr/local/bin/virsh <<'E'\n#!/bin/sh\n{fails}\nE\nchmod 755 /usr/local/bin/virsh")
    again = deploy(vm, "harden.py")
    vm.ssh("rm /usr/local/bin/virsh")
    assert "libvirt could not be activated" in again.out + again.err
    assert vm.ssh(f"grep -c '^security_default_confined = 0' {IN}/lxc.conf").stdout == "1\n"
    assert running(vm) == ["old", "own", "shop", "till", "web"]
    vm.ssh(MEND)


def test_a_rollback_puts_all_back_and_what_runs_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    for each in reversed(story["runs"]):
        back = run(vm, "rollback.py", "--data", f"run={each}")
        if each == story["runs"][0]:  # files may have been given to the container's ids
            assert "<idmap>" in vm.ssh(f"cat {IN}/lxc/own.xml").stdout, back.out
            back = run(vm, "rollback.py", "--data", f"run={each}", "--data", "accept=libvirt-domains")
        assert back.host()["status"] == "ok", back.out + back.err
        if each == story["runs"][-1]:  # what somebody else had changed before it is back: put right by hand
            vm.ssh(f"sed -i '/^# by hand$/d' {IN}/lxc.conf; {UNCONFINE.replace('= 0', '= 1')}")
    assert (
        vm.ssh(f"cmp /root/own.xml {IN}/lxc/own.xml && cmp /root/net.xml {IN}/qemu/net.xml", check=False).stdout == ""
    )
    assert vm.ssh(f"cd /root/first && for f in *; do cmp $f {IN}/$f; done 2>&1", check=False).stdout == ""
    assert running(vm) == ["old", "own", "shop", "till", "web"]
    assert start(vm, "lxc", "last") == ""
    assert label(vm, "lxc", "last") == "unconfined"


def alone(vm: Vm, properties: str, options: str = "") -> str:
    """What drift says of the guests beside one that libvirt has not started."""
    vm.ssh(f"{ALONE.replace('MORE', properties)} {options}; sleep 5; systemctl is-active alone", timeout=120)
    pid = vm.ssh("systemctl show --value -p MainPID alone").stdout.strip()
    drift = deploy(vm, "drift.py")
    assert drift.states()["containers.guests"] == "fail", drift.out
    has = f"the emulator of process {pid} (user 0) has a floppy controller (machine type pc"
    assert has in drift.reason("containers.guest-devices")
    vm.ssh("systemctl stop alone")
    return drift.reason("containers.guests").replace(f"process {pid} (user 0)", "it")


def test_a_guest_that_libvirt_has_not_started_is_judged_too(vm: Vm) -> None:
    said = alone(vm, "")
    assert said.startswith("it: its emulator is not confined (its label is unconfined); its emulator has no seccomp")


def test_a_guest_with_the_label_of_another_is_named_with_it(vm: Vm) -> None:
    own = label(vm, "qemu", "shop").removesuffix(" (enforce)")
    said = alone(vm, f"-p AppArmorProfile={own}", "-sandbox on")
    for name in ("it", "shop"):
        assert f"{name}: another guest has its label, {own}" in said
    assert "till" not in said
    assert deploy(vm, "drift.py").states()["containers.guests"] == "pass"
