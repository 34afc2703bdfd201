"""The container engines of a host, as one: which are there, and every container with the name that its engine has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from facts.containers import Container, Containers
from facts.core.fact import SectionFact
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker

FACTS: tuple[type[SectionFact[Any]], ...] = (Containers, Docker)


@dataclass(frozen=True)
class Told:
    """What an engine says of a running container."""

    name: str
    privileged: bool


def running(survey: Survey) -> tuple[Container, ...]:
    """The containers that some engine runs, by the names that it gives them. UnknownReading where an engine could not
    be asked for them."""
    told, found = _told(survey), known(survey[Containers].containers)
    named = [replace(each, name=told[each.id].name) if each.id in told else each for each in found]
    missing = told.keys() - {each.id for each in found}
    lost = Unknown("its process was not found")
    return (*named, *(Container("docker", 0, each, told[each].name, 0, (), lost) for each in sorted(missing)))


def said_privileged(survey: Survey) -> frozenset[str]:
    """The ids of the containers of which an engine itself says that they are privileged."""
    return frozenset(identity for identity, told in _told(survey).items() if told.privileged)


def installed(survey: Survey) -> tuple[str, ...]:
    """The names of the engines that are there."""
    return survey[Containers].engines


def serving(survey: Survey) -> tuple[str, ...]:
    """Those of them whose daemon runs. UnknownReading where it is not known whether one does."""
    return ("docker",) if "docker" in installed(survey) and known(survey[Docker].running) else ()


def _told(survey: Survey) -> Mapping[str, Told]:
    return dict(_docker(survey))


def _docker(survey: Survey) -> Iterator[tuple[str, Told]]:
    if "docker" not in installed(survey):
        return
    docker = survey[Docker]
    if docker.running is not False:
        yield from ((each.id, Told(each.name, each.privileged)) for each in known(docker.containers))
