"""From what came of an attempt to whether the control holds. Pure."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.verify.probe import ORDINARY, Outcome

ABSENT = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOSYS, errno.ETIMEDOUT})  # there was nothing to be refused
NOT_SERVED = frozenset({errno.ECONNREFUSED, errno.EACCES, errno.EPERM, errno.ETIMEDOUT})  # of a TCP listener


@dataclass(frozen=True)
class Verdict:
    """A proof's end: `holds` None = cannot tell. `evidence` is what the attempt printed."""

    holds: bool | None
    evidence: str


def denied(outcome: Outcome) -> Verdict:
    """Holds where the attempt was refused by permission, or ended by a signal; anything else got past."""
    return Verdict(None if outcome.errno in ABSENT else outcome.denied, str(outcome))


def call_denied(inside: Outcome, outside: Outcome, disabled: Outcome | None = None) -> Verdict:
    """A system call in a container, judged beside the same call made by the host's root: what the kernel lacks (ENOSYS
    outside too) proves nothing, and an answer other than a refusal (EINVAL, EFAULT, ENOKEY) came from the kernel.
    `disabled`: the host's sysctl by which the kernel itself says EPERM, where it is there and not 0."""
    evidence = f"in the container: {inside}; by the host's root: {outside}"
    if outside.errno == errno.ENOSYS:
        return Verdict(None, f"this kernel has no such call; {evidence}")
    off = disabled is not None and disabled.errno != errno.ENOENT and disabled.text.strip() != "0"
    if off and inside.errno == errno.EPERM:
        return Verdict(None, f"the kernel itself refuses it, by a sysctl; {evidence}")
    return Verdict(inside.denied or inside.errno == errno.ENOSYS, evidence)


def unseen(inside: Outcome, outside: Outcome) -> Verdict:
    """Something of the host's, looked for in a container as the host finds it: by what it reads, or by a call, which
    says ENOENT of what is not there."""
    evidence = f"in the container: {inside}; by the host itself: {outside}"
    if not outside.worked:
        return Verdict(None, f"the host itself does not find it; {evidence}")
    if outside.text.strip():
        looked = inside.worked and inside.value == outside.value == 0  # a program that could not look is no look
        return Verdict(inside.text.split() != outside.text.split() if looked else None, evidence)
    there = inside.worked or inside.errno == errno.EACCES
    return Verdict(False if there else True if inside.errno == errno.ENOENT else None, evidence)


def unsignalled(inside: Outcome, outside: Outcome) -> Verdict:
    """A signal to a process of the host's, by the number that the host has for it: refused, or there is none such."""
    evidence = f"in the container: {inside}; by the host's root: {outside}"
    if not outside.worked:
        return Verdict(None, f"the host's own root cannot; {evidence}")
    return Verdict(inside.denied or inside.errno == errno.ESRCH, evidence)


def kept_apart(read: Outcome, own: Outcome, first: Outcome) -> Verdict:
    """A file with a label of somebody else, read in a container that can read its own. `first`: the label of the host's
    first process, which is `user:role:type` and more only where SELinux has a policy to go by."""
    if not re.match(r"[^:]+:[^:]+:[^:]+", first.text):
        return Verdict(None, "this host does not run with SELinux")
    return Verdict(read.denied if own.worked else None, f"a file of others: {read}; its own: {own}")


def unreached(inside: Outcome, outside: Outcome) -> Verdict:
    """A connection that must not come about, beside the host's own to the same place. A refusal is an answer, and so
    counts as reached."""
    evidence = f"from the sibling: {inside}; from the host: {outside}"
    if not outside.worked:
        return Verdict(None, f"the host itself cannot reach it; {evidence}")
    return Verdict(not inside.worked and inside.errno != errno.ECONNREFUSED, evidence)


def frames_stopped(found: Mapping[str, Outcome]) -> Verdict:
    """Raw frames on bridges of the host, beside those on a bridge of our own (hp-probe), which must come."""
    own, *others = found.values()
    evidence = "; ".join(f"{outcome.name}: {outcome.text.strip()}" for outcome in others)
    if not own.worked:
        return Verdict(None, "raw frames do not come even where nothing forbids them")
    there = [outcome for outcome in others if outcome.errno not in ABSENT]
    if not there:
        return Verdict(None, evidence)
    return Verdict(not any(outcome.worked for outcome in there), evidence)


def forgery_stopped(found: Mapping[str, Outcome]) -> Verdict:
    """A datagram with a forged address, and one with the container's own, which has to come where both are sent."""
    evidence = f"sent forged: {found['forged']}; what came: {found['ear'].text.strip() or 'nothing'}"
    if "forged" in found["ear"].text.split():
        return Verdict(False, evidence)
    return Verdict(True if found["forged"].worked and "own" in found["ear"].text.split() else None, evidence)


def neighbour_kept(found: Mapping[str, Outcome]) -> Verdict:
    """The MAC addresses at which the host had a container while another claimed to be it, and that container's own."""
    sent, (*had, own) = found["masquerade"], found["neighbour"].text.split() or [""]
    evidence = f"the claim: {sent}; the host had its neighbour, {own or 'which is nowhere'}, at {', '.join(had) or '?'}"
    if not sent.worked or not had:
        return Verdict(None, evidence)
    if set(had) != {own}:
        return Verdict(False, evidence)
    return Verdict(True if "own" in found["ear"].text.split() else None, evidence)


def all_denied(found: Mapping[str, Outcome], *names: str) -> Verdict:
    """Several ways to the same end: holds where none got past and at least one was refused."""
    ends = {name: denied(found[name]) for name in names}
    evidence = "; ".join(f"{name}: {end.evidence}" for name, end in ends.items())
    states = {end.holds for end in ends.values()}
    return Verdict(next((state for state in (False, True) if state in states), None), evidence)


def bounded(outcome: Outcome) -> Verdict:
    """More processes or memory than the policy allows: fork(2) fails with EAGAIN, and what takes too much is killed."""
    stopped = outcome.killed or outcome.errno == errno.EAGAIN
    return Verdict(True if stopped else False if outcome.worked else None, str(outcome))


def worst(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Of several whose the containers are: what holds for all of them."""
    states = {verdict.holds for verdict in verdicts.values()}
    end = next(state for state in (False, None, True) if state in states)
    told = (f"{who}: {verdict.evidence}" if who else verdict.evidence for who, verdict in verdicts.items())
    return Verdict(end, "; ".join(told))


def root_is_mapped(uid_map: Outcome) -> Verdict:
    """/proc/self/uid_map in a container (user_namespaces(7)): rows of inside, outside, count."""
    numbers = uid_map.text.split()
    if not numbers or not all(number.isdigit() for number in numbers):
        return Verdict(None, f"its uid_map cannot be read: {uid_map}")
    rows = zip(*[map(int, numbers)] * 3, strict=False)
    outside = next((out for inside, out, _ in rows if inside == 0), None)
    return Verdict(outside != 0, f"its uid_map is {' '.join(numbers)}")


def setuid_gains_nothing(ran: Outcome) -> Verdict:
    """A copy of id(1), setuid root, run by an ordinary user: the effective uid that it printed."""
    said = ran.text.strip()
    if said not in ("0", str(ORDINARY)):
        return Verdict(None, f"the program could not be run: {ran}")
    return Verdict(said != "0", f"run by uid {ORDINARY}, it had the effective uid {said}")


def pointers_hidden(grep: Outcome) -> Verdict:
    """`grep` for a line of /proc/kallsyms whose address is not zero: 0 found, 1 none, 2 not readable."""
    if grep.errno or grep.value > 2:
        return Verdict(None, str(grep))
    said = {0: f"/proc/kallsyms says {grep.text.strip()!r}", 1: "every address in /proc/kallsyms is zero"}
    return Verdict(grep.value != 0, said.get(grep.value, grep.text.strip()))


def sockets_held(found: Mapping[str, Outcome]) -> Verdict:
    """Every unix socket of the daemon."""
    names = [name for name in found if name.startswith("unix:")]
    end = all_denied(found, *names) if names else Verdict(None, "no socket of the Docker daemon was found")
    return _of_all_asked(found, "unix:", end)


def unanswered(found: Mapping[str, Outcome]) -> Verdict:
    """Every unix socket of an API that may be closed: that nothing listens there is as good as a refusal."""
    tries = {name: outcome for name, outcome in found.items() if name.startswith("unix:")}
    evidence = "; ".join(f"{name}: {outcome}" for name, outcome in tries.items())
    if any(outcome.worked for outcome in tries.values()):
        return Verdict(False, evidence)
    silent = (outcome.denied or outcome.errno in (errno.ENOENT, errno.ECONNREFUSED) for outcome in tries.values())
    return _of_all_asked(found, "unix:", Verdict(True if tries and all(silent) else None, evidence))


def listeners_held(found: Mapping[str, Outcome], who: str) -> Verdict:
    """Every TCP listener of an engine: none is best; one that asks for a client's certificate will do."""
    if found["listing"].value != 0:
        return Verdict(None, f"cannot tell: without ss (iproute2) it is not known where {who} listens")
    ends = [_listener(name[4:], found[name], found.get("tls:" + name[4:])) for name in found if name.startswith("tcp:")]
    if not ends:
        return _of_all_asked(found, "tcp:", Verdict(True, f"{who} listens on no TCP port"))
    states = {end.holds for end in ends}
    worst = next((state for state in (False, None) if state in states), True)
    return _of_all_asked(found, "tcp:", Verdict(worst, "; ".join(end.evidence for end in ends)))


def _of_all_asked(found: Mapping[str, Outcome], kind: str, end: Verdict) -> Verdict:
    """Nothing holds where something that api.sh asked for (`asked:NAME`) has no outcome."""
    asked = [name.removeprefix("asked:") for name in found if name.startswith(f"asked:{kind}")]
    silent = [name for name in asked if name not in found]
    return Verdict(None, f"nothing was said of {', '.join(silent)}") if silent and end.holds else end


def _listener(place: str, plain: Outcome, tls: Outcome | None) -> Verdict:
    if not plain.worked:
        return Verdict(True if plain.errno in NOT_SERVED else None, f"{place}: {plain}")
    if "HTTPS" not in plain.text:
        return Verdict(False, f"{place}: {plain}")
    if tls is None or tls.value == 127:
        return Verdict(None, f"{place}: whether it asks for a certificate cannot be told without curl or openssl")
    return Verdict("HTTP/" not in tls.text or " 200" not in tls.text, f"{place}, TLS without a certificate: {tls}")
