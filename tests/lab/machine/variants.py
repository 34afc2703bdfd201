"""The kinds of host the lab offers, each kept as a snapshot of a booted host."""

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from tests.lab.machine import qemu
from tests.lab.machine.emulator import program
from tests.lab.machine.image import (
    DISTRIBUTIONS,
    Distribution,
    LabError,
    base_dir,
    base_key,
    cache_dir,
    digest,
    distribution,
    guest_script,
    lock,
    run,
    stage,
)
from tests.lab.machine.vm import READY, Vm

# bare and stock are installed natively and booted; the others are what a script makes of a stock host.
# In the order they are built: the usual one first.
VARIANTS = ("stock", "bare", "weak", "owned", "guests", "engines", "rootless")
BOOTED = ("bare", "stock")


def snapshot_path(dist: Distribution, variant: str) -> Path:
    """Where a variant's snapshot is kept: the name says all it is made from."""
    parts = [base_key(dist), qemu.hardware_key(), guest_script("ready.sh")]
    if variant not in BOOTED:
        parts.append(guest_script(f"{variant}.sh"))
    return cache_dir() / "snapshots" / f"{dist.name}-{variant}-{digest(*parts)}.qcow2"


def ensure(dist: Distribution, variant: str) -> Path:
    """The snapshot of a variant, made now if need be; two processes never make the same one at once."""
    path = snapshot_path(dist, variant)
    if path.exists():
        return path
    with lock(f"snapshot-{dist.name}-{variant}"):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            make_booted(dist, variant, path) if variant in BOOTED else make_derived(dist, variant, path)
    return path


def make_booted(dist: Distribution, variant: str, path: Path) -> None:
    """Boot a freshly installed disk and keep the settled host; the disk image stays below it, unchanged."""
    base = base_dir(dist) / f"{variant}.raw"
    with stage(f"{dist.name}-{variant}: first boot and snapshot"), Vm.create(dist.name, variant, None) as vm:
        disk = str(vm.folder / "disk.qcow2")
        run([*program("qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), disk])
        vm.boot(timeout=900)
        keep(vm, "ready.sh", path)


def make_derived(dist: Distribution, variant: str, path: Path) -> None:
    """Let somebody's script loose on a stock host and keep what it became."""
    stock = ensure(dist, "stock")
    what = f"{dist.name}-{variant}: change a stock host and snapshot"
    with stage(what), Vm.create(dist.name, variant, None) as vm:
        start_from(stock, vm)
        qemu.checked(vm.folder, f"delvm {READY}")
        keep(vm, f"{variant}.sh", path)


def keep(vm: Vm, script: str, path: Path) -> None:
    """Run a script in the host, save it once it has rebooted if the script asks for that in Debian's way, and move its
    disk to its final name in one step."""
    vm.ssh("sh -s", input=guest_script(script), timeout=1800)
    if vm.ssh("test -e /run/reboot-required", check=False).returncode == 0:
        vm.reboot()
        vm.ssh("sync")
    vm.save(READY)
    vm.power_cut()
    (vm.folder / "disk.qcow2").rename(path)


def start_from(snapshot: Path, vm: Vm) -> None:
    """Give the host its own copy of a snapshot and let it go on from there."""
    run(["cp", "--reflink=auto", "--sparse=always", str(snapshot), str(vm.folder / "disk.qcow2")])
    vm.resume()


def up(name_of_distribution: str, variant: str = "stock", name: str | None = None) -> Vm:
    """A running host of its own, seconds from a snapshot. Use it as a context manager, or call `down()`."""
    dist = distribution(name_of_distribution)
    if variant not in VARIANTS:
        raise LabError(f"no variant {variant!r}; there are {', '.join(VARIANTS)}")
    snapshot = ensure(dist, variant)
    vm = Vm.create(dist.name, variant, name)
    try:
        start_from(snapshot, vm)
    except BaseException:
        vm.down()
        raise
    return vm


def build(names: Iterable[str], variants: Iterable[str] = VARIANTS) -> None:
    """Make every snapshot of the named distributions, the distributions side by side."""
    failures: list[BaseException] = []
    wanted = tuple(variants)

    def one(dist: Distribution) -> None:
        try:
            for variant in sorted(wanted, key=VARIANTS.index):
                ensure(dist, variant)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(distribution(name),)) for name in names or DISTRIBUTIONS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def clean() -> None:
    """Remove all that can be built again, downloads and the key included."""
    for name in ("run", "snapshots", "images", "debs", "emulator", "key"):
        shutil.rmtree(cache_dir() / name, ignore_errors=True)
