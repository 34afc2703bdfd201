"""The container engines of a host, as one: which are there, and every container with the name that its engine has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from facts.containers import NO_BUNDLE, Container, Containers, ContainersReading
from facts.core.fact import SectionFact
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.engines.docker.neutral import neutral
from facts.engines.shapes import EngineReading, Waiting
from facts.userns import Userns

ENGINE_FACTS: tuple[type[SectionFact[Any]], ...] = (Docker,)  # what `engines` is read from
FACTS: tuple[type[SectionFact[Any]], ...] = (Containers, *ENGINE_FACTS)


@dataclass(frozen=True)
class Told:
    """What an engine says of a running container."""

    name: str
    pid: int
    privileged: bool
    devices: tuple[str, ...]
    image: str


def engines(survey: Survey) -> tuple[EngineReading, ...]:
    """Each engine that hullproof knows, installed or not. UnknownReading where one was not read at all."""
    return (neutral(survey[Docker]),)


def running(survey: Survey) -> tuple[Container, ...]:
    """The containers that some engine runs, by the names that it gives them. UnknownReading where an engine could not
    be asked for them."""
    return survey.remember("running", lambda: _running(survey))


def _running(survey: Survey) -> tuple[Container, ...]:
    told, found = _told(survey), known(survey[Containers].containers)
    named = [_named(each, told.get(each.id)) for each in found]
    missing = sorted(told.keys() - {each.id for each in found})
    return (*named, *(_elsewhere(each, told[each], survey[Containers]) for each in missing))


def _named(container: Container, told: Told | None) -> Container:
    return replace(container, name=told.name, devices=told.devices, image=told.image) if told else container


def _elsewhere(identity: str, told: Told, reading: ContainersReading) -> Container:
    """A container of Docker's whose files lie at another place (dockerd --exec-root): by its process."""
    others = reading.unlisted if isinstance(reading.unlisted, tuple) else ()
    process = next((other.process for other in others if other.pid == told.pid), Unknown("its process was not found"))
    found = Container("docker", 0, identity, told.name, told.pid, filter=NO_BUNDLE, process=process)
    return _named(found, told)


def waiting(survey: Survey) -> Iterator[tuple[Container, Waiting]]:
    """The containers that do not run now and that an engine may start any time."""
    if "docker" in installed(survey) and (docker := survey[Docker]).running is not False:
        for each in known(docker.waiting):
            process = Unknown("it does not run")
            yield Container("docker", 0, each.id, each.name, 0, NO_BUNDLE, process, image=each.image), each
    declared = known(survey[Containers].declared)
    up = {(each.user, each.name) for each in running(survey) if each.engine == "podman"} if declared else set()
    for each in declared:
        if (each.user, each.name) not in up:
            process = Unknown("it does not run")
            yield Container("podman", each.user or 0, "", each.name, 0, NO_BUNDLE, process, image=each.image), each


def unlisted(survey: Survey) -> tuple[Container, ...]:
    """The containers that no engine names."""
    named = {each.pid for each in running(survey)}
    return tuple(each for each in known(survey[Containers].unlisted) if each.pid not in named)


def said_privileged(survey: Survey) -> frozenset[str]:
    """The ids of the containers of which an engine itself says that they are privileged."""
    return frozenset(identity for identity, told in _told(survey).items() if told.privileged)


def installed(survey: Survey) -> tuple[str, ...]:
    """The names of the engines that are there."""
    return survey[Containers].engines


def serving(survey: Survey) -> tuple[str, ...]:
    """Those of them whose daemon runs. UnknownReading where it is not known whether one does."""
    return ("docker",) if "docker" in installed(survey) and known(survey[Docker].running) else ()


def user_name(uid: int, survey: Survey) -> str:
    """The name of a user; the number where the host has none for it."""
    names = {number: name for name, number in known(survey[Userns].passwd).items()}
    return names.get(uid, str(uid))


def of_users(survey: Survey, *engines: str) -> dict[str, list[str]]:
    """By user: the containers that run without root; of these engines, or of all."""
    found: dict[str, list[str]] = {}
    for each in known(survey[Containers].containers):
        if each.user and (not engines or each.engine in engines):
            found.setdefault(user_name(each.user, survey), []).append(each.name)
    return {user: sorted(names) for user, names in found.items()}


def sockets(survey: Survey) -> tuple[str, ...]:
    """The unix sockets of engines' APIs, as far as they are known, at whatever path."""
    docker = survey[Docker].sockets if "docker" in installed(survey) else ()
    return docker if isinstance(docker, tuple) else ()


def _told(survey: Survey) -> Mapping[str, Told]:
    return survey.remember("told", lambda: dict(_docker(survey)))


def _docker(survey: Survey) -> Iterator[tuple[str, Told]]:
    if "docker" not in installed(survey):
        return
    docker = survey[Docker]
    if docker.running is not False:
        yield from (
            (each.id, Told(each.name, each.pid, each.privileged, each.devices, each.image))
            for each in known(docker.containers)
        )
