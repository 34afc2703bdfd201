"""Names of the release before: policies may go on using them, and are told what they are called now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploys.core.change import Subject
from deploys.core.policy_tree import Tree, name


@dataclass(frozen=True)
class Renames:
    """Old name to new one: of keys as `subject.key`, of controls by their ids."""

    keys: dict[str, str]
    controls: dict[str, str]
    engines: dict[str, str]  # of old keys that list an engine's containers: the engine
    splits: dict[str, list[str]]  # new key to those that wanted the same until now, along with what they still want

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> Renames:
        """As the rows themselves say: a control's `formerly`, and that of a field of the rules."""
        keys = {old: f"{s.name}.{key}" for s in subjects for old, key in _keys(s)}
        controls = {old: c.id for subject in subjects for c in subject.controls for old in c.formerly}
        engines = {old: engine for subject in subjects for old, engine in _keys(subject, "engine")}
        splits = {f"{s.name}.{key}": olds for s in subjects for key, olds in _fields(s, "split_from")}
        return cls(keys, controls, engines, splits)

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
                covers = f"{_says(control, self.controls[control])}. It is about the containers of every engine now"
                tree.notes.append(f"{place}: {covers}")

    def declare_split(self, tree: Tree) -> None:
        """Declare, in a policy that is whole, what is a key of its own by now and would go missing without a word."""
        for new, olds in self.splits.items():
            subject, key = new.split(".")
            section = tree.data.get(subject) or {}
            old = next((old for old in olds if _declared(tree, *old.split("."))), None)
            if old is None or not isinstance(section, dict) or key in section:
                continue
            place, _ = tree.place(tuple(old.split(".")))
            tree.data[subject] = section | {key: []}
            tree.places.setdefault((subject,), place)
            tree.places[subject, key] = place
            what = (
                f"{old} no longer judges running containers: {new} does, which is [] here until the release after this"
            )
            tree.notes.append(f"{place}: {what} one")

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
            target[becomes] = _of(self.engines.get(old), section[key])
            moved = {at: (other, becomes, *at[2:]) for at in tree.places if at[:2] == (subject, key)}
            tree.places |= {at: tree.places[was] for was, at in moved.items()}
            tree.places.setdefault((other,), place)
            tree.notes.append(f"{place}: {_says(old, new)}")
        del section[key]


def _says(old: str, new: str) -> str:
    return f"{old} is called {new} now; the old name works until the release after this one"


def _of(engine: str | None, value: Any) -> Any:
    """A list of names of that engine's containers, which new keys write as `docker:web`; [] for what allowed none."""
    if engine is not None and value is True:
        return []
    if engine is None or not isinstance(value, list):
        return value
    return [f"{engine}:{item}" if isinstance(item, str) and ":" not in item else item for item in value]


def _declared(tree: Tree, subject: str, key: str) -> bool:
    section = tree.data.get(subject)
    return isinstance(section, dict) and section.get(key) is True


def _keys(subject: Subject, what: str = "") -> Iterator[tuple[str, str]]:
    """Each key that had another name: that name, and the key or what else (`what`) its field says of it."""
    others = dict(_fields(subject, what)) if what else {}
    for key, old in _fields(subject, "formerly"):
        if not what or key in others:
            yield old, others.get(key, key)


def _fields(subject: Subject, what: str) -> Iterator[tuple[str, Any]]:
    """Each key whose field says something of this: the key, and that."""
    for key, field in subject.rules.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and what in extra:
            yield key, extra[what]
