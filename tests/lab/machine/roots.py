"""Directories that stand for hosts: a Debian root with apt, dnf and rpm to run package managers in, for real."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploys.kernel.rollout import library
from facts.core.frame import survey_script
from facts.kernel.kernel import Kernel, KernelReading
from tests.lab.machine.image import cache_dir, digest, lock, mirror, run

PACKAGES = "dnf,rpm,createrepo-c,grub-common"
HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A root of its own, with a /proc and the devices that programs expect.
ENTER = """\
mount -t proc proc "$0/proc"; mount -t tmpfs dev "$0/dev"
for n in null zero urandom random; do : >"$0/dev/$n"; mount --bind "/dev/$n" "$0/dev/$n"; done
eval "$1"
exec chroot "$0" /bin/sh -s
"""


class Root:
    """A directory that stands for a host; `tools` is its PATH."""

    def __init__(self, path: Path, tools: str) -> None:
        self.path = path
        self.tools = tools

    def begin(self, script: str, tools: str = "", before: str = "") -> subprocess.Popen[str]:
        """All that runs in it ends with the process. `before` runs outside of it, and sees its mounts."""
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, str(self.path), before]
        begun = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert begun.stdin is not None
        begun.stdin.write(f"export PATH={tools or self.tools}\n{script}\n")
        begun.stdin.close()
        begun.stdin = None
        return begun

    def sh(self, script: str, tools: str = "", before: str = "") -> subprocess.CompletedProcess[str]:
        begun = self.begin(script, tools, before)
        out, _ = begun.communicate(timeout=300)
        return subprocess.CompletedProcess(script, begun.returncode, out)

    def call(self, call: str) -> str:
        done = self.sh(f"{library('packages')}\n{call}")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def look(self) -> KernelReading:
        script = survey_script([Kernel]).replace(f"PATH={HOST_PATH}", f"PATH={self.tools}")
        found = Kernel().process(self.sh(script).stdout.splitlines())
        assert isinstance(found, KernelReading), found
        return found


@contextmanager
def root(path: Path, setup: Path, tools: str) -> Iterator[Root]:
    """A root at `path` of which `setup` has made the host that a test is about; gone when that is done."""
    packed = cache_dir() / f"rpm-root-{digest(PACKAGES)}.tar"
    with lock("rpm-root"):
        if not packed.exists():
            words = ["mmdebstrap", "--variant=apt", f"--include={PACKAGES}", "bookworm", str(packed) + ".new.tar"]
            run([*words, f"deb {mirror()} bookworm main"])
            Path(str(packed) + ".new.tar").rename(packed)
    path.mkdir()
    try:
        run(["tar", "-C", str(path), "-xf", str(packed)])
        there = Root(path, tools)
        made = there.sh(setup.read_text(), HOST_PATH)
        assert made.returncode == 0, made.stdout
        yield there
    finally:
        run(["rm", "-rf", str(path)])
