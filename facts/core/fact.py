"""A fact: one section of the survey, which can be asked alone too."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

from pyinfra.api.facts import FactBase
from typing_extensions import override

from facts.core.frame import read_frame, survey_script
from facts.core.reading import Section, Unknown, attempt
from facts.core.shape import shaped

T = TypeVar("T")


class SectionFact(FactBase[T | Unknown], Generic[T]):
    """A fact that is one section of the survey, and can be asked alone (`pyinfra HOST fact facts.kernel.Kernel`).

    A subclass gives `key` (its section's name), `script` (sh) and `parse` (pure).
    """

    key: ClassVar[str]
    script: ClassVar[str]
    timeout: ClassVar[int] = 25  # seconds on the host, after which this section alone is unknown

    @staticmethod
    def parse(section: Section) -> Any:
        """The section's readings. Pure; whatever it raises makes this fact, and no other, unknown. So does a value of a
        type that its annotation does not have, or it becomes unknown itself where the annotation has Unknown."""
        raise NotImplementedError

    @classmethod
    def reading(cls) -> Any:
        """The class of its reading: Words of SectionFact[Words]."""
        return next(get_args(base)[0] for base in cls.__dict__["__orig_bases__"] if get_origin(base) is SectionFact)

    @classmethod
    def read(cls, section: Section | Unknown) -> T | Unknown:

        if isinstance(section, Unknown):
            return section
        return attempt(cls.key, lambda: cast(T, shaped(cls.parse(section), cls.reading(), cls.key)))

    @override
    def command(self) -> str:

        return survey_script([type(self)])

    @override
    def process(self, output: list[str]) -> T | Unknown:

        return self.read(read_frame(output).get(self.key, Unknown(f"{self.key}: no answer")))
