"""The container engines of a host, as one: which are there, and every container with the name that its engine has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from facts.containers import NO_BUNDLE, Container, Containers, ContainersReading
from facts.core.fact import SectionFact
from facts.core.reading import Unknown, attempt, known
from facts.core.survey import Survey
from facts.engines.containerd.containerd import Containerd, ContainerdReading
from facts.engines.docker.docker import Docker
from facts.engines.docker.neutral import neutral
from facts.engines.docker.shapes import Container as Said
from facts.engines.podman.neutral import neutral as neutral_podman
from facts.engines.podman.podman import Podman, PodmanReading
from facts.engines.rootless.rootless import Rootless, RootlessReading
from facts.engines.shapes import EngineReading, Waiting
from facts.userns import Userns

ENGINE_FACTS: tuple[type[SectionFact[Any]], ...] = (Docker,)  # what `engines` is read from
FACTS: tuple[type[SectionFact[Any]], ...] = (Containers, *ENGINE_FACTS)
SENDER_FACTS = (*FACTS, Podman)  # what `senders` are read from


def engines(survey: Survey) -> tuple[EngineReading, ...]:
    """Each engine that hullproof knows, installed or not. UnknownReading where one was not read at all."""
    return (neutral(survey[Docker]),)


def senders(survey: Survey) -> tuple[EngineReading, ...]:
    """Those, and the engines of which no more is asked than that their containers send as themselves alone."""
    return (*engines(survey), *also_sending(survey))


def also_sending(survey: Survey) -> tuple[EngineReading, ...]:
    """Those that `engines` does not have."""
    return survey.remember("also sending", lambda: (_podman(survey),))


def _podman(survey: Survey) -> EngineReading:
    podman, containers = attempt("podman", lambda: survey[Podman]), attempt("containers", lambda: survey[Containers])
    return neutral_podman(podman, containers)


def running(survey: Survey) -> tuple[Container, ...]:
    """The containers that some engine runs, by the names that it gives them; those of an engine that did not answer, by
    its files alone: `unseen` says so."""
    return survey.remember("running", lambda: _running(survey))


def unseen(survey: Survey) -> Iterator[str]:
    """Why more containers may run than are named, or not all that their engine knows of them is known."""
    yield from survey[Containers].unseen
    if why := silent(survey):
        yield why


def silent(survey: Survey) -> str:
    """Why an engine did not say which containers it runs; "" where each did."""
    told = _told(survey)
    return f"Docker did not say which containers it runs: {told.unknown}" if isinstance(told, Unknown) else ""


def _running(survey: Survey) -> tuple[Container, ...]:
    told, found = _docker(survey), known(survey[Containers].containers)
    named = [_named(each, told.get(each.id)) for each in found]
    missing = sorted(told.keys() - {each.id for each in found})
    return (*named, *(_elsewhere(each, told[each], survey[Containers]) for each in missing))


def _named(container: Container, told: Said | None) -> Container:
    return replace(container, name=told.name, devices=told.devices, image=told.image) if told else container


def _elsewhere(identity: str, told: Said, reading: ContainersReading) -> Container:
    """A container of Docker's whose files lie at another place (dockerd --exec-root): by its process."""
    others = reading.unlisted if isinstance(reading.unlisted, tuple) else ()
    process = next((other.process for other in others if other.pid == told.pid), Unknown("its process was not found"))
    found = Container("docker", 0, identity, told.name, told.pid, filter=NO_BUNDLE, process=process)
    return _named(found, told)


def unsaid(survey: Survey) -> Iterator[str]:
    """Why more containers may be started any time than `waiting` names."""
    for engine, found in (("Docker", _waiting(survey)), ("systemd", survey[Containers].declared)):
        if isinstance(found, Unknown):
            yield f"which containers {engine} may start is not known: {found.unknown}"


def _waiting(survey: Survey) -> tuple[Waiting, ...] | Unknown:
    there = "docker" in installed(survey) and survey[Docker].running is not False
    return survey[Docker].waiting if there else ()


def waiting(survey: Survey) -> Iterator[tuple[Container, Waiting]]:
    """The containers that do not run now and that an engine may start any time, as far as it said so."""
    found, declared = _waiting(survey), survey[Containers].declared
    for each in () if isinstance(found, Unknown) else found:
        process = Unknown("it does not run")
        yield Container("docker", 0, each.id, each.name, 0, NO_BUNDLE, process, image=each.image), each
    declared = () if isinstance(declared, Unknown) else declared
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
    return frozenset(identity for identity, told in _docker(survey).items() if told.privileged)


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
    podman, containerd, rootless = (survey.get(fact) for fact in (Podman, Containerd, Rootless))
    addresses = [*docker] if isinstance(docker, tuple) else []
    if isinstance(podman, PodmanReading):
        addresses += podman.serving
    if isinstance(containerd, ContainerdReading):
        addresses += _addresses(containerd.config)
    if isinstance(rootless, RootlessReading) and isinstance(rootless.listening, tuple):
        addresses += [each.at for each in rootless.listening]
    paths = (re.sub("^(unix://)?(/var(?=/run/))?", "", each) for each in addresses)
    return tuple(dict.fromkeys(path for path in paths if path.startswith("/")))


def _addresses(config: object) -> Iterator[str]:
    """Of containerd's configuration."""
    grpc = config.get("grpc") if isinstance(config, dict) else None
    address = grpc.get("address") if isinstance(grpc, dict) else None
    if isinstance(address, str):
        yield address


def _docker(survey: Survey) -> Mapping[str, Said]:
    told = _told(survey)
    return {} if isinstance(told, Unknown) else told


def _told(survey: Survey) -> Mapping[str, Said] | Unknown:
    """What Docker says of each container that it runs, by its id."""
    if "docker" not in installed(survey) or survey[Docker].running is False:
        return {}
    found = survey[Docker].containers
    return found if isinstance(found, Unknown) else survey.remember("told", lambda: {each.id: each for each in found})
