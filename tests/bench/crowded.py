"""How long the controller takes to make sense of a host with many containers."""

from __future__ import annotations

import time
from collections.abc import Iterator

from deploys.run.look import facts_of
from deploys.subjects import SUBJECTS
from facts.containers import Containers
from facts.core import shared
from facts.core.frame import SECTION_BYTES, read_frame
from facts.core.reading import Section, known
from facts.core.survey import Survey
from tests.bench import host

COUNT = 500
REPEAT = 7
CROWDED = ("containers", "docker")


def rows() -> Iterator[str]:
    """A sentence of it."""
    lines = list(crowded())
    greatest = max(len(section) for section in "\n".join(lines).split("@n section "))
    best = min(_seconds(lines) for _ in range(REPEAT))
    yield (
        f"a host with {COUNT} containers: {best * 1000:.0f} ms of CPU to parse its answer, whose greatest section has "
        f"{greatest / 1e6:.1f} of {SECTION_BYTES / 1e6:.0f} MB"
    )


def _seconds(lines: list[str]) -> float:
    shared.forget()
    start = time.thread_time()
    survey = Survey.parse(facts_of(SUBJECTS), lines)
    spent = time.thread_time() - start
    assert _containers(survey) >= COUNT
    return spent


def _containers(survey: Survey) -> int:
    return len(known(survey[Containers].containers))


def crowded() -> Iterator[str]:
    """The recorded host with the containers of many of its variants: of blocks that differ, it has all."""
    few = _containers(Survey.parse([Containers], host.answer().split("\n")))
    hosts = [read_frame(text.split("\n")) for text in host.texts(-(-COUNT // few))]
    yield "@hullproof n"
    for key in hosts[0]:
        sections = [each for one in hosts if isinstance(each := one[key], Section)]
        yield f"@n section {key}"
        for name, block in sections[0].blocks.items():
            texts = list(dict.fromkeys(each.blocks[name].text.rstrip("\n") for each in sections if name in each.blocks))
            text = "\n".join(texts) if key in CROWDED else block.text
            yield from (f"@n block {name}", *text.split("\n"), "", f"@n status {block.status}")
        yield from ("", f"@n end {key} 0", "")
