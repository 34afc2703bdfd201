"""A real kubelet. Debian has no package of one, but the source of one: Kubernetes 1.20, whose kubelet still runs beside
containerd 1.6 and 1.7. It is built once, into the cache beside the images; that takes ten minutes."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab.machine.image import LabError, cache_dir, digest, lock, mirror, run, stage
from tests.lab.machine.vm import Vm

SUITE, SOURCE = "bookworm", "kubernetes"
PACKAGES = ("golang-go", "dpkg-dev")
MODULE = "k8s.io/kubernetes"


def binary() -> Path:
    """The program; made now if need be."""
    path = cache_dir() / "kubelet" / digest(SUITE, SOURCE) / "kubelet"
    if not path.exists():
        with lock("kubelet"):
            if not path.exists():
                with stage(f"kubelet: build it from {SUITE}'s source"), tempfile.TemporaryDirectory() as work:
                    build(Path(work), path)
    return path


def build(work: Path, path: Path) -> None:
    """The sources have all that they are made of; outside a module, as Debian builds them."""
    if missing := [name for name in PACKAGES if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode]:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        run([*sudo, "apt-get", "install", "-y", "-q", "--no-install-recommends", *missing])
    (work / "sources.list").write_text(f"deb-src {mirror()} {SUITE} main\n")
    (work / "lists/partial").mkdir(parents=True)
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={work}/sources.list", "-o", "Dir::Etc::sourceparts=-",
           "-o", f"Dir::State::lists={work}/lists"]  # fmt: skip
    for words in (["update"], ["source", "--download-only", SOURCE]):
        subprocess.run([*apt, *words], cwd=work, check=True, capture_output=True)
    tree = work / "go/src" / MODULE
    tree.parent.mkdir(parents=True)
    run(["dpkg-source", "-x", str(next(work.glob("*.dsc"))), str(tree)])
    env = os.environ | {"GOPATH": f"{work}/go", "GOCACHE": f"{work}/cache", "GO111MODULE": "off", "CGO_ENABLED": "0"}
    made = work / "kubelet"
    words = ["go", "build", "-ldflags", "-s -w", "-o", str(made), f"{MODULE}/cmd/kubelet"]
    done = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"the kubelet was not built: {done.stderr[-2000:]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(made, path.with_suffix(".partial"))
    path.with_suffix(".partial").rename(path)


def put(vm: Vm) -> None:
    """Have it in the host."""
    program, *words = vm.ssh_argv("root")
    with binary().open("rb") as file:
        script = "cat >/usr/bin/kubelet && chmod 755 /usr/bin/kubelet"
        subprocess.run([program, *words, script], stdin=file, cwd=vm.folder, check=True)
