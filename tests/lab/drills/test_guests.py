"""Guests on a bridge of the operator's own, beside Docker: a run leaves them their network, and says what would not.

And what containers and guests have of the cloud's address, which here stands in a namespace: names and credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "guests"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]

LAN, GUEST_B, HOST = "198.51.100.1", "10.90.0.12", "10.90.0.1"
STRICT = ("--data", "policy=strict")
RESTARTS = "container-restart,host-services"
BRIDGE = "br0 (lan0, vnet0, vnet1)"
CLOUD = "169.254.169.254"
SWITCH = "/etc/sysctl.d/99-zz-hullproof-networks.conf"


def reached(vm: Vm) -> set[str]:
    """Whom guest-a reaches; and whether the LAN reaches it."""
    ask = "ip netns exec {} busybox ping -q -c 1 -W 3 {} >/dev/null && echo {};"
    script = "".join(ask.format("guest-a", to, to) for to in (GUEST_B, LAN, HOST))
    return set(vm.ssh(script + ask.format("lan", "10.90.0.11", "guest-a") + ":").stdout.split())


ALL = {GUEST_B, LAN, HOST, "guest-a"}


def siblings_talk(vm: Vm) -> bool:
    """Whether one container on the default bridge is answered by another."""
    vm.ssh("docker start two >/dev/null 2>&1 || docker run -d --name two lab/busybox:1 sleep 1000000000 >/dev/null")
    ask = "docker exec two wget -q -T 5 -O - http://$(docker inspect -f '{{.NetworkSettings.IPAddress}}' web)/"
    return vm.ssh(ask, check=False).returncode == 0


def harden(vm: Vm, *options: str, accept: str = RESTARTS) -> Result:
    return run(vm, "harden.py", *options, "--data", f"accept={accept}")


def policy(vm: Vm, text: str) -> tuple[str, str]:
    path = Path(vm.folder / "networks.yml")
    path.write_text(f"networks: {text}\n")
    return "--data", f"policy={path}"


def cloud(vm: Vm) -> None:
    """Credentials by HTTP and names by DNS, as Google Cloud has both; the host's own resolver is that address."""
    vm.put(Path(__file__).with_name("names.pl"), "/root/names.pl")
    vm.ssh(
        "ip netns add cloud; ip link add cloud0 type veth peer name eth0 netns cloud;"
        "ip address add 169.254.1.1/30 dev cloud0; ip link set cloud0 up; ip -n cloud link set lo up;"
        f"ip -n cloud address add 169.254.1.2/30 dev eth0; ip -n cloud address add {CLOUD}/32 dev lo;"
        "ip -n cloud link set eth0 up; ip -n cloud route add default via 169.254.1.1;"
        f"ip route add {CLOUD} via 169.254.1.2; mkdir -p /srv/cloud; echo secret >/srv/cloud/index.html;"
        f"ip netns exec cloud busybox httpd -p {CLOUD}:80 -h /srv/cloud;"
        f"systemd-run -q --unit=names ip netns exec cloud perl /root/names.pl {CLOUD};"
        f"echo nameserver {CLOUD} >/etc/resolv.conf; docker restart web >/dev/null;"
        "docker network create shop >/dev/null;"
        "docker run -d --name cart --net shop --restart always lab/busybox:1 sleep 1000000000 >/dev/null"
    )


def has(vm: Vm, container: str) -> set[str]:
    """What a container gets of the cloud: names by UDP and by TCP, credentials."""
    # A question that asks for a.example by TCP, and the answer's last four bytes: 10.9.9.9.
    question = r"\0\37\0\1\1\0\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1"
    by_tcp = f"printf '{question}' | nc -w 5 {CLOUD} 53 | tail -c 4 | od -An -tu1"
    ways = {
        "names": "timeout 10 nslookup a.example | grep -q 10.9.9.9",
        "names by tcp": f"{by_tcp} | grep -q '10 *9 *9 *9'",
        "credentials": f"wget -q -T 5 -O - http://{CLOUD}/ | grep -q secret",
    }
    return {what for what, way in ways.items()
            if vm.ssh(f'docker exec {container} sh -c "{way}"', check=False).returncode == 0}  # fmt: skip


def test_guests_have_their_network_and_containers_reach_each_other(vm: Vm) -> None:
    assert reached(vm) == ALL
    assert siblings_talk(vm)


def test_the_baseline_leaves_guests_alone_and_parts_containers(vm: Vm) -> None:
    done = harden(vm)
    states = done.states()
    assert states["networks.icc"] == states["networks.bridged-guests"] == "pass", done.out
    assert states["networks.br-netfilter"] == "not-applicable"
    assert reached(vm) == ALL
    assert not siblings_talk(vm)


def test_strict_names_the_bridge_and_who_may_need_credentials(vm: Vm) -> None:
    cloud(vm)
    everything = {"names", "names by tcp", "credentials"}
    assert has(vm, "web") == has(vm, "cart") == everything
    done = harden(vm, *STRICT)
    plan = " ".join(done.out.split())
    assert "running containers (cart, two, web) and guests on br0 (netns guest-a, netns guest-b, netns lan)" in plan
    assert "accept=metadata" in plan
    assert "bridges.filter" in done.not_holding()
    # Newer ones have bridged frames meet iptables where no userland proxy runs.
    waits = int(vm.ssh("docker version -f '{{.Server.Version}}'").stdout.partition(".")[0]) > 26
    assert (f"would drop frames between the ports of {BRIDGE}" in plan) is waits
    assert (done.states()["docker.userland-proxy"] == "fail") is waits
    assert done.states()["networks.icc"] == done.states()["networks.bridged-guests"] == "pass"
    assert reached(vm) == ALL
    assert not siblings_talk(vm)
    assert has(vm, "web") == has(vm, "cart") == everything


def test_accepted_credentials_are_closed_and_names_are_not(vm: Vm) -> None:
    done = harden(vm, *STRICT, accept=f"{RESTARTS},metadata")
    assert done.states()["bridges.filter"] == "pass", done.out + done.err
    assert has(vm, "web") == has(vm, "cart") == {"names", "names by tcp"}
    assert reached(vm) == ALL


def test_it_is_so_after_a_boot(vm: Vm) -> None:
    vm.reboot()
    assert reached(vm) == ALL
    assert not siblings_talk(vm)
    drift = run(vm, "drift.py", *STRICT)
    assert drift.states()["networks.icc"] == drift.states()["networks.bridged-guests"] == "pass", drift.out


def test_what_an_earlier_version_switched_on_is_seen_and_taken_back(vm: Vm) -> None:
    keys = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
    vm.ssh("; ".join(f"sysctl -q -w {key}=1; echo {key} = 1 >>{SWITCH}" for key in keys))
    assert GUEST_B not in reached(vm)
    drift = run(vm, "drift.py")
    assert f"{BRIDGE}: FORWARD policy DROP" in drift.reason("networks.bridged-guests")
    done = harden(vm)
    assert done.states()["networks.bridged-guests"] == "pass", done.out
    assert reached(vm) == ALL
    assert vm.ssh(f"test -e {SWITCH}", check=False).returncode == 1


def test_br_netfilter_is_switched_on_where_a_rule_lets_guests_pass(vm: Vm) -> None:
    asked = policy(vm, "{br_netfilter: true}")
    held = run(vm, "harden.py", *asked)
    assert BRIDGE in " ".join(held.out.split())
    assert held.states()["networks.br-netfilter"] == "fail"
    assert reached(vm) == ALL
    vm.ssh("for t in iptables ip6tables; do $t -I FORWARD -m physdev --physdev-is-bridged -i br0 -j ACCEPT; done")
    done = run(vm, "harden.py", *asked)
    assert done.states()["networks.br-netfilter"] == "pass", done.out
    assert reached(vm) == ALL


def test_forward_becomes_drop_only_where_a_rule_lets_guests_pass(vm: Vm) -> None:
    asked = policy(vm, "{guarded_forwarding: true, bridged_guests: true}")
    accept = "forward-drop"  # the host has two legs: that is asked by itself
    vm.ssh("iptables -D FORWARD -m physdev --physdev-is-bridged -i br0 -j ACCEPT; iptables -P FORWARD ACCEPT")
    assert reached(vm) == ALL
    held = harden(vm, *asked, accept=accept)
    says = f"FORWARD policy becomes DROP, which would drop frames between the ports of {BRIDGE}"
    assert says in " ".join(held.out.split())
    assert reached(vm) == ALL
    vm.ssh("iptables -I FORWARD -i br0 -o br0 -j ACCEPT")
    done = harden(vm, *asked, accept=accept)
    assert done.states()["networks.forwarding"] == done.states()["networks.bridged-guests"] == "pass", done.out
    assert reached(vm) == ALL


def undo(vm: Vm) -> None:
    undone = run(vm, "rollback.py")
    assert undone.host()["status"] == "ok", undone.out + undone.err


def test_guests_that_an_accepted_change_cuts_off_are_seen_and_get_their_network_back_with_its_undo(vm: Vm) -> None:
    vm.load("begin")
    asked = policy(vm, "{br_netfilter: true, bridged_guests: true}")
    done = harden(vm, *asked, accept="bridged-guests")
    assert f"guests on {BRIDGE} reach neither each other" in " ".join(done.out.split())
    assert GUEST_B not in reached(vm)
    assert f"{BRIDGE}: FORWARD policy DROP" in done.reason("networks.bridged-guests")
    assert done.code == 2
    undo(vm)
    assert reached(vm) == ALL


def test_docker_is_not_restarted_where_its_start_would_cut_guests_off(vm: Vm) -> None:
    """Somebody wrote icc=false, and the host has not come to use it."""
    vm.load("begin")
    vm.ssh("echo '{\"icc\": false}' >/etc/docker/daemon.json")
    path = Path(vm.folder / "docker.yml")
    path.write_text("docker: {live_restore: true}\nnetworks: {bridged_guests: true}\n")
    asked = ("--data", f"policy={path}")
    held = run(vm, "harden.py", *asked)
    plan = " ".join(held.out.split())
    assert "because of icc=false, which would drop frames between" in plan
    assert BRIDGE in plan
    assert held.states()["docker.live-restore"] == "fail"
    assert reached(vm) == ALL
    done = harden(vm, *asked, accept="bridged-guests,container-restart")
    assert done.states()["docker.live-restore"] == "pass", done.out + done.err
    assert GUEST_B not in reached(vm)
    assert "because of icc=false" in " ".join(run(vm, "harden.py", *asked, "--dry", yes=False).out.split())
    undo(vm)
    assert reached(vm) == ALL
