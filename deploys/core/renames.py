"""Names of the release before: policies may go on using them, and are told what they are called now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploys.core.change import Subject
from deploys.core.policy_tree import Place, Tree, name


@dataclass(frozen=True)
class Renames:
    """Old name to new one: of keys as `subject.key`, of controls by their ids."""

    keys: dict[str, str]
    controls: dict[str, str]
    engines: dict[str, str]  # of old keys that list an engine's containers: the engine
    splits: dict[str, list[str]]  # new key to those that wanted the same until now, along with what they still want
    parts: dict[str, str]  # of controls: old one to the one that judges now what was a part of it

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> Renames:
        """As the rows themselves say: a control's `formerly`, and that of a field of the rules."""
        keys = {old: f"{s.name}.{key}" for s in subjects for old, key in _keys(s)}
        controls = {old: c.id for subject in subjects for c in subject.controls for old in c.formerly}
        engines = {old: engine for subject in subjects for old, engine in _keys(subject, "engine")}
        splits = {f"{s.name}.{key}": olds for s in subjects for key, olds in _fields(s, "split_from")}
        parts = {old: c.id for subject in subjects for c in subject.controls for old in c.split_from}
        return cls(keys, controls, engines, splits, parts)

    def apply(self, tree: Tree) -> None:
        """Give the old names in a policy's file their new ones, with a note for each."""
        for old, new in self.keys.items():
            self._key(tree, old, new)
        waivers = tree.data.get("waivers")
        for number, waiver in enumerate(list(waivers) if isinstance(waivers, list) else []):
            control = waiver.get("control") if isinstance(waiver, dict) else None
            if not isinstance(control, str):
                continue
            place, _ = tree.place(("waivers", number, "control"))
            if control in self.parts:
                self._waive_part(tree, waiver, place)
            if control in self.controls:
                waiver["control"] = self.controls[control]
                covers = f"{_says(control, self.controls[control])}. It is about the containers of every engine now"
                tree.notes.append(f"{place}: {covers}")

    def _waive_part(self, tree: Tree, waiver: dict[str, Any], place: Place) -> None:
        waivers, control, part = tree.data["waivers"], waiver["control"], self.parts[waiver["control"]]
        if any(isinstance(each, dict) and each.get("control") == part for each in waivers):
            return
        tree.places["waivers", len(waivers)] = place
        waivers.append({**waiver, "control": part})
        tree.notes.append(f"{place}: a waiver of {control} is one of {part} too until the release after this one")

    def settle_split(self, tree: Tree, shipped: Collection[str]) -> None:
        """In a policy that is whole, have what is a key of its own by now as what it was a part of: it would go missing
        without a word, or be demanded by a policy that is `shipped` with hullproof where it was switched off."""
        for new, olds in self.splits.items():
            subject, key = new.split(".")
            section = tree.data.get(subject) or {}
            if not isinstance(section, dict):
                continue
            if key not in section:
                if old := next((old for old in olds if _value(tree, old) is True), None):
                    does = f"{old} no longer judges running containers: {new} does, which is [] here until the release"
                    _set(tree, new, [], old, f"{does} after this one")
            elif len(olds) == 1 and not _value(tree, olds[0], True) and tree.place((subject, key))[0].file in shipped:
                off = f"{olds[0]} is off, so {new}, a part of it, is not demanded until the release after this one"
                _set(tree, new, None, olds[0], f"{off}: give it to have it demanded")

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


def _value(tree: Tree, key: str, otherwise: Any = None) -> Any:
    subject, name = key.split(".")
    section = tree.data.get(subject)
    return section.get(name, otherwise) if isinstance(section, dict) else otherwise


def _set(tree: Tree, new: str, value: Any, old: str, note: str) -> None:
    """Give the new key a value at the place of the old one."""
    subject, key = new.split(".")
    place, _ = tree.place(tuple(old.split(".")))
    tree.data[subject] = (tree.data.get(subject) or {}) | {key: value}
    tree.places.setdefault((subject,), place)
    tree.places[subject, key] = place
    tree.notes.append(f"{place}: {note}")


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
