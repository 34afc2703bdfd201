"""Whether containerd and its runtime are of releases that can give pods user namespaces (`hostUsers: false`)."""

from __future__ import annotations

from deploys.engines.containerd.defaults import RUNC
from deploys.engines.containerd.settings import RUNTIME, path_of, setting
from facts.core.reading import UnknownReading, known
from facts.engines.containerd.containerd import ContainerdReading, release

CONTAINERD = (2, 0)  # 1.7 has those of Kubernetes 1.26 alone, which later kubelets do not ask for
RUNTIMES = {"runc": (1, 2), "crun": (1, 9)}


def _runtime(containerd: ContainerdReading) -> str:
    """The program that starts containers of pods that name no RuntimeClass."""
    at = path_of(containerd, RUNTIME, "containerd")
    name = setting(containerd, (*at, "default_runtime_name"), "runc")
    kind = setting(containerd, (*at, "runtimes", name, "runtime_type"), RUNC)
    program = setting(containerd, (*at, "runtimes", name, "options", "BinaryName"), "") or "runc"
    folder, _, found = str(program).rpartition("/")
    if kind != RUNC or found not in RUNTIMES or (folder and not folder.startswith("/usr/")):
        raise UnknownReading(f"whether the runtime {name} ({kind}, {program}) can is not known")
    return found


def unsupported(containerd: ContainerdReading) -> str:
    """What is too old; "" where pods can have user namespaces."""
    if containerd.release < CONTAINERD:
        return f"containerd {known(containerd.version)} gives Kubernetes' pods none: 2.0 is the first that does"
    program = _runtime(containerd)
    version = containerd.runtimes.get(program)
    if release(version, program) < RUNTIMES[program]:
        least = ".".join(map(str, RUNTIMES[program]))
        return f"{program} {version} cannot map the ids of pods' volumes: {least} is the first that can"
    return ""
