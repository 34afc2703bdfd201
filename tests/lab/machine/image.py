"""Disk images of the lab's hosts: built from packages at most once, kept by what they are made from."""

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

GUEST = Path(__file__).with_name("guest")
MIRROR = "HULLPROOF_LAB_MIRROR"  # the variable that names a mirror of Debian, where this machine's apt has none
DISK_SIZE = "8G"
BASE_VARIANTS = ("bare", "stock")
BUILD_SCRIPTS = ("essential", "bare", "disk", "stock")

PACKAGES = (
    *("linux-image-cloud-amd64", "grub-pc", "zstd", "systemd-sysv", "dbus", "udev", "kmod", "procps"),
    *("openssh-server", "sudo", "adduser", "e2fsprogs", "iproute2", "netbase", "libcap2-bin"),
)
# What tests install later, offline: what harden asks for, and other managers, switches and engines to take part.
REPOSITORY = (
    "apparmor nftables auditd selinux-basics selinux-policy-default needrestart podman"
    " ifupdown network-manager netplan.io openvswitch-switch firewalld ufw lxc dnsmasq-base"
    " uidmap dbus-user-session crun catatonit passt slirp4netns rootlesskit"
    " lxcfs systemd-container libvirt-daemon-system libvirt-clients libvirt-daemon-driver-lxc"
    " libvirt-daemon-driver-qemu qemu-system-x86 attr"
)


class LabError(RuntimeError):
    """The lab cannot do what was asked; the message says what to look at."""


@dataclass(frozen=True)
class Distribution:
    """A Debian release that the lab can boot, and what its packages are called there."""

    name: str
    suite: str
    docker: str
    extra: tuple[str, ...] = ()
    later: str = field(default="", repr=False)  # of the repository, where not every release has them


DISTRIBUTIONS = {
    "debian12": Distribution("debian12", "bookworm", "docker.io"),
    # trixie moved the client out of docker.io, and the sysctl defaults out of procps.
    "debian13": Distribution(
        "debian13", "trixie", "docker.io docker-cli", ("linux-sysctl-defaults",), "incus-base incus-client curl"
    ),
    "debian14": Distribution("debian14", "forky", "docker.io docker-cli", ("linux-sysctl-defaults",)),
}


def cache_dir() -> Path:
    """Where images, snapshots and running hosts live: outside the repository, shared by every checkout."""
    own = os.environ.get("HULLPROOF_LAB_CACHE")
    xdg = os.environ.get("XDG_CACHE_HOME")
    path = Path(own) if own else (Path(xdg) if xdg else Path.home() / ".cache") / "hullproof-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def log(message: str) -> None:
    """One progress line; a person watches the first build."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def stage(what: str) -> Iterator[None]:
    """Say what begins, and how long it took once it is done."""
    log(f"{what} …")
    began = time.monotonic()
    yield
    log(f"{what}: {time.monotonic() - began:.0f} s")


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Keep a second process from building the same thing; the kernel drops the lock of a killed one."""
    locks = cache_dir() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if name.startswith(("image", "snapshot")):
                log(f"another process builds {name}; waiting for it …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(*parts: str) -> str:
    """A short name for what something is made from."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def guest_script(name: str) -> str:
    """The text of a script that runs inside a root or a host."""
    return (GUEST / name).read_text()


def distribution(name: str) -> Distribution:
    """Look a distribution up, with the known names in the message when it is not one."""
    try:
        return DISTRIBUTIONS[name]
    except KeyError:
        raise LabError(f"no distribution {name!r}; there are {', '.join(DISTRIBUTIONS)}") from None


def key_path() -> Path:
    """The lab's own SSH key, made on first use and baked into every image."""
    path = cache_dir() / "key" / "id_ed25519"
    with lock("key"):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hullproof-lab", "-f", str(path)])
    return path


def public_key() -> str:
    """The public half of the lab's key."""
    return key_path().with_suffix(".pub").read_text().strip()


def run(argv: list[str], *, env: dict[str, str] | None = None) -> str:
    """Run a command of the controller; on failure show the end of what it said."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env)
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed on this machine") from None
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise LabError(f"{argv[0]} failed ({done.returncode}):\n" + "\n".join(said.splitlines()[-30:]))
    return said


def base_key(dist: Distribution) -> str:
    """What a distribution's disk images are made from."""
    scripts = [guest_script(f"{name}.sh") for name in BUILD_SCRIPTS]
    return digest(repr(dist), DISK_SIZE, f"{REPOSITORY} {dist.later}".strip(), *PACKAGES, public_key(), *scripts)


def base_dir(dist: Distribution) -> Path:
    """The folder of a distribution's disk images; built when it is not there yet."""
    path = cache_dir() / "images" / f"{dist.name}-{base_key(dist)}"
    if path.exists():
        return path
    with lock(f"image-{dist.name}"):
        if not path.exists():
            with stage(f"{dist.name}: install {dist.suite} from packages (bare and stock)"):
                build(dist, path)
    return path


def build(dist: Distribution, path: Path) -> None:
    """Build beside the final place and rename: a build that is killed leaves nothing that looks complete."""
    path.parent.mkdir(exist_ok=True)
    debs = cache_dir() / "debs" / dist.suite
    debs.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="hullproof-lab-"))
    work.chmod(0o711)
    try:
        for variant in BASE_VARIANTS:
            # The unprivileged build's root is another user's id out here: it may write these files only.
            (work / f"{variant}.raw").touch()
            (work / f"{variant}.raw").chmod(0o666)
        run(mmdebstrap_argv(dist, work, debs), env=build_env(dist))
        partial = path.with_name(f".{path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for variant in BASE_VARIANTS:
            run(["cp", "--sparse=always", str(work / f"{variant}.raw"), str(partial)])
        partial.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def build_env(dist: Distribution) -> dict[str, str]:
    """What the build's scripts are told."""
    scripts = {f"LAB_{name.upper()}": guest_script(f"{name}.sh") for name in BUILD_SCRIPTS}
    return (
        os.environ
        | scripts
        | {
            "LAB_HOSTNAME": dist.name,
            "LAB_PUBKEY": public_key(),
            "LAB_REPOSITORY": f"{dist.docker} {REPOSITORY} {dist.later}",
            "LAB_PACKAGES": f"{dist.docker} nftables",
            "LAB_UUID": Path("/proc/sys/kernel/random/uuid").read_text().strip(),
            "LAB_DISK_SIZE": DISK_SIZE,
            "DEBIAN_FRONTEND": "noninteractive",
        }
    )


def hook(script: str) -> str:
    """The command that runs one of our scripts at a step of the build; `$1` is the new root."""
    return f'sh -c "$LAB_{script.upper()}" {script} "$1"'


def mmdebstrap_argv(dist: Distribution, work: Path, debs: Path) -> list[str]:
    """One installation gives both disks: the bare one is written, Docker is added, the stock one follows.

    The scripts come as text in the environment: an unprivileged build could not read files below a closed
    home folder.
    """
    out = shlex.quote(str(debs))
    hooks = [hook("bare"), f"sync-out /var/cache/apt/archives {out}"]
    hooks += ['rm -rf "$1"/var/cache/apt/archives/*.deb']
    hooks += [f"LAB_DISK={shlex.quote(str(work / 'bare.raw'))} {hook('disk')}", hook("stock")]
    hooks += [f"LAB_DISK={shlex.quote(str(work / 'stock.raw'))} {hook('disk')}"]
    return [
        "mmdebstrap",
        "--variant=apt",
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        "--format=null",
        f"--include={','.join((*PACKAGES, *dist.extra))}",
        "--skip=download/empty",
        "--skip=essential/unlink",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")),
        *(f"--aptopt={option}" for option in apt_options()),
        '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
        f"--setup-hook=sync-in {out} /var/cache/apt/archives",
        f"--essential-hook={hook('essential')}",
        *(f"--customize-hook={each}" for each in hooks),
        dist.suite,
        "-",
        # Main alone: the security suite then holds a newer kernel, so a real update is waiting.
        f"deb {mirror()} {dist.suite} main",
    ]


def mirror() -> str:
    """The mirror of Debian that the lab installs from."""
    own = os.environ.get(MIRROR, "").rstrip("/")
    return own or apt_mirror("Debian")


def security_mirror() -> str:
    """The mirror of Debian's security updates: beside a mirror that was named, as Debian lays both out."""
    own = os.environ.get(MIRROR, "").rstrip("/")
    return f"{own}-security" if own else apt_mirror("Debian-Security")


def apt_mirror(label: str) -> str:
    """The mirror of what `label` names that this machine's own apt uses. apt knows labels once it has fetched lists."""
    filters = ["Created-By: Packages", "Origin: Debian", f"Label: {label}"]
    try:
        found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *filters]).split()
    except LabError:  # no apt here
        found = []
    addresses = [address.rstrip("/") for uri in found for address in _addresses(uri)]
    for address in addresses:
        if address.startswith(("http://", "https://")):
            return address
    raise LabError(
        f"the apt of this machine has no package lists of a mirror of {label}. Run `apt-get update`, or on a machine"
        f" that is not Debian set {MIRROR} to the address of a Debian mirror, such as http://mirror.example/debian"
    )


def _addresses(uri: str) -> list[str]:
    """Where apt's entry leads: to itself, or to what a list of mirrors names, as Debian's cloud images have one."""
    path = Path(uri.partition("mirror+file:")[2].rstrip("/") or "/")
    return path.read_text().split() if path.is_file() else [uri]


def apt_options() -> list[str]:
    """The machine's own proxies and checks, unread by mmdebstrap's apt. They stay out of the image."""
    try:
        dump = run(["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"])
    except LabError:
        return []
    wanted = ("proxy", "check-valid-until", "check-date")
    return [line.rstrip(";") for line in dump.splitlines() if any(word in line.lower() for word in wanted)]
