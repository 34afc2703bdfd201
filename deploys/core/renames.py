"""Names of the release before: policies may go on using them, and are told what they are called now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploys.core.change import Subject
from deploys.core.policy_tree import Tree, name


@dataclass(frozen=True)
class Renames:
    """Old name to new one: of keys as `subject.key`, of controls by their ids."""

    keys: dict[str, str]
    controls: dict[str, str]

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> Renames:
        """As the rows themselves say: a control's `formerly`, and that of a field of the rules."""
        keys = {old: new for subject in subjects for old, new in _keys(subject)}
        controls = {c.formerly: c.id for subject in subjects for c in subject.controls if c.formerly}
        return cls(keys, controls)

    def apply(self, tree: Tree) -> None:
        """Give the old names in a policy's file their new ones, with a note for each."""
        for old, new in self.keys.items():
            self._key(tree, old, new)
        waivers = tree.data.get("waivers")
        for number, waiver in enumerate(waivers if isinstance(waivers, list) else []):
            control = waiver.get("control") if isinstance(waiver, dict) else None
            if isinstance(control, str) and control in self.controls:
                place, _ = tree.place(("waivers", number, "control"))
                waiver["control"] = self.controls[control]
                tree.notes.append(f"{place}: {_says(control, self.controls[control])}")

    def _key(self, tree: Tree, old: str, new: str) -> None:
        (subject, key), (other, becomes) = old.split("."), new.split(".")
        section = tree.data.get(subject)
        if not isinstance(section, dict) or key not in section:
            return
        place, _ = tree.place((subject, key))
        if tree.data.get(other) is None:
            tree.data[other] = {}
        target = tree.data[other]
        if not isinstance(target, dict) or becomes in target:
            tree.problems.append((place, f"{name((subject, key))}: is called {new} now, which this file gives too"))
        else:
            target[becomes] = section[key]
            moved = {at: (other, becomes, *at[2:]) for at in tree.places if at[:2] == (subject, key)}
            tree.places |= {at: tree.places[was] for was, at in moved.items()}
            tree.places.setdefault((other,), place)
            tree.notes.append(f"{place}: {_says(old, new)}")
        del section[key]


def _says(old: str, new: str) -> str:
    return f"{old} is called {new} now; the old name works until the release after this one"


def _keys(subject: Subject) -> Iterator[tuple[str, str]]:
    for key, field in subject.rules.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and isinstance(old := extra.get("formerly"), str):
            yield old, f"{subject.name}.{key}"
