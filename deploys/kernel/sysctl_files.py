"""How sysctls are set: in one drop-in of our own that wins over other files, and live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from shlex import quote

from deploys.core.boot_units import plan_units
from deploys.core.change import Blocked, Change, Command, Context, Obstacle, RemoveFile, WriteFile, mending
from deploys.core.control import State, some
from deploys.core.templates import render
from deploys.kernel.interfaces import COMBINED, RP_FILTER, Interfaces
from deploys.kernel.rules import KernelRules
from deploys.kernel.sysctls import ROWS, SysctlRow
from facts.core.reading import Unknown, known
from facts.core.units import SYSCTL
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.sysctls import GLOB, Setting, Sysctls, as_number, assignments, covers

# The first that is read after every other file that sets one of our keys to another value.
PATHS = tuple(f"/etc/sysctl.d/{name}-hullproof.conf" for name in ("99-zzz", "zzz", "zzzzzz"))

FORWARD = "net.ipv4.ip_forward"
NAMESPACES = "user.max_user_namespaces"
CLONE = "kernel.unprivileged_userns_clone"
RESTRICTED = "kernel.apparmor_restrict_unprivileged_userns"
ACCEPT_ROOTLESS = "rootless-containers"  # accepts that rootless containers and other users' sandboxes no longer start
# These values keep users from creating user namespaces; AppArmor's allows it to programs with a profile for it.
CLOSING = {CLONE: "0", RESTRICTED: "1"}
RP_FILTERS = ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter")

UNDECIDED = (State.UNKNOWN, State.WAIVED)  # what an earlier run wrote for such a finding stays


@dataclass(frozen=True)
class Want:
    """A key to write. `final`: only a reboot resets it."""

    key: str
    value: str
    holds: bool  # whether the live value satisfies already
    control: str
    final: bool = False
    elsewhere: bool = False  # another file sets it at boot
    interfaces: tuple[str, ...] = ()  # where `key` is a pattern: the keys that it is for and that do not hold now

    @property
    def keys(self) -> tuple[str, ...]:
        """Those to set now."""
        return self.interfaces if self.is_pattern else () if self.holds else (self.key,)

    @property
    def is_pattern(self) -> bool:
        return ".*." in self.key


def accepted_filters(declared: int, vxlan: bool) -> tuple[int, ...]:
    """Values of rp_filter that satisfy. Strict (1) satisfies loose (2), but not on overlay networks, where an answer
    may arrive on another interface than the request left by."""
    if vxlan:
        return (0, 2) if declared == 0 else (2,)
    return {0: (0, 1, 2), 1: (1,), 2: (1, 2)}[declared]


def plan_sysctls(context: Context, allowed: Sequence[str] = ()) -> Iterable[Change]:
    """`allowed`: the users whom the policy lets run containers without root."""
    ids = [id_ for id_ in context.findings if id_.startswith("kernel.sysctl.")]
    if not context.failing(*ids, "kernel.forwarding", "kernel.user-namespaces", "kernel.rp-filter"):
        return
    yield from plan_units(context, "kernel", SYSCTL, controls=(*ids, "kernel.rp-filter"))
    sysctls = context.survey[Kernel].sysctls
    own = {path: text for path in PATHS if isinstance(text := sysctls.text(path), str)}
    others = sysctls.without(*PATHS)
    held = {key: obstacle for key in CLOSING if (obstacle := _in_use(context, key, allowed))}
    for key, obstacle in held.items():
        yield obstacle.block("kernel", f"set {key}={CLOSING[key]}", controls=(f"kernel.sysctl.{key}",))
    declared = (_held(want, own) if want.key in held else want for want in _declared(context, others, _written(own)))
    wants = [*_resolved(context, own, others), *filter(None, declared)]
    if not wants:
        return
    wants.sort(key=lambda want: want.final)  # one-way settings last; the order is kept otherwise
    settings = {want.key: want.value for want in wants if not want.elsewhere}
    left = {want.key for want in wants if context.findings[want.control].state in UNDECIDED}
    path = _last_path(others, {key: value for key, value in settings.items() if key not in left})
    if path and left:  # a file that is read earlier could change what is to stay
        path = max(path, *own, key=PATHS.index)
    if path:
        now = [want for want in wants if want.keys]
        if settings:
            yield from mending(_failing(context, wants), _files(path, own, settings))
        yield from mending(_failing(context, now), _live(sysctls, now, _cut_off(context, now, allowed)))
    else:
        rival = others.files[-1].path
        why = (
            f"{rival} is read after every name that hullproof uses, and sets one of these keys to another value: "
            "rename or remove it"
        )
        what, controls = f"set {len(settings)} sysctls at boot", tuple(_failing(context, wants))
        yield Blocked("kernel", what, why=why, controls=controls)


def _failing(context: Context, wants: Iterable[Want]) -> Iterable[str]:
    """The controls that these mend. One that only a reboot can mend is pending and not among them."""
    ids = dict.fromkeys(want.control for want in wants)
    return [id_ for id_ in ids if context.findings[id_].state is State.FAIL]


def _in_use(context: Context, key: str, allowed: Sequence[str]) -> Obstacle | None:
    """Why user namespaces are not closed to users now; None where they may be closed, or are already."""
    finding, rootless = context.findings.get(f"kernel.sysctl.{key}"), context.survey[Kernel].rootless
    closes = context.policy[KernelRules].value(key) == CLOSING[key]
    failing = finding is not None and finding.state is State.FAIL
    if not closes or not failing or context.accepts(ACCEPT_ROOTLESS) or not (rootless or allowed):
        return None
    why = []
    if isinstance(rootless, Unknown):
        why.append(f"{rootless.unknown}, and programs that need them would no longer start")
    elif rootless:
        users = _running(rootless)
        why.append(f"these users run programs in user namespaces, and would no longer be able to start them: {users}")
    if allowed:
        why.append(f"the policy lets these users run containers without root, and none would start: {some(allowed)}")
    return Obstacle(
        why="; ".join(why),
        by_hand=f"remove {key} from the policy for this host (and set kernel.rootless for container engines)",
        accepts=(ACCEPT_ROOTLESS,),
    )


def _running(rootless: Mapping[str, tuple[str, ...]]) -> str:
    return some(f"{user} ({some(names)})" for user, names in rootless.items())


def _cut_off(context: Context, wants: Iterable[Want], allowed: Sequence[str]) -> str:
    """For whom user namespaces are closed by this, which is accepted then; "" where it closes none, or for nobody."""
    if not any(CLOSING.get(key) == want.value for want in wants for key in want.keys):
        return ""
    rootless = context.survey[Kernel].rootless
    users = rootless.unknown if isinstance(rootless, Unknown) else _running(rootless)
    who = "; ".join(filter(None, [users, some(allowed)]))
    return f"containers and sandboxes in user namespaces no longer start: {who}" if who else ""


def _written(own: Mapping[str, str]) -> dict[str, str]:
    return {key: value for text in own.values() for key, value in assignments(text) if value is not None}


def _held(want: Want, own: Mapping[str, str]) -> Want | None:
    """A setting that may not be made now stays where an earlier run wrote it."""
    return replace(want, holds=True) if want.key in _written(own) else None


def _declared(context: Context, others: Sysctls, written: Mapping[str, str]) -> Iterable[Want]:
    """The keys that the policy declares and this kernel has. A stricter value of another file is kept."""
    rules, live = context.policy[KernelRules], context.survey[Kernel].sysctls
    for row in ROWS:
        control = f"kernel.sysctl.{row.key}"
        declared, finding = rules.value(row.key), context.findings.get(control)
        if declared is not None and finding and finding.state in UNDECIDED and row.key in written:
            yield Want(row.key, written[row.key], True, control)
            if row.key in COMBINED:
                own = Interfaces(live, row.key, lambda value: True)
                kept = (key for key in written if key == own.pattern or own.is_one(key))
                yield from (Want(key, written[key], True, control) for key in kept)
        if declared is None or finding is None or finding.state not in (State.PASS, State.FAIL, State.PENDING_REBOOT):
            continue
        stored, now = others.stored(row.key), str(known(live.value(row.key)))
        theirs = stored.value if isinstance(stored, Setting) else None
        value = theirs if theirs and row.holds(theirs, declared) else declared
        yield Want(row.key, value, row.holds(now, declared) or now in row.one_way, control, value in row.one_way)
        if row.key in COMBINED:
            holds = partial(_satisfies, row, declared)
            yield from _for_interfaces(
                Interfaces(live, row.key, holds, as_number(value)), others, declared, control, written
            )


def _satisfies(row: SysctlRow, declared: str, value: int) -> bool:
    return row.holds(str(value), declared)


def _for_interfaces(
    found: Interfaces, others: Sysctls, value: str, control: str, written: Mapping[str, str]
) -> Iterable[Want]:
    """A pattern for the interfaces that the value of `all` does not bind, and the keys that other files set for one."""
    now, later = found.loose_now(), found.loose_at_boot()
    if now or later or found.pattern in written:
        keys = tuple(found.key_of(interface) for interface in now)
        yield Want(found.pattern, value, not keys, control, interfaces=keys)
    rivals = dict.fromkeys([*found.explicit(others), *(key for key in written if found.is_one(key))])
    yield from (Want(key, value, True, control) for key in rivals)


def _resolved(context: Context, own: Mapping[str, str], others: Sysctls) -> Iterable[Want]:
    """What containers need in spite of a benchmark. Forwarding comes first: it has the kernel reset redirects."""
    rules, kernel = context.policy[KernelRules], context.survey[Kernel]
    written = _written(own)
    for control, key, value, wrong in _rows(rules, kernel):
        live, stored = kernel.sysctls.value(key), kernel.sysctls.stored(key)
        ours, holds = written.get(key), context.findings.get(control)
        if ours is not None and holds and holds.state in UNDECIDED:
            yield Want(key, ours, True, control)
            continue
        if not isinstance(live, str) or isinstance(stored, Unknown):
            continue
        if key == NAMESPACES and (theirs := _enough_elsewhere(others)):
            if context.failing(control):
                yield Want(key, theirs, live not in wrong, control, elsewhere=True)
            continue
        if context.failing(control) and (ours is None or ours in wrong):
            refused = stored and as_number(stored.value) is None
            if live in wrong or refused or (stored and stored.value in wrong) or control == "kernel.rp-filter":
                yield Want(key, value, live not in wrong, control)
        elif ours is not None and holds and holds.state in (State.PASS, State.FAIL):
            yield Want(key, ours, live not in wrong, control)
    yield from _filtered_strictly(context, written, others)


def _rows(rules: KernelRules, kernel: KernelReading) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Control, key, value, and the live values that will not do."""
    yield "kernel.forwarding", FORWARD, "1", ("0",)
    yield "kernel.user-namespaces", NAMESPACES, _enough_namespaces(kernel), ("0",)
    if rules.rootless:
        yield "kernel.user-namespaces", CLONE, "1", ("0",)
    if rules.rp_filter is not None:
        accepted = accepted_filters(rules.rp_filter, kernel.has_module("vxlan") is True)
        wrong = tuple(str(value) for value in (0, 1, 2) if value not in accepted)
        target = rules.rp_filter if rules.rp_filter in accepted else 2
        yield from (("kernel.rp-filter", key, str(target), wrong) for key in RP_FILTERS)


def _filtered_strictly(context: Context, written: Mapping[str, str], others: Sysctls) -> Iterable[Want]:
    """An interface's own 2 makes of a strict filter a loose one."""
    kernel, id_ = context.survey[Kernel], "kernel.rp-filter"
    finding = context.findings.get(id_)
    strict = accepted_filters(context.policy[KernelRules].rp_filter or 0, kernel.has_module("vxlan") is True) == (1,)
    if not strict or finding is None or finding.state not in (State.PASS, State.FAIL):
        return
    yield from _for_interfaces(Interfaces(kernel.sysctls, RP_FILTER, lambda v: v == 1, 1), others, "1", id_, written)


def _enough_elsewhere(others: Sysctls) -> str:
    """What another file sets it to, such as the one of the subject userns; "" where that is none, or no good."""
    stored = others.stored(NAMESPACES)
    value = stored.value if isinstance(stored, Setting) else None
    return value if value and (as_number(value) or 0) > 0 else ""


def _enough_namespaces(kernel: KernelReading) -> str:
    """The kernel's own default: half of kernel.threads-max."""
    threads = kernel.sysctls.live.get("kernel.threads-max", "")
    return str((as_number(threads) or 30_000) // 2)


def _last_path(others: Sysctls, settings: Mapping[str, str]) -> str | None:
    """The first of our names that is read after every file that sets one of our keys to another value. A glob counts
    against one of ours alone: an explicit assignment wins over it in any order."""
    rivals = [
        file.path.rpartition("/")[2]
        for file in others.files
        if isinstance(file.text, str) and any(_against(key, value, settings) for key, value in assignments(file.text))
    ]
    return next((path for path in PATHS if all(name < path.rpartition("/")[2] for name in rivals)), None)


def _against(key: str, value: str | None, settings: Mapping[str, str]) -> bool:
    if key in settings:
        return value != settings[key]
    ours = [glob for glob in settings if "*" in glob] if GLOB.search(key) else []
    return any(value not in (None, settings[glob]) and covers(glob, key) for glob in ours)


def _files(path: str, own: Mapping[str, str], settings: Mapping[str, str]) -> Iterable[Change]:
    text = render("kernel/sysctl.conf.j2", settings=settings)
    if own.get(path) != text:
        yield WriteFile("kernel", f"set {len(settings)} sysctls at boot", path=path, text=text, before=own.get(path))
    for old in own:
        if old != path:
            yield RemoveFile("kernel", f"remove {old}: {path} replaces it", path=old, before=own[old])


PUT = """\
put() {
  if printf '%s\\n' "$2" >"/proc/sys/$1" && [ "$(cat "/proc/sys/$1" | tr -s '\\t ' ' ')" = "$2" ]; then return 0; fi
  echo "/proc/sys/$1 does not take $2"; failed=1
}
failed=0
"""


def _live(sysctls: Sysctls, wants: list[Want], interrupts: str) -> Iterable[Change]:
    """One command for all live values; its undo sets the old ones, in the same order."""
    if not wants:
        return
    script = [_put(want, key, want.value) for want in wants for key in want.keys]
    undo = []
    for want in wants:
        if want.final:
            undo.append(f"echo {quote(f'{want.key} stays {want.value} until a reboot')}")
        else:
            undo += [_put(want, key, str(known(sysctls.value(key)))) for key in want.keys]
    shown = some((f"{key}={want.value}" for want in wants for key in want.keys), most=100)
    end = "exit $failed\n"
    do, back = (PUT + "\n".join([*lines, end]) for lines in (script, undo))
    yield Command("kernel", f"set {shown} (live)", script=do, undo=back, interrupts=interrupts)


def _put(want: Want, key: str, value: str) -> str:
    """An interface may be gone by then."""
    path = quote(_path(key))
    there = f"[ ! -e /proc/sys/{path} ] || " if want.is_pattern else ""
    return f"{there}put {path} {quote(value)}"


def _path(key: str) -> str:
    """The path under /proc/sys: dots and slashes change places."""
    return key.translate(str.maketrans("./", "/."))
