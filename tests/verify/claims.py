"""Which control an attempt in a container proves, engine by engine, what the policy has to declare for that, and what
an engine has no setting for."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from deploys.core.policy import Policy
from deploys.engines.lxc.filters import REFUSED
from deploys.engines.lxc.rules import LxcRules
from deploys.engines.nspawn.rules import NspawnRules
from deploys.engines.podman.rules import PodmanRules
from deploys.subjects import SUBJECTS
from tests.verify import scenarios
from tests.verify.probe import ENGINES, CannotTell, Outcomes, Prober
from tests.verify.verdict import Verdict, worst

RULES = {subject.name: subject.rules for subject in SUBJECTS}
# The policy's key, where it is not called as the control is.
KEYS = {
    "containers.seccomp": "containers.unfiltered",
    "containers.confined": "containers.unconfined",
    "containers.no-new-privileges": "containers.new_privileges",
    "containers.user-namespace": "containers.host_ids",
}
# The capability that a call takes, and the groups of systemd.exec(5) that calls are in.
TAKES = {"raw_socket": "NET_RAW", "mknod": "MKNOD"}
GROUPS = {"keyctl": "@keyring", "add_key": "@keyring", "mount": "@mount", "perf_event_open": "@debug"}

# What Podman's profile as shipped lets through (containers-common 0.62), unless the policy wants hullproof's instead.
SHIPPED = "the profile that comes with Podman allows it"
LETS_THROUGH = {"podman": ("setns", "keyctl", "mount"), "podman-user": ("unshare", "setns", "keyctl", "mount")}
NO_FILTER = "libvirt has no seccomp filter for containers"
OWN_MOUNTS = "mounting in a mount namespace of its own is left to a container's root"
UNSET = {
    **{(engine, "own mount"): OWN_MOUNTS for engine in ("podman-user", "lxc", "nspawn", "libvirt")},
    **{("libvirt", what): "libvirt gives ids of its own only to a domain that declares them (idmap)"
       for what in ("uid_map", "secret")},
    ("podman-user", "setuid"): "hullproof's hook for no_new_privs leaves users' containers as they are",
    ("libvirt", "setuid"): "libvirt has no setting for no_new_privs",
}  # fmt: skip


def by_engine(control: str, **own: str) -> dict[str, str]:
    """The control of each engine: one for all, but for those that have one of their own."""
    return {engine: own.get(engine, control) for engine in ENGINES}


def for_call(call: str) -> dict[str, str]:
    """The control of a system call. libvirt has no filter; the label of its containers refuses them one call."""
    libvirt = "libvirt.confined" if call == "unshare" else "containers.seccomp"
    return by_engine("containers.seccomp", docker="seccomp.default-profile", lxc="lxc.seccomp",
                     nspawn="nspawn.refused-calls", libvirt=libvirt)  # fmt: skip


def declared(policy: Policy, engine: str, control: str) -> None:
    """Raise CannotTell where the policy does not declare what the control asks. Docker is always asked, since its
    daemon is hardened by policy; and every engine whether what it makes without a word shares the host's namespaces."""
    section, _, key = KEYS.get(control, control.replace("-", "_")).partition(".")
    if engine != "docker" and control != "containers.host-namespaces" and getattr(policy[RULES[section]], key) is None:
        raise CannotTell(f"the policy does not declare {section}.{key}")


def _calls_of_nspawn(policy: Policy) -> set[str]:
    refused = policy[NspawnRules].refused_calls or []
    return {*refused, *(call for call, group in GROUPS.items() if group in refused)}


def _taking(names: Iterable[str] | None) -> set[str]:
    return {call for call, name in TAKES.items() if name in (names or ())}


# What the policy has an engine refuse, where it depends on the key's value.
REFUSES: dict[str, Callable[[Policy], Container[str]]] = {
    "lxc.seccomp": lambda policy: REFUSED[policy[LxcRules].seccomp or "guarded"],
    "nspawn.refused-calls": _calls_of_nspawn,
    "podman.capabilities": lambda policy: TAKES.keys() - _taking(policy[PodmanRules].capabilities),
    "lxc.capabilities": lambda policy: _taking(policy[LxcRules].capabilities),
    "nspawn.capabilities": lambda policy: _taking(policy[NspawnRules].capabilities),
}


def judged(prober: Prober, engine: str, control: str, what: str, judge: Callable[[Outcomes], Verdict]) -> Verdict:
    """What an attempt in the containers of an engine shows of a control, where the policy asks for it."""
    prober.version(engine)
    declared(prober.policy, engine, control)
    verdict = worst({who: judge(found) for who, found in scenarios.inside(prober, engine).items()})
    if verdict.holds is False and (why := excuse(prober.policy, engine, control, what)):
        raise CannotTell(f"{why}; {verdict.evidence}")
    return verdict


def excuse(policy: Policy, engine: str, control: str, what: str) -> str:
    """Why an attempt that got past says nothing against a control; "" where it does."""
    if engine == "containerd":
        return "ctr has no settings: what its containers get is said in each call"
    if control in REFUSES and what not in REFUSES[control](policy):
        return "the policy does not ask for it"
    if what in LETS_THROUGH.get(engine, ()) and policy[PodmanRules].seccomp != "hullproof":
        return SHIPPED
    if engine == "libvirt" and control == "containers.seccomp":
        return NO_FILTER
    return UNSET.get((engine, what), "")
