"""A real kernel update for a lab host: the security suite's kernel, fetched here, offered there by its suite's name."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
from pathlib import Path

from tests.lab import LabError, Vm
from tests.lab.machine.image import apt_options, cache_dir, distribution, lock, run, security_mirror

META = "linux-image-cloud-amd64"
THERE = "/var/lib/lab-security"


def newer(name: str) -> tuple[str, Path]:
    """The release of the security suite's kernel, and a repository with it, fetched at most once."""
    suite = f"{distribution(name).suite}-security"
    folder = cache_dir() / "kernels" / f"{suite}-zstd"
    with lock(f"kernels-{suite}"):
        if not (folder / "release").exists():
            shutil.rmtree(folder, ignore_errors=True)
            fetch(suite, folder)
    return (folder / "release").read_text().strip(), folder / "repository"


def fetch(suite: str, folder: Path) -> None:
    state = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True)
    (state / "sources.list").write_text(f"deb [trusted=yes] {security_mirror()} {suite} main\n")
    options = [
        f"Dir::State::lists={state}/lists", f"Dir::Cache={state}/cache", f"Dir::Etc::sourcelist={state}/sources.list",
        "Dir::Etc::sourceparts=/dev/null", "Dir::State::status=/dev/null", "APT::Sandbox::User=root", *apt_options(),
    ]  # fmt: skip
    flags = [word for option in options for word in ("-o", option.replace(' "', "=").rstrip('"'))]
    run(["apt-get", *flags, "-qq", "update"])
    meta = run(["apt-cache", *flags, "show", "--no-all-versions", META]).strip()
    found = re.search(r"^Depends: .*?linux-image-(\d\S*)", meta, re.MULTILINE)
    if not found:
        raise LabError(f"{suite} has no {META}")
    image = f"linux-image-{found[1]}"
    pool = folder / "repository" / "pool"
    index = folder / "repository" / "dists" / suite / "main" / "binary-amd64"
    pool.mkdir(parents=True)
    index.mkdir(parents=True)
    rows = []
    for package in (META, image):
        run(["sh", "-c", 'cd "$0" && apt-get "$@"', str(pool), *flags, "-qq", "download", package])
        (deb,) = pool.glob(f"{package}_*.deb")
        pack_lightly(deb)
        fields = {
            "Filename": f"pool/{deb.name}",
            "Size": deb.stat().st_size,
            "SHA256": hashlib.sha256(deb.read_bytes()).hexdigest(),
        }
        shown = run(["apt-cache", *flags, "show", "--no-all-versions", package]).strip()
        kept = [line for line in shown.splitlines() if line.split(":")[0] not in {*fields, "MD5sum"}]
        rows.append("\n".join(kept + [f"{name}: {value}" for name, value in fields.items()]))
    (index / "Packages").write_text("\n\n".join(rows) + "\n")
    shutil.rmtree(state)
    (folder / "release").write_text(found[1] + "\n")


def pack_lightly(deb: Path) -> None:
    """The same package in zstd: to unpack xz costs an emulated processor minutes."""
    tree = deb.with_suffix(".tree")
    run(["dpkg-deb", "--raw-extract", str(deb), str(tree)])
    run(["dpkg-deb", "-Zzstd", "-z3", "--build", str(tree), str(deb)])
    shutil.rmtree(tree)


def offer(vm: Vm, distribution_name: str) -> str:
    """Have the host's apt offer the newer kernel, as after its daily look; the new kernel's release."""
    release, repository = newer(distribution_name)
    packed = vm.folder / "kernels.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(repository, arcname=".")
    vm.put(packed, "/var/tmp/kernels.tar")
    suite = f"{distribution(distribution_name).suite}-security"
    vm.ssh(
        f"mkdir -p {THERE} && tar -C {THERE} -xf /var/tmp/kernels.tar && rm /var/tmp/kernels.tar"
        f" && chmod -R a+rX {THERE}"
        f" && echo 'deb [trusted=yes] file:{THERE} {suite} main' >/etc/apt/sources.list.d/security.list"
        " && apt-get -qq update",
        timeout=300,
    )
    return release


def early(vm: Vm, release: str, script: str) -> None:
    """Have the initial RAM disk of a kernel run this before it looks for drivers: a second archive before its own, as
    microcode comes in. To make it anew takes minutes on an emulated processor."""
    vm.ssh(
        "cd $(mktemp -d) && mkdir -p conf/conf.d && cat >conf/conf.d/drill && find conf | cpio -o -H newc >early"
        f" && cat early /boot/initrd.img-{release} >both && cp both /boot/initrd.img-{release} && sync",
        input=script,
    )
