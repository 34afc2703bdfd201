"""Users who run containers without root: who may, with which ids, and whom their engines listen to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from deploys.core.change import Change, Command, Context, Install, Obstacle, Remark, Subject, Undoing, by_hand, mending
from deploys.core.control import (
    Check,
    Control,
    Severity,
    Verdict,
    failed,
    naming_key,
    only_where,
    passed,
    some,
    undeclared,
)
from deploys.core.policy import Policy
from deploys.engines.rootless import limits, ranges, shift
from deploys.engines.rootless.rules import RootlessRules, users_of
from deploys.kernel.sysctl_files import CLONE, CLOSING, RESTRICTED
from deploys.userns.controls import LIMIT
from facts.apparmor import AppArmor
from facts.cgroups import Cgroups
from facts.containers import Containers
from facts.core.reading import UnknownReading, known
from facts.core.record import Record
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines import present
from facts.engines.rootless.rootless import HELPERS, Rootless
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import as_number
from facts.userns import SUBGID, SUBUID, Userns

LINGERING = "let stay, and start "  # begins what a change says
PROGRAMS = ("podman", "buildah", "rootlesskit")  # that make user namespaces for users
PACKAGES = {"debian": ("uidmap",), "rhel": ("shadow-utils",)}


def absent(survey: Survey, policy: Policy) -> str | None:
    """A host on which nobody can run containers without root pays nothing, unless somebody is to."""
    return None if survey[Rootless].installed or users_of(policy) else "no user can run containers without root here"


def nobody(survey: Survey, policy: Policy) -> str | None:
    return None if users_of(policy) else "the policy names nobody in rootless.users"


def on_rootless(key: str, wanted: str = "", *, of_users: bool = False) -> Callable[[Check], Check]:
    name = f"rootless.{key}"
    where = only_where(absent, undeclared(RootlessRules, name), *([nobody] if of_users else []))
    return lambda check: where(naming_key(name, wanted)(check))


@on_rootless("users")
def _users(survey: Survey, policy: Policy) -> Verdict:
    declared = users_of(policy)
    if others := {user: names for user, names in present.of_users(survey).items() if user not in declared}:
        rows = [f"{user} runs {some(names)}" for user, names in others.items()]
        return failed(some(rows), declared=declared, disk=None, live=others)
    if unseen := survey[Containers].unseen:
        raise UnknownReading("; ".join(unseen))
    return passed("nobody else runs containers without root", declared=declared, disk=None, live={})


def _closed(survey: Survey) -> Iterator[tuple[str, str]]:
    """What keeps users from making user namespaces, live or from the next boot on."""
    reading, sysctls = survey[Userns], survey[Kernel].sysctls
    if not known(reading.supported):
        yield LIMIT, "this kernel was built without user namespaces"
    live = {
        CLONE: known(reading.unprivileged_userns_clone),
        RESTRICTED: known(reading.apparmor_restrict),
        LIMIT: known(reading.max_user_namespaces),
    }
    for key, now in live.items():
        stored, closing = known(sysctls.stored(key)), int(CLOSING.get(key, "0"))
        if now == closing:
            yield key, f"{key} is {now}"
        elif now is not None and stored and as_number(stored.value) == closing:
            yield key, f"{stored.file} sets {key}={stored.value} for the next boot"


def _excepted(survey: Survey) -> bool:
    """AppArmor lets programs make them that have a profile which says so, as distributions ship it for engines."""
    return any(name.rpartition("/")[2] in PROGRAMS for name in known(survey[AppArmor].profiles))


@on_rootless("users", "user namespaces open to these users", of_users=True)
def _allowed(survey: Survey, policy: Policy) -> Verdict:
    declared = users_of(policy)
    closed = {key: said for key, said in _closed(survey) if key != RESTRICTED or not _excepted(survey)}
    if RESTRICTED in closed:
        closed[RESTRICTED] += f", and no AppArmor profile of {' or '.join(PROGRAMS)} is loaded"
    if closed:
        said = list(closed.values())
        return failed(f"{some(said)}: no container of {some(declared)} starts", declared=declared, disk=said, live=said)
    return passed("they may make user namespaces", declared=declared, disk=[], live=[])


@on_rootless("ranges", "a range of ids for each of rootless.users", of_users=True)
def _ranges(survey: Survey, policy: Policy) -> Verdict:
    if wrong := ranges.wrong(survey, users_of(policy)):
        reason = some(f"{user} {why}" for user, why in wrong.items())
        return failed(reason, declared=users_of(policy), disk=wrong, live=wrong)
    return passed("each of them has ids that nobody else has", declared=users_of(policy), disk={}, live={})


@on_rootless("helpers", "newuidmap and newgidmap to be root's, and to work", of_users=True)
def _helpers(survey: Survey, policy: Policy) -> Verdict:
    there = {each.path.rpartition("/")[2]: each for each in known(survey[Rootless].helpers)}
    wrong = [f"{name} is not installed" for name in HELPERS if name not in there]
    for each in there.values():
        if not each.works:
            wrong.append(f"{each.path} has neither the setuid bit nor file capabilities ({each.mode})")
        if each.owner or int(each.mode, 8) & 0o022:
            wrong.append(f"{each.path} can be changed by others than root ({each.mode}, owner {each.owner})")
    if wrong:
        return failed(some(wrong), declared=True, disk=wrong, live=wrong)
    return passed("newuidmap and newgidmap work, and are root's", declared=True, disk=[], live=[])


@on_rootless("linger", "services of rootless.users alone to stay", of_users=True)
def _linger(survey: Survey, policy: Policy) -> Verdict:
    declared, there = users_of(policy), known(survey[Rootless].lingering)
    wrong = [f"containers of {user} stop at the end of the last login" for user in declared if user not in there]
    wrong += [f"services of {user} start at boot and stay" for user in there if user not in declared]
    if wrong:
        return failed(some(wrong), declared=declared, disk=list(there), live=list(there))
    return passed("services of these users alone start at boot and stay", declared=declared, disk=list(there), live=[])


@on_rootless("api")
def _api(survey: Survey, policy: Policy) -> Verdict:
    declared, reading = policy[RootlessRules].api or [], survey[Rootless]
    everybody = known(reading.everybody) if not declared else ()
    wrong = [f"{unit} is enabled for each user who logs in" for unit in everybody]
    live = {each.at: present.user_name(each.uid, survey) for each in known(reading.listening)}
    open_ = {at: user for at, user in live.items() if user not in declared or not at.startswith("/")}
    wrong += [f"an engine's API listens for {user} on {at}" for at, user in open_.items()]
    if wrong:
        return failed(some(wrong), declared=declared, disk=list(everybody), live=open_)
    return passed("no other user's engine listens", declared=declared, disk=[], live={})


CONTROLS = (
    Control(
        id="rootless.users",
        title="Only the users whom the policy names run containers without root",
        severity=Severity.MEDIUM,
        why="Their containers come past the engine that the host's own settings hold, and past its log.",
        check=_users,
        by_hand="have them stopped (podman stop as that user), or name the user in rootless.users",
        references=("NIST-800-190-4.4.5",),
    ),
    Control(
        id="rootless.allowed",
        title="Users who may run containers without root can make user namespaces",
        severity=Severity.MEDIUM,
        why="Where the kernel or AppArmor refuses them, no container of theirs starts, whatever else is in order.",
        check=_allowed,
        by_hand="take what closes user namespaces out of kernel.sysctls and set kernel.rootless, or for "
        f"{LIMIT} userns.max_user_namespaces, in the policy, so that harden opens them; or load AppArmor's profile of "
        "the engine; or name nobody in rootless.users",
    ),
    Control(
        id="rootless.ranges",
        title="Users who run containers without root have ids for that, which nobody else has",
        severity=Severity.HIGH,
        why="Without a range no container of theirs starts; with another's, each reads the other one's files.",
        check=_ranges,
        by_hand=f"give the user 65536 ids in {SUBUID} and {SUBGID} that nobody else has; where images are "
        "stored already, run `podman system migrate` as that user, and add the difference of the ranges to the ids of "
        "the files (chown -h)",
        references=("NIST-800-190-4.4.3",),
        files=(SUBUID, SUBGID),
    ),
    Control(
        id="rootless.helpers",
        title="The programs that map users' ids are root's",
        severity=Severity.HIGH,
        why="As root it runs for everybody: who can change newuidmap is root.",
        check=_helpers,
        by_hand="install the package again that has it (uidmap, shadow-utils)",
    ),
    Control(
        id="rootless.linger",
        title="Users' services stay where the policy says so, and nowhere else",
        severity=Severity.LOW,
        why="Without it their containers stop when they log out; for anybody else it lets programs stay unseen.",
        check=_linger,
        by_hand="loginctl disable-linger for whom the policy does not name in rootless.users: it stops their services",
    ),
    Control(
        id="rootless.api",
        title="No engine's API listens for users whom the policy does not name",
        severity=Severity.MEDIUM,
        why="A program that gets to the socket, by a mount for one, starts containers with all of the user's rights.",
        check=_api,
        by_hand="have the user run systemctl --user disable --now podman.socket (or docker), or name the "
        "user in rootless.api; a TCP port has no passwords at all",
        references=("NIST-800-190-4.5.1",),
    ),
    *limits.controls(on_rootless),
)


def plan(context: Context) -> Iterator[Change]:
    if context.failing("rootless.users"):
        yield by_hand(context.findings["rootless.users"])
    steps: Mapping[str, Callable[[Context], Iterator[Change]]] = {
        "rootless.helpers": _install,
        "rootless.ranges": ranges.plan,
        "rootless.linger": _let_linger,
        "rootless.api": _close,
    }
    for control, changes in steps.items():
        if context.failing(control):
            yield from mending([control], changes(context))
    yield from limits.plan(context)


def _install(context: Context) -> Iterator[Change]:
    packages = PACKAGES.get(context.survey[System].family)
    if known(context.survey[Rootless].helpers) or packages is None:
        yield by_hand(context.findings["rootless.helpers"])
        return
    yield Install("rootless", "install newuidmap and newgidmap", packages=packages)


def _let_linger(context: Context) -> Iterator[Change]:
    there = known(context.survey[Rootless].lingering)
    for user in users_of(context.policy):
        if user not in there and user in known(context.survey[Userns].passwd):
            what = f"{LINGERING}{user}'s services at boot"
            undo = f"loginctl disable-linger {user}"
            yield Command("rootless", what, script=f"loginctl enable-linger {user}", undo=undo)
    if set(there) - set(users_of(context.policy)):
        yield by_hand(context.findings["rootless.linger"])


def _close(context: Context) -> Iterator[Change]:
    reading = context.survey[Rootless]
    if not context.policy[RootlessRules].api:
        for unit in known(reading.everybody):
            what = f"no longer have {unit} listen for each user who logs in"
            undo = f"systemctl -q --global enable {unit}"
            yield Command("rootless", what, script=f"systemctl -q --global disable {unit}", undo=undo)
    if known(reading.listening):
        yield by_hand(context.findings["rootless.api"])


def remarks(undoing: Undoing) -> Iterator[Remark]:
    """A user's first range stays: what is stored in the home owns its ids, and nobody looks there. Without lingering,
    the user's containers end with the last login."""
    running = present.of_users(undoing.context.survey)
    for entry in undoing.entries:
        user = entry.what.removeprefix(LINGERING).partition("'")[0] if entry.what.startswith(LINGERING) else ""
        if user in running:
            yield Remark(entry.id, interrupts=f"containers of {user}, unless logged in: {some(running[user])}")
    yield from shift.remarks(undoing)
    with_files = shift.shifts(undoing.entries)
    for entry in () if undoing.context.accepts(ranges.ACCEPT) else undoing.entries:
        if entry.subject == "rootless" and entry.path in (SUBUID, SUBGID) and entry.id not in with_files:
            why = "what is stored in the user's home may own ids of that range"
            yield Remark(entry.id, stays=Obstacle(why=why, accepts=(ranges.ACCEPT,)))


SUBJECT = Subject(
    name="rootless",
    rules=RootlessRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Rootless, Userns, Cgroups, AppArmor, Kernel, System, Record, *present.FACTS),
    accepts=(ranges.ACCEPT, shift.ACCEPT),
    undoing=remarks,
    unproved="an attempt would have to be some user; what users' containers are held to is attacked as containers.*",
)
