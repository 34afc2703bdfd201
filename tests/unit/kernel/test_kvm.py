"""KVM: guests that run guests of their own, and who may open /dev/kvm."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploys.core.control import State, Verdict, judge
from deploys.kernel.kvm import CONTROLS
from facts.core.frame import PRELUDE, read_frame
from facts.core.reading import Block, Section, Unknown
from facts.core.survey import Survey
from facts.core.system import System
from facts.kernel.kernel import Kernel
from facts.kvm import Kvm, KvmReading, Node
from tests.support.kernel_host import KERNEL, policy_of, survey_of

ROOTS = Node("crw-rw----", 0, 104, "kvm", ("libvirt-qemu",))
INTEL = KvmReading(ROOTS, "vmx", {"kvm_intel": True}, {})
AMD = replace(INTEL, flag="svm", nested={"kvm_amd": False})
OFF = {"kvm_intel": (False, "/etc/modprobe.d/kvm.conf")}


def found(name: str, kvm: Any, release: str = "6.12.1", cmdline: str = "", **rules: Any) -> Verdict:
    kernel = replace(KERNEL, release=release, cmdline=tuple(cmdline.split()))
    host = survey_of(kernel)
    host = Survey({Kernel: kernel, System: host[System], Kvm: kvm})
    findings = {each.control.id: each for each in judge(CONTROLS, host, policy_of(**rules))}
    return findings[f"kernel.{name}"].verdict


NESTED: dict[str, tuple[Any, dict[str, str], State, str]] = {
    "by default": (INTEL, {}, State.FAIL, "nested of kvm_intel (VMX) is on, as nothing on disk sets it"),
    "by a file": (replace(INTEL, options={"kvm_intel": (True, "/etc/modprobe.d/kvm.conf")}), {}, State.FAIL,
                  "is on, as /etc/modprobe.d/kvm.conf says: guests run"),
    "off from the next boot on": (replace(INTEL, options=OFF), {}, State.PENDING_REBOOT, "until a reboot"),
    "off": (replace(INTEL, nested={"kvm_intel": False}, options=OFF), {}, State.PASS, ""),
    "off for now": (AMD, {}, State.FAIL, "a restart would lose it"),
    "off by the kernel's default": (replace(INTEL, nested={"kvm_intel": False}), {"release": "4.18.0"}, State.PASS, ""),
    "on by the command line": (replace(INTEL, options=OFF), {"cmdline": "kvm-intel.nested=1"}, State.FAIL,
                               "command line says (kvm-intel.nested=1)"),
    "another module's file": (replace(INTEL, options={"kvm_amd": OFF["kvm_intel"]}), {}, State.FAIL, "nothing on disk"),
    "no flag": (replace(INTEL, flag=""), {}, State.NOT_APPLICABLE, "neither VMX nor SVM"),
    "flags not read": (replace(INTEL, flag=Unknown("late")), {}, State.UNKNOWN, "late"),
    "no module": (replace(INTEL, nested={}), {}, State.NOT_APPLICABLE, "no module"),
    "no device": (replace(INTEL, device=None), {}, State.NOT_APPLICABLE, "there is no /dev/kvm"),
    "unread": (Unknown("no"), {}, State.UNKNOWN, "no"),
}  # fmt: skip


@pytest.mark.parametrize("case", NESTED)
def test_nested_guests(case: str) -> None:
    kvm, more, state, words = NESTED[case]
    verdict = found("nested-virtualisation", kvm, **more, nested_virtualisation=False)
    assert (verdict.state, words in verdict.reason) == (state, True), verdict.reason
    assert state.holds or state is State.UNKNOWN or "(kernel.nested_virtualisation)" in verdict.reason
    assert found("nested-virtualisation", kvm, **more).state is State.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("node", "state", "words"),
    [
        (ROOTS, State.PASS, "only root"),
        (replace(ROOTS, members=("libvirt-qemu", "ops")), State.FAIL, "ops may open it, of the group kvm"),
        (replace(ROOTS, mode="crw-rw-rw-"), State.FAIL, "any user may open it (crw-rw-rw-)"),
        (replace(ROOTS, mode="crw-rw----+"), State.FAIL, "an access control list lets more users"),
        (replace(ROOTS, mode="crw-------", members=("ops",)), State.PASS, "only root"),
        (replace(ROOTS, owner=1000), State.FAIL, "it belongs to user 1000"),
        (None, State.NOT_APPLICABLE, "there is no /dev/kvm"),
        (Unknown("no"), State.UNKNOWN, "no"),
    ],
)
def test_who_may_open_the_device(node: Any, state: State, words: str) -> None:
    verdict = found("kvm-users", replace(INTEL, device=node), kvm_users=["libvirt-qemu"])
    assert (verdict.state, words in verdict.reason) == (state, True), verdict.reason
    assert found("kvm-users", replace(INTEL, device=node)).state is State.NOT_APPLICABLE


@pytest.mark.parametrize(("name", "of"), [("flags", "flag"), ("accounts", "device")])
@pytest.mark.parametrize(("status", "known"), [(0, True), (1, True), (2, False), (124, False)])
def test_what_was_not_read_to_its_end_is_unknown(name: str, of: str, status: int, known: bool) -> None:
    blocks = {"device": Block(0, "crw-rw---- 1 0 104 10, 232 Nov 30 22:30 /dev/kvm"), name: Block(status, "")}
    assert isinstance(getattr(Kvm.parse(Section(blocks)), of), Unknown) is not known


def read(at: Path) -> KvmReading:
    """What the script reads of a host whose files lie at `at`."""
    script = Kvm.script
    for path in ("/dev/kvm", "/sys/module", "/etc/", "/run/", "/usr/", "/lib/", "/proc/cpuinfo"):
        script = script.replace(f" {path}", f" {at}{path}").replace(f"={path}", f"={at}{path}")
    done = subprocess.run(["sh", "-c", f"N=n\n{PRELUDE}\n{script}"], capture_output=True, text=True, check=True)
    said = done.stdout.replace(str(at), "").replace("-rw-", "crw-", 1)  # the device is a file here
    [section] = read_frame(f"@hullproof n\n@n section x\n{said}\n@n end x 0\n@n done".split("\n")).values()
    assert isinstance(section, Section)
    reading = Kvm.read(section)
    assert isinstance(reading, KvmReading)
    return reading


def test_the_script_reads_a_host(tmp_path: Path) -> None:
    for name, text in {
        "dev/kvm": "", "sys/module/kvm_intel/parameters/nested": "Y\n",
        "proc/cpuinfo": "flags\t\t: fpu vmx ssse3\n" * 8,
        "etc/group": f"mine:x:{os.getgid()}:ops\nother:x:7:eve\n", "etc/passwd": f"a:x:5:{os.getgid()}::/:/bin/sh\n",
        "usr/lib/modprobe.d/kvm.conf": "options kvm_intel nested=1\n",
        "etc/modprobe.d/z.conf": " options kvm_intel nested=0\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "dev/kvm").chmod(0o660)
    assert read(tmp_path) == KvmReading(
        Node("crw-rw----", os.getuid(), os.getgid(), "mine", ("ops", "a")), "vmx", {"kvm_intel": True},
        {"kvm_intel": (False, "/etc/modprobe.d/z.conf")},
    )  # fmt: skip
    (tmp_path / "dev/kvm").unlink()
    assert read(tmp_path) == KvmReading(None, "", {}, {})
