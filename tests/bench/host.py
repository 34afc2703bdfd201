"""A host out of recorded answers: hardened by `strict`, with Docker and containers of it, Podman, LXC and nspawn.

No two hosts of a fleet say the very same, so this one comes in variants: other processes, containers and boots. What
these are named by is replaced wherever it stands, so that an answer stays as coherent as the recorded ones are.
"""

from __future__ import annotations

import base64
import gzip
import random
import re
from collections import Counter
from collections.abc import Iterator

from deploys.core.control import judge
from deploys.core.policy_file import load_policy
from deploys.kernel.rules import KernelRules
from deploys.run.look import facts_of
from deploys.subjects import SUBJECTS
from facts.core.survey import Survey
from tests.support.recorded import frame

POLICY = "strict"
CASES = {
    "apparmor.AppArmor": "debian-13-ours-enforced", "audit.Audit": "debian-13-hardened",
    "cgroups.Cgroups": "debian13", "containers.Containers": "debian13-hardened-form",
    "core.record.Record": "debian13-hardened", "core.system.System": "debian13", "denials.Denials": "nothing-refused",
    "engines.containerd.Containerd": "debian13-docker", "engines.docker.Docker": "debian13-hardened",
    "engines.incus.Incus": "no-incus", "engines.kubelet.Kubelet": "no-kubelet", "engines.libvirt.Libvirt": "no-libvirt",
    "engines.lxc.Lxc": "debian13-hardened", "engines.nspawn.Nspawn": "debian13-stock",
    "engines.podman.Podman": "debian13-stock", "engines.rootless.Rootless": "nobody-can",
    "files.Files": "debian13-stock", "kernel.Kernel": "debian13", "kvm.Kvm": "no-kvm", "lsm.Lsm": "debian-13-hardened",
    "networks.bridges.Bridges": "debian14-guests", "networks.Networks": "debian13-guarded",
    "seccomp.Seccomp": "debian-13-hardened", "selinux.SELinux": "debian-13-hardened",
    "userns.Userns": "debian13-hardened",
}  # fmt: skip
# What is another on every host: ids of containers and networks, also cut short, processes that are named as such, boots
# and disks, the clock, the host's name. Digests of files and images are not.
ID = re.compile(r"(?:docker-|libpod-|moby/|\"[iI]d\": ?\")([0-9a-f]{64})")
NAMED = re.compile(r"(?<=\n@n block /proc/sys/kernel/hostname\n)\S+|(?<=\n@n block clock\n)\d+")
PID = re.compile(r"/proc/(\d{3,})/")
BOOT = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def answer() -> str:
    """The recorded answers as one frame, with the sysctls that the policy demands, live and on disk."""
    text = "\n".join(frame(CASES))
    wanted = load_policy(POLICY, SUBJECTS)[KernelRules].sysctls or {}
    for name, value in wanted.items():
        path = f"/proc/sys/{name.replace('.', '/')}"
        text = re.sub(rf"^{re.escape(path)}:.*$", f"{path}:{value}", text, flags=re.MULTILINE)
    file = "".join(f"{name} = {value}\n" for name, value in wanted.items())
    mark = "@n block /usr/lib/sysctl.d/10-coredump-debian.conf\n"
    assert mark in text
    return text.replace(mark, f"@n block /etc/sysctl.d/99-zz-hullproof.conf\n{file}\n@n status 0\n{mark}")


def variants(count: int) -> Iterator[str]:
    """The answer of as many hosts, packed as a host sends it."""
    text = answer()
    ids, boots = set(ID.findall(text)), set(BOOT.findall(text))
    pids = set(PID.findall(text))
    words = re.compile(
        "|".join([*(f"{one[:12]}(?:{one[12:]})?" for one in ids), *boots, *(rf"\b{pid}\b" for pid in pids)])
    )
    for number in range(count):
        chance = random.Random(number)
        new = {one[:12]: f"{chance.getrandbits(256):064x}" for one in ids}
        new |= {pid: str(chance.randrange(10_000, 99_999)) for pid in pids}
        new |= {boot: f"{boot[:-12]}{chance.getrandbits(48):012x}" for boot in boots}

        def other(found: re.Match[str], new: dict[str, str] = new) -> str:
            return (new.get(found[0]) or new[found[0][:12]])[: len(found[0])]

        names = iter((f"web{number}", str(1_790_000_000 + number)))
        varied = NAMED.sub(lambda _, names=names: next(names), words.sub(other, text))  # type: ignore[misc]
        yield base64.b64encode(gzip.compress(varied.encode(), mtime=0)).decode()


def judged(packed: str) -> Counter[str]:
    """The states of its findings."""
    survey = Survey.parse(facts_of(SUBJECTS), [packed])
    controls = [control for subject in SUBJECTS for control in subject.controls]
    return Counter(finding.state.value for finding in judge(controls, survey, load_policy(POLICY, SUBJECTS)))
