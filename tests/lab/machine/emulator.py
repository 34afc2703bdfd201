"""The emulator: QEMU out of Debian's packages, unpacked into the cache beside the images and run from there.

Not this machine's own, which may be old: up to QEMU 7.2 (Debian 12) a program is translated anew at each random address
that it is loaded at, and a fork costs three times as much.
"""

import functools
import os
import shutil
import tempfile
from pathlib import Path

from tests.lab.machine.image import apt_options, cache_dir, digest, lock, mirror, run, stage

SUITE = "trixie"
PACKAGES = "qemu-system-x86,qemu-utils"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def program(name: str) -> list[str]:
    """The words that run one of QEMU's programs with its own libraries."""
    root = unpacked()
    libraries = root / LIBRARIES
    return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(root / "usr/bin" / name)]


def firmware() -> list[str]:
    """Where the machine's firmware lies."""
    return [word for name in ("qemu", "seabios") for word in ("-L", str(unpacked() / "usr/share" / name))]


@functools.cache
def unpacked() -> Path:
    """The folder with QEMU and all that it needs; made now if need be."""
    path = cache_dir() / "emulator" / digest(SUITE, PACKAGES)
    if not path.exists():
        with lock("image-emulator"):
            if not path.exists():
                with stage(f"QEMU: unpack it from {SUITE}'s packages"):
                    unpack(path)
    return path


def unpack(path: Path) -> None:
    """Unpack beside the final place and rename, as images are made."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with tempfile.TemporaryDirectory(prefix="hullproof-lab-") as work:
        archive = str(Path(work) / "root.tar")
        run(mmdebstrap_argv(archive))
        run(["tar", "-C", str(partial), "--no-same-owner", "--exclude=./dev", "-xf", archive])
    partial.rename(path)


def mmdebstrap_argv(archive: str) -> list[str]:
    return [
        "mmdebstrap",
        "--variant=extract",
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        f"--include={PACKAGES}",
        *(f"--aptopt={option}" for option in apt_options()),
        SUITE,
        archive,
        f"deb {mirror()} {SUITE} main",
    ]
