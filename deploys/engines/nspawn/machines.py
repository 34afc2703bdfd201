"""What single machines have in place of what systemd starts all of them with: lines of their own files that weaken."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.control import Verdict, failed, passed, some
from deploys.core.policy import Policy
from deploys.engines.nspawn.rules import NspawnRules
from deploys.engines.nspawn.start import NO, decided
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.nspawn.nspawn import Nspawn, NspawnReading, Word

GIVES = (
    "Capability", "AmbientCapability", "Bind", "BindReadOnly", "BindUser", "Overlay", "OverlayReadOnly", "Interface",
)  # fmt: skip
OF_UNITS = ("ExecStart", "TasksMax", "MemoryMax", "MemorySwapMax", "DevicePolicy", "DeviceAllow", "Slice",
            "EnvironmentFile")  # fmt: skip
# Of these the kernel gives less by itself; other limits are none without a word. Those of its unit no machine gets:
# systemd-nspawn sets its own.
LIMITS = ("LimitNPROC", "LimitNOFILE", "LimitMEMLOCK", "LimitSIGPENDING", "LimitMSGQUEUE", "LimitNICE", "LimitRTPRIO")
RESET = ("TasksMax", "MemoryMax", "MemorySwapMax", "DevicePolicy", "Slice")  # without a value they are systemd's own


def _of_machine(word: Word) -> bool:
    return word.at.partition(":")[0].endswith(".nspawn")


def weakens(word: Word) -> bool:
    """Whether a line gives a machine more than it would have without it (systemd.nspawn(5), systemd.exec(5))."""
    value = word.value.lower()
    if word.key == "OOMScoreAdjust":
        return value.startswith("-")
    if not _of_machine(word):
        loose = word.key == "Environment" and "systemd_" in value  # SYSTEMD_SECCOMP=0 and its like
        return loose or word.key in RESET or (word.key in OF_UNITS and bool(value))
    if word.key in LIMITS:
        return "infinity" in value
    if word.key == "PrivateUsers":
        return value in (*NO, "identity", "managed")
    if word.key in ("NoNewPrivileges", "Private", "VirtualEthernet"):
        return value in NO
    if word.key == "SystemCallFilter":
        return bool(value) and not value.startswith("~")
    return word.key in GIVES and bool(value)


def _counting(reading: NspawnReading) -> Iterator[Word]:
    start = known(reading.start)
    for word in reading.words:
        if weakens(word) and not (_of_machine(word) and decided(start, word)):
            yield word


def check(survey: Survey, policy: Policy) -> Verdict:
    declared = policy[NspawnRules].machines or []
    found = [word for word in _counting(survey[Nspawn]) if word.machine not in declared]
    if found:
        said = [f"{word.key}={word.value} of {word.machine} ({word.at})" for word in found]
        return failed(f"machines have what weakens them: {some(said)}", declared=declared, disk=said, live=said)
    return passed("no machine has a file of its own that weakens it", declared=declared, disk=[], live=[])
