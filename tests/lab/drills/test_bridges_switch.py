"""The same declared networks on Open vSwitch, proved by the same packets."""

from __future__ import annotations

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import ACCEPT, POLICY, assert_all_pass, assert_apart, assert_declared, script
from tests.lab.machine.drive import prove, run

VARIANT = "stock"
SWITCH = "openvswitch"

pytestmark = [pytest.mark.lab, pytest.mark.drill]


def test_declared_networks_on_a_switch(vm: Vm) -> None:
    policy = vm.folder / "switch.yml"
    policy.write_text(POLICY.read_text().replace("      bridge:", f"      switch: {SWITCH}\n      bridge:"))
    use = ("--data", f"policy={policy}")
    vm.ssh("apt-get install -qq --no-install-recommends openvswitch-switch >/dev/null", timeout=600)
    assert_all_pass(vm, SWITCH)

    harden = run(vm, "harden.py", *use, *ACCEPT)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    assert "Open vSwitch makes them again at boot" in harden.reason("bridges.declared")
    assert_apart(script(vm, "try", SWITCH))

    script(vm, "clear", SWITCH)
    vm.reboot()
    script(vm, "join", SWITCH)
    assert_apart(script(vm, "try", SWITCH))
    again = run(vm, "harden.py", *use)
    assert_declared(again)
    assert [change for change in again.host()["changes"] if change["subject"] == "bridges"] == []
    (siblings,) = (row for key, row in prove(vm, *use, "-k", "test_bridges").items() if "siblings" in key)
    assert siblings["outcome"] == "passed", siblings

    # The switch alone is started anew, and keeps no flows: ours are there again, and no other.
    vm.ssh("systemctl restart ovs-vswitchd")
    vm.ssh(
        "ovs-vsctl del-port br-web db;"
        "ovs-ofctl -O OpenFlow13 add-flow br-tenants table=0,priority=99,dl_type=0x88b5,actions=NORMAL"
    )
    drift = run(vm, "drift.py", *use)
    assert drift.code == 2
    assert "db is not a port of br-web" in drift.reason("bridges.declared")
    assert "a flow was added to br-tenants: priority=99,dl_type=0x88b5" in drift.reason("bridges.switch")
    assert "missing" not in drift.reason("bridges.switch")
    mended = run(vm, "harden.py", *use)
    assert_declared(mended)
    assert_apart(script(vm, "try", SWITCH))

    for made in (mended, harden):
        undone = run(vm, "rollback.py", *use, "--data", f"run={made.report['run']['id']}")
        assert undone.host()["status"] == "ok", undone.out + undone.err
    left = vm.ssh("ls /etc/hullproof /etc/systemd/system; nft list tables; ovs-vsctl show", check=False).stdout
    assert not [word for word in ("openvswitch.sh", "hullproof-openvswitch", "bridges-hullproof", "secure")
                if word in left], left  # fmt: skip
