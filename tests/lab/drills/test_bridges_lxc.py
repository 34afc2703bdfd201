"""LXC's own bridge, with LXC's own containers and dnsmasq: they are kept apart, and the host's services are closed to
them, but for names and addresses.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import assert_declared
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
POLICY = "bridges: {isolated_engines: [lxc], guarded_engines: {lxc: []}, metadata: closed}\n"
SETUP = """
docker create --name box lab/busybox:1 true && docker cp box:/bin/busybox /usr/local/bin/busybox && docker rm box
# Beside Docker nothing of LXC's is forwarded.
systemctl disable -q --now docker.socket docker containerd && iptables -P FORWARD ACCEPT
echo 'USE_LXC_BRIDGE="true"' >/etc/default/lxc-net && systemctl restart lxc-net
for name in one two; do
  lxc-create -n $name -t busybox
  { echo lxc.apparmor.profile = unconfined; echo lxc.start.auto = 1; } >>/var/lib/lxc/$name/config
  lxc-start -n $name
done
"""
WAYS = {"sibling": "{two} 80", "sshd": "{host} 22", "names": "{host} 53", "metadata": "169.254.169.254 81"}

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]


def deploy(vm: Vm, name: str) -> Result:
    path: Path = vm.folder / "lxc.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", "--data", "accept=network-isolation,host-services,metadata")


def reached(vm: Vm) -> set[str]:
    """What container `one` reaches, once both have been given an address."""
    both = "for n in one two; do until lxc-info -n $n -iH | grep -q .; do sleep 1; done; done"
    vm.ssh(f"timeout 60 sh -c '{both}'", timeout=90)
    vm.ssh("ip addr replace 169.254.169.254/32 dev lo; lxc-attach -n two -- busybox httpd -p 80 -h /tmp 2>/dev/null; :")
    cloud = "perl /root/bridges.pl serve 169.254.169.254 81 tcp >/dev/null 2>&1"
    vm.ssh(f"ss -ltn | grep -q 254:81 || {{ {cloud} & sleep 1; }}")
    two = vm.ssh("lxc-info -n two -iH | head -n 1").stdout.strip()
    found = set()
    for name, where in WAYS.items():
        ask = f"lxc-attach -n one -- busybox nc -w 5 {where.format(two=two, host='10.0.3.1')} </dev/null"
        if vm.ssh(ask, check=False, timeout=60).returncode == 0:
            found.add(name)
    return found | sent(vm)


def sent(vm: Vm) -> set[str]:
    """What of `one` leaves the host, to where nobody is: from its own address and from a forged one."""
    sniff, own, forged = (r"ear\tsniff\tnobody\town", r"x\tforge\t0.0.0.0\t203.0.113.2\town",
                          r"x\tforge\t198.51.100.7\t203.0.113.2\tforged")  # fmt: skip
    heard = vm.ssh(
        "ip link add nobody type dummy 2>/dev/null; ip addr replace 203.0.113.1/30 dev nobody; ip link set nobody up;"
        "ip neigh replace 203.0.113.2 lladdr 02:00:00:00:00:02 dev nobody; space=$(lxc-info -n one -pH);"
        f"try() {{ perl /root/attempt.pl \"$(printf '{sniff}')\"; }};"
        f'send() {{ nsenter -t $space -n perl /root/attempt.pl "$(printf "$1")" >/dev/null; }};'
        f"{{ sleep 1; send '{forged}'; send '{own}'; }} & try; wait"
    ).stdout
    return {name for name, word in (("forged", "forged"), ("outbound", "own")) if word in heard.split()}


def test_before_containers_reach_each_other_and_the_host(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends lxc dnsmasq-base apparmor 2>&1", timeout=900)
    vm.put(Path(__file__).with_name("bridges.pl"), "/root/bridges.pl")
    vm.put(Path(__file__).parents[2] / "verify" / "attempt.pl", "/root/attempt.pl")
    vm.ssh(SETUP, timeout=300)
    assert reached(vm) == {*WAYS, "forged", "outbound"}


def test_after_they_reach_names_alone(vm: Vm) -> None:
    harden = deploy(vm, "harden.py")
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    assert reached(vm) == {"names", "outbound"}


def test_the_same_after_they_were_started_anew_and_after_a_reboot(vm: Vm) -> None:
    vm.ssh("systemctl restart lxc-net; for n in one two; do lxc-stop -k -n $n; lxc-start -n $n; done", timeout=120)
    assert reached(vm) == {"names", "outbound"}
    vm.reboot()
    assert reached(vm) == {"names", "outbound"}
    again = deploy(vm, "harden.py")
    assert again.host()["changes"] == []
    assert_declared(again)


def test_undone_they_do_again(vm: Vm) -> None:
    assert deploy(vm, "rollback.py").host()["status"] == "ok"
    assert reached(vm) == {*WAYS, "forged", "outbound"}
