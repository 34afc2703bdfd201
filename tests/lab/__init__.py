"""Real, booted, disposable container hosts on one Linux machine.

    from tests.lab import up

    with up("debian13", variant="weak") as vm:
        print(vm.ssh("docker info").stdout)

The variants: `bare` (no Docker), `stock` (what installing docker.io gives, containers unconfined by AppArmor
included), `weak` (somebody's bad configuration), `owned` (other people's settings and running containers), `guests` (a
bridge of the operator's own with guests on it, as KVM hosts have it), `engines` (every container engine that Debian
has, each with a container).
"""

from tests.lab.machine.image import LabError
from tests.lab.machine.variants import up
from tests.lab.machine.vm import Vm

__all__ = ["LabError", "Vm", "up"]
