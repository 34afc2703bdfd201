"""Kernel self-protection: what an ordinary user of the host (nobody) learns or does."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import all_denied, pointers_hidden

SYSCTL = "kernel.sysctl."


@pytest.mark.proof("an ordinary user reads the kernel's log", control=SYSCTL + "kernel.dmesg_restrict")
def test_kernel_log(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: all_denied(scenarios.nobody(prober), "syslog", "kmsg"))


@pytest.mark.proof(
    "an ordinary user learns where the kernel lies in memory", control="kernel.sysctl.kernel.kptr_restrict"
)
def test_kernel_pointers(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: pointers_hidden(scenarios.nobody(prober)["kallsyms"]))


@pytest.mark.proof("an ordinary user calls bpf()", control=SYSCTL + "kernel.unprivileged_bpf_disabled")
def test_bpf(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: scenarios.nobody(prober)["bpf"])


@pytest.mark.proof("an ordinary user profiles the kernel", control=SYSCTL + "kernel.perf_event_paranoid")
def test_perf_events(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: scenarios.nobody(prober)["perf"])


@pytest.mark.proof(
    "an ordinary user traces another process of his own", control="kernel.sysctl.kernel.yama.ptrace_scope"
)
def test_ptrace(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: scenarios.nobody(prober)["ptrace"])
