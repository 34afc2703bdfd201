"""How a rule is asked of every running container, whichever engine started it, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from deploys.containers.judge import Host
from deploys.containers.names import naming, unknowable
from deploys.containers.rules import ContainersRules
from deploys.core.change import Change, Context, by_hand, mending
from deploys.core.control import Control, Impact, Severity, State, Verdict, by, not_applicable, passed, some
from deploys.core.policy import Policy, Waiver
from deploys.engines.protocol import StartingEngine
from deploys.seccomp.profile import GUARDED_BY_ALL
from facts.containers import Container, Containers
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.shapes import Waiting
from facts.lsm import Lsm, LsmReading
from facts.seccomp import Seccomp

Engines = Sequence[StartingEngine]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a container, and what mends that, as StartingEngine.mends says it."""

    container: Container
    wrong: str
    mends: State | None

    def __str__(self) -> str:
        return f"{self.container.shown} {self.wrong}"


@dataclass(frozen=True)
class Answers:
    """What became of a rule on a host."""

    host: Host
    faults: list[Fault]
    asked: int
    unread: list[str]  # of which containers it is not known, and why
    spared: int  # how many the policy lets be
    waived: list[tuple[Fault, str, Waiver]]  # the faults that waivers cover, with the name that they give

    def add(self, fault: Fault, waivers: Mapping[str, Waiver]) -> None:
        if name := naming(fault.container, waivers):
            self.waived.append((fault, name, waivers[name]))
        else:
            self.faults.append(fault)


@dataclass(frozen=True, kw_only=True)
class ContainerRule:
    """A rule that every running container is held to. `wrong` says what of a container is against it, "" if nothing;
    it raises UnknownReading where the container's process could not be read. `key` is the policy's: None there means
    that nothing is declared. `undone_by_privileged`: a container that may be privileged is not asked. `later`: the same
    of a container that does not run and may be started any time. `at_start`: the engine gives a container this when it
    starts, so that a restart may mend it. `module`: the security module that alone knows of it; "": any, or none.
    `word`: what of users' containers is their owners' word alone, which a pass says. `engines`: those whose containers
    alone are asked; () for all."""

    name: str
    key: str
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    wrong: Callable[[Container, Host], str]
    remedy: str
    formerly: tuple[str, ...] = ()
    split_from: tuple[str, ...] = ()
    undone_by_privileged: bool = True
    later: Callable[[Waiting, Host], str] | None = None
    at_start: bool = False
    module: str = ""
    word: str = ""
    engines: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"containers.{self.name}"

    def control(self, engines: Engines) -> Control:
        return Control(
            id=self.id,
            title=self.title,
            severity=self.severity,
            why=self.why,
            check=partial(self.check, engines),
            references=self.references,
            impact=Impact.RESTART if self.at_start else Impact.NONE,
            by_hand=self.remedy,
            formerly=self.formerly,
            split_from=self.split_from,
            lists="container",
        )

    def check(self, engines: Engines, survey: Survey, policy: Policy) -> Verdict:
        if getattr(policy[ContainersRules], self.key) is None:
            return not_applicable(f"the policy does not declare containers.{self.key}")
        if not present.installed(survey) and not present.running(survey):
            return _without_an_engine(survey)
        if self.engines and not self._whose(present.running(survey)):
            return not_applicable(f"no container of {' or '.join(self.engines)} is running")
        answers = self.ask(engines, survey, policy)
        if self.module and known(answers.host.module) != self.module:
            return not_applicable(f"the kernel does not run {self.module}")
        return _verdict(answers, f"{self._wanted(answers.host.declared)} (containers.{self.key})", self.word)

    def _wanted(self, declared: Any) -> str:
        if self.key == "limits":
            return f"the policy wants limits of {', '.join(declared)}"
        return f"the policy allows {f'only {some(declared)}' if declared else 'none'}"

    def ask(self, engines: Engines, survey: Survey, policy: Policy) -> Answers:
        rules, running = policy[ContainersRules], present.running(survey)
        containers = self._whose(running)
        spared, waivers = _spared(self, rules), self._waivers(policy)
        asked = [each for each in containers if not naming(each, spared)]
        host = _host(engines, survey, policy, running, getattr(rules, self.key))
        unread = [*present.unseen(survey), *(present.unsaid(survey) if self.later else ())]
        answers = Answers(host, [], len(asked), unread, len(containers) - len(asked), [])
        for container in asked:
            try:
                wrong = self.wrong(container, host)
                mends = self._mends(engines, container, survey, policy) if wrong else None
            except UnknownReading as error:
                answers.unread.append(f"{container.shown}: {error}")
                continue
            if wrong and unknowable(container, (*spared, *waivers)):
                answers.unread.append(f"{container.shown} {wrong}, and whether the policy names it is not known")
            elif wrong:
                answers.add(Fault(container, wrong, mends), waivers)
        for container, asked_for in present.waiting(survey):
            if not self.later or naming(container, spared):
                continue
            try:
                if wrong := self.later(asked_for, host):
                    answers.add(Fault(container, wrong, None), waivers)
            except UnknownReading as error:
                answers.unread.append(f"{container.shown}: {error}")
        return answers

    def _whose(self, containers: Sequence[Container]) -> Sequence[Container]:
        return [each for each in containers if not self.engines or each.engine in self.engines]

    def _waivers(self, policy: Policy) -> Mapping[str, Waiver]:
        """By the name of a container. Who accepts that one is privileged accepts what comes with it."""
        implied = policy.waived_by_name("containers.privileged") if self.undone_by_privileged else {}
        return implied | policy.waived_by_name(self.id)

    def _mends(self, engines: Engines, container: Container, survey: Survey, policy: Policy) -> State | None:
        engine = _engine_of(container, engines) if self.at_start else None
        try:
            return engine.mends(self.name, container, survey, policy) if engine else None
        except UnknownReading:
            return None

    def plan(self, engines: Engines, context: Context) -> Iterator[Change]:
        """What a restart mends; of the rest, what its owner has to do."""
        if not (self.at_start and context.failing(self.id)):
            return
        faults = self.ask(engines, context.survey, context.policy).faults
        for engine in engines:
            mine = [each.container for each in faults if each.container.engine == engine.name and _starts(each)]
            if mine:
                yield from mending([self.id], engine.start_again(context, self.name, mine))
        if any(each.mends is None for each in faults):
            yield by_hand(context.findings[self.id])


def _starts(fault: Fault) -> bool:
    return fault.mends in (State.PENDING_RESTART, State.FAIL)


def _engine_of(container: Container, engines: Engines) -> StartingEngine | None:
    """The engine that can start it again: root's own."""
    return next((each for each in engines if each.name == container.engine and not container.user), None)


def _verdict(answers: Answers, wanted: str, word: str = "") -> Verdict:
    host, faults = answers.host, answers.faults
    waived = tuple(dict.fromkeys(name for _, name, _ in answers.waived))
    if faults:
        state, after = _state([fault.mends for fault in faults])
        more = f"; could not be judged: {some(answers.unread)}" if answers.unread else ""
        reason = some([str(fault) for fault in faults], most=8) + after + more + f"; {wanted}"
        reason += f" ({_waived(answers)})" * bool(waived)
        live = {fault.container.shown: fault.wrong for fault in faults}
        return Verdict(state, reason, declared=host.declared, disk=None, live=live, waived=waived)
    if answers.unread:
        raise UnknownReading(some(answers.unread, most=8))
    if waived:
        live = {fault.container.shown: fault.wrong for fault, _, _ in answers.waived}
        return Verdict(State.WAIVED, _waived(answers), declared=host.declared, live=live, waived=waived)
    reason = f"{_count(answers.asked)} checked" + (
        f", and {answers.spared} more named by the policy" * bool(answers.spared)
    )
    if word and any(each.user for each in host.all):
        reason += f"; {word}"
    return passed(reason if host.all else "no container is running", declared=host.declared, live={})


def _waived(answers: Answers) -> str:
    waivers = dict.fromkeys((by(waiver), waiver.reason) for _, _, waiver in answers.waived)
    said = some([str(fault) for fault, _, _ in answers.waived], most=8)
    return f"{'; '.join(f'{who}: {why}' for who, why in waivers)} (but for that: {said})"


def _state(mends: Collection[State | None]) -> tuple[State, str]:
    """The state of all of them together, and what mends it."""
    if None in mends or State.FAIL in mends:
        return State.FAIL, ""
    if State.PENDING_REBOOT in mends:
        return State.PENDING_REBOOT, ": the next boot mends that"
    return State.PENDING_RESTART, ": started before the engine had its present defaults, which a restart gives"


def _count(number: int) -> str:
    return f"{number} running container{' was' if number == 1 else 's were'}"


def _without_an_engine(survey: Survey) -> Verdict:
    """Nothing applies, unless containers run all the same, of which nothing is asked."""
    if others := present.unlisted(survey):
        names = some(each.name for each in others)
        raise UnknownReading(f"no engine that hullproof knows is installed, and these containers run: {names}")
    return not_applicable("no container engine is installed, and no container is running")


def _spared(rule: ContainerRule, rules: ContainersRules) -> Collection[str]:
    """Names of the containers that the policy lets be."""
    declared = getattr(rules, rule.key)
    lists = [rules.unlimited if rule.key == "limits" else [] if rule.key == "capabilities" else declared]
    if rule.undone_by_privileged:
        lists.append(rules.privileged or [])
    return {name for names in lists for name in names}


def _host(engines: Engines, survey: Survey, policy: Policy, containers: tuple[Container, ...], declared: Any) -> Host:
    def refused(container: Container) -> tuple[str, ...]:
        engine = _engine_of(container, engines)
        return engine.refused_calls(container, survey, policy) if engine else GUARDED_BY_ALL

    lsm = survey.get(Lsm)
    return Host(
        reading=survey[Containers],
        all=containers,
        privileged=present.said_privileged(survey),
        module=lsm.major if isinstance(lsm, LsmReading) else Unknown("the kernel's security modules were not read"),
        refused=refused,
        seccomp=survey.get(Seccomp),
        declared=declared,
        sockets=present.sockets(survey),
    )
