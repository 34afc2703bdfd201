"""The lab keeps its own promises: every drill that runs in it leans on these."""

import time
from collections.abc import Iterator

import pytest

from tests.lab import Vm, up
from tests.lab.machine.image import DISTRIBUTIONS
from tests.lab.machine.qemu import argv
from tests.lab.machine.variants import ensure

pytestmark = pytest.mark.lab

# Without the parser, Docker 20.10 (debian12) starts only containers that ask for no AppArmor profile.
NO_APPARMOR = "--security-opt apparmor=unconfined"


@pytest.fixture(scope="module")
def stock(distribution: str) -> Iterator[Vm]:
    with up(distribution) as vm:
        vm.one_connection = True
        yield vm


def test_a_host_is_up_in_seconds_with_the_right_time(distribution: str) -> None:
    ensure(DISTRIBUTIONS[distribution], "stock")
    began = time.monotonic()
    with up(distribution) as vm:
        took = time.monotonic() - began
        assert abs(float(vm.ssh("date +%s").stdout) - time.time()) < 30
    assert took < 60, "a snapshot must not be slower than a boot"


def test_every_user_can_do_what_was_promised_and_no_more(stock: Vm) -> None:
    assert stock.ssh("id -u").stdout.strip() == "0"
    assert stock.ssh("sudo -n id -u", user="ops").stdout.strip() == "0"
    assert stock.ssh("sudo -n id -u", user="opspw", check=False).returncode != 0
    assert stock.ssh("sudo -S id -u", user="opspw", input="lab-only\n").stdout.strip() == "0"
    assert stock.ssh("sudo -S id -u", user="nobodyops", input="lab-only\n", check=False).returncode != 0


def test_the_host_needs_nothing_but_sh(stock: Vm) -> None:
    assert stock.ssh("command -v python3", check=False).returncode != 0
    assert stock.ssh("readlink /bin/sh").stdout.strip() == "dash"


def test_nothing_leaves_the_machine(stock: Vm) -> None:
    assert "restrict=on" in " ".join(argv("any", stock.folder, 1, None))
    # 10.0.2.2 is this machine as the host sees it; without the restriction its ports could be reached there.
    for address, port in (("192.0.2.1", 443), ("10.0.2.2", stock.port), ("10.0.2.3", 53)):
        tried = stock.ssh(f"timeout 5 bash -c 'echo > /dev/tcp/{address}/{port}'", check=False)
        assert tried.returncode != 0, f"{address}:{port} was reached"


def test_packages_install_without_a_network(stock: Vm) -> None:
    stock.ssh("apt-get update -qq")
    assert "Inst apparmor" in stock.ssh("apt-get install --simulate apparmor").stdout


def test_save_and_load_bring_back_memory_and_disk(stock: Vm) -> None:
    stock.ssh("echo before > /root/disk; echo before > /run/memory; sync")
    stock.save("here")
    stock.ssh("echo after > /root/disk; echo after > /run/memory; sync")
    stock.load("here")
    assert stock.ssh("cat /root/disk /run/memory").stdout.split() == ["before", "before"]


@pytest.mark.drill
@pytest.mark.on("debian13")
def test_a_power_cut_keeps_what_was_flushed_and_the_host_boots_cold(distribution: str) -> None:
    with up(distribution) as vm:
        vm.ssh("echo kept > /root/flushed; sync; echo lost > /run/memory")
        before = vm.boot_id()
        vm.power_cut()
        assert not vm.running()
        vm.boot(timeout=900)
        assert vm.boot_id() != before
        assert vm.ssh("cat /root/flushed").stdout.strip() == "kept"
        assert vm.ssh("test -e /run/memory", check=False).returncode != 0


@pytest.mark.drill
@pytest.mark.on("debian12")
def test_a_kernel_parameter_set_in_the_guest_survives_its_reboot(distribution: str) -> None:
    with up(distribution) as vm:
        vm.ssh("sed -i 's/^GRUB_CMDLINE_LINUX=\"/&lab.mark=1 /' /etc/default/grub && update-grub", timeout=300)
        vm.reboot()
        assert "lab.mark=1" in vm.ssh("cat /proc/cmdline").stdout.split()


@pytest.mark.on("debian13")
def test_bare_has_no_docker_but_can_get_it(distribution: str) -> None:
    with up(distribution, variant="bare") as vm:
        assert vm.ssh("command -v dockerd apparmor_parser", check=False).returncode != 0
        assert "Inst docker.io" in vm.ssh("apt-get install --simulate docker.io").stdout


def test_stock_has_apparmor_on_and_no_parser(stock: Vm) -> None:
    assert stock.ssh("cat /sys/module/apparmor/parameters/enabled").stdout.strip() == "Y"
    assert stock.ssh("command -v apparmor_parser", check=False).returncode != 0


def test_what_docker_makes_of_the_missing_parser_depends_on_its_version(stock: Vm) -> None:
    tried = stock.ssh("docker run --rm lab/busybox:1 cat /proc/self/attr/current", check=False, timeout=240)
    if stock.distribution == "debian12":
        # Docker 20.10 starts no container at all, and says why.
        assert tried.returncode != 0
        assert "docker-default profile could not be loaded" in tried.stderr
    else:
        # Docker 26 runs it unconfined without a word.
        assert tried.stdout.strip() == "unconfined"


def test_stock_filters_system_calls(stock: Vm) -> None:
    command = f"docker run --rm {NO_APPARMOR} lab/busybox:1 unshare -U true"
    assert "not permitted" in stock.ssh(command, check=False, timeout=240).stderr.lower()
