"""Policies: what loads, what `extends` makes of it, and the exact words for every kind of wrong."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from deploys.core.change import Subject
from deploys.core.control import Control, Severity, passed
from deploys.core.policy import Rules
from deploys.core.policy_file import POLICIES, PolicyError, load_policy
from deploys.subjects import SUBJECTS
from docs.generate.policy_schema import policy_schema


class LogRules(Rules):
    driver: Literal["journald", "json-file", "off"] | None = None
    options: dict[str, str] | None = None


class BoatRules(Rules):
    """A subject to test with."""

    icc: bool | None = Field(None, description="Whether containers on the default bridge may talk.")
    mode: str | None = None
    pids: Annotated[int, Field(ge=1, le=4096)] | Literal["max"] | None = None
    pools: tuple[IPv4Network, ...] | None = None
    log: LogRules | None = None


def _control(name: str) -> Control:
    return Control(name, "It holds", Severity.LOW, "Else it sinks.", lambda survey, policy: passed("fine"))


BOAT = Subject(
    "boat", BoatRules, (_control("boat.icc"), _control("boat.pids-limit")), lambda context: [], (),
    ("boat-remap", "boat-restart", "deck-swap"),
)  # fmt: skip


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)

    def write(**files: str | bytes) -> None:
        for name, text in files.items():
            raw = text.encode() if isinstance(text, str) else text
            (tmp_path / f"{name}.yml").write_bytes(raw)

    return write


def _refusal(name: str) -> str:
    with pytest.raises(PolicyError) as caught:
        load_policy(name, [BOAT])
    return str(caught.value)


WAIVER = "waivers:\n- control: boat.icc\n  reason: r\n  owner: o\n  until: 2026-12-31\n"

WRONG = {
    "typo in a key": ("boat:\n  iccc: true\n", 'p.yml:2: boat.iccc: no such key; did you mean "icc"?'),
    "no such key, nothing near": (
        "boat:\n  zzzz: 1\n",
        "p.yml:2: boat.zzzz: no such key; the keys here are: icc, log, mode, pids, pools",
    ),
    "typo in a nested key": (
        "boat:\n  log:\n    drivers: off\n",
        'p.yml:3: boat.log.drivers: no such key; did you mean "driver"?',
    ),
    "typo in a subject": ("boot:\n  icc: true\n", 'p.yml:1: boot: no such key; did you mean "boat"?'),
    "not a boolean": ("boat:\n  icc: maybe\n", 'p.yml:2: boat.icc: must be true or false, not "maybe"'),
    "text no for text": (
        "boat:\n  mode: no\n",
        'p.yml:2: boat.mode: must be text; YAML reads no as false: put it in quotes, "no"',
    ),
    "octal for text": (
        "boat:\n  mode: 0644\n",
        'p.yml:2: boat.mode: must be text; YAML reads 0644 as 420: put it in quotes, "0644"',
    ),
    "text off for a choice": (
        "boat:\n  log: {driver: off}\n",
        "p.yml:2: boat.log.driver: must be 'journald', 'json-file' or 'off'; YAML reads off as false: "
        'put it in quotes, "off"',
    ),
    "not a choice": (
        "boat:\n  log: {driver: syslog}\n",
        "p.yml:2: boat.log.driver: must be 'journald', 'json-file' or 'off', not \"syslog\"",
    ),
    "key on": (
        "boat:\n  log:\n    options:\n      on: x\n",
        'p.yml:4: boat.log.options.on: YAML reads it as true: put it in quotes, "on"',
    ),
    "key is a list": ("boat:\n  [a]: x\n", "p.yml:2: boat.?: a key must be text"),
    "union": ("boat:\n  pids: many\n", "p.yml:2: boat.pids: must be a whole number or be 'max', not \"many\""),
    "too small": (
        "boat:\n  pids: 0\n",
        "p.yml:2: boat.pids: must be greater than or equal to 1 or be 'max', not 0",
    ),
    "not a list": ("boat:\n  pools: 10.0.0.0/8\n", 'p.yml:2: boat.pools: must be a list, not "10.0.0.0/8"'),
    "list item": (
        "boat:\n  pools:\n  - 10.0.0.0/8\n  - 10.0.0.1/8\n",
        "p.yml:4: boat.pools[1]: 10.0.0.1/8 has host bits set",
    ),
    "list for a subject": ("boat: [icc]\n", "p.yml:1: boat: must be a mapping (key: value), not a list"),
    "empty section": ("boat:\n", "p.yml:1: boat: must be a mapping (key: value), not null"),
    "given twice": (
        "boat:\n  icc: true\n  mode: x\n  icc: false\n",
        "p.yml:4: boat.icc: given twice (first in line 2)",
    ),
    "many at once": (
        "boat:\n  pids: 0\n  icd: 1\nbaot: {}\n",
        "p.yml:2: boat.pids: must be greater than or equal to 1 or be 'max', not 0\n"
        'p.yml:3: boat.icd: no such key; did you mean "icc"?\n'
        'p.yml:4: baot: no such key; did you mean "boat"?',
    ),
    "syntax": (
        "boat:\n  icc: [true\n",
        "p.yml:3:1: expected ',' or ']', but got '<stream end>'",
    ),
    "tab": (
        "boat:\n\ticc: true\n",
        "p.yml:2:1: found character '\\t' that cannot start any token (indent with spaces, not with tabs)",
    ),
    "two documents": ("a: 1\n---\nb: 2\n", "p.yml:2:1: but found another document"),
    "unknown anchor": ("boat: *no\n", "p.yml:1:7: found undefined alias 'no'"),
    "terminal control": (
        'boat:\n  "\\e[2Jx\\u202e": 1\n  mode: ["\\x9b"]\n',
        "p.yml:2: boat.x: no such key; the keys here are: icc, log, mode, pids, pools\n"
        "p.yml:3: boat.mode: must be text, not a list",
    ),
    "empty": ("# nothing\n", "p.yml: the file is empty"),
    "a list": ("- boat\n", "p.yml:1: a policy is a mapping (key: value), not a list"),
    "a word": ("boat\n", 'p.yml:1: a policy is a mapping (key: value), not "boat"'),
    "binary": (b"\x7fELF\x02\x01\n\xff\xfe", "p.yml:2: not UTF-8 text"),
    "control character": ("boat:\n  mode: \x1b[2J\n", "p.yml:2: the character U+001B is not allowed"),
    "half a character": ('boat:\n  mode: "\\ud800"\n', "p.yml:2: '\\ud800' makes no sense"),
    "endless number": (f"boat:\n  pids: {'9' * 5000}\n", f"p.yml:2: '{'9' * 40}' makes no sense"),
    "infinity": ("boat:\n  pids: .inf\n", "p.yml:2: '.inf' makes no sense"),
    "python object": (
        "boat: !!python/object/apply:os.system [id]\n",
        "p.yml:1: the tag tag:yaml.org,2002:python/object/apply:os.system is not allowed in a policy",
    ),
    "too large": ("#" * 1_000_001, "p.yml: larger than 1,000,000 bytes, so hardly a policy"),
    "deep": ("boat: " + "[" * 30 + "]" * 30, "p.yml:1: nested deeper than 20 levels"),
    "very deep": ("boat: " + "[" * 30_000, "p.yml: nested too deeply"),
    "an alias within itself": ("boat: &a [*a]\n", "p.yml:1: nested deeper than 20 levels"),
    "alias bomb": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
        "p.yml:1: more than 10,000 values, aliases written out",
    ),
    "extends nothing there": ("extends: basline\n", 'p.yml:1: extends: no policy "basline"; did you mean "baseline"?'),
    "extends a list": ("extends: [a]\n", "p.yml:1: extends: must be the name or path of one policy, not a list"),
    "extends itself": ("extends: p.yml\n", "p.yml:1: extends: goes round in a circle: p.yml -> p.yml"),
    "waiver without an owner": (WAIVER.replace("  owner: o\n", ""), "p.yml:2: waivers[0].owner: is missing"),
    "waiver without a reason": (WAIVER.replace("  reason: r\n", ""), "p.yml:2: waivers[0].reason: is missing"),
    "waiver without a last day": (WAIVER.replace("  until: 2026-12-31\n", ""), "p.yml:2: waivers[0].until: is missing"),
    "waiver with a blank reason": (
        WAIVER.replace("reason: r", 'reason: "  "'),
        'p.yml:3: waivers[0].reason: must have at least 1 character, not "  "',
    ),
    "waiver until whenever": (
        WAIVER.replace("2026-12-31", "soon"),
        'p.yml:5: waivers[0].until: must be a date such as 2026-12-31, not "soon"',
    ),
    "waiver until a day there is not": (
        WAIVER.replace("2026-12-31", "2026-02-30"),
        'p.yml:5: waivers[0].until: must be a date such as 2026-12-31, not "2026-02-30"',
    ),
    "waiver until a number": (
        WAIVER.replace("2026-12-31", "20261231"),
        "p.yml:5: waivers[0].until: must be a date such as 2026-12-31, not 20261231",
    ),
    "waiver for an unknown control": (
        WAIVER.replace("boat.icc", "boat.pid-limit"),
        'p.yml:2: waivers[0].control: no control "boat.pid-limit"; did you mean "boat.pids-limit"?',
    ),
    "waivers not a list": (
        "waivers: boat.icc\n",
        'p.yml:1: waivers: must be a list, not "boat.icc"',
    ),
    "accept not text": (
        "accept: [yes]\n",
        'p.yml:1: accept[0]: must be text; YAML reads yes as true: put it in quotes, "yes"',
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong(write: Callable[..., None], text: str | bytes, message: str) -> None:
    write(p=text)
    assert _refusal("p.yml") == message


def test_wrong_paths(write: Callable[..., None], tmp_path: Path) -> None:
    write(site="boat: {}\n")
    (tmp_path / "d.yml").mkdir()
    (tmp_path / "gone.yml").symlink_to("nowhere")
    assert _refusal("basline") == 'no policy "basline"; did you mean "baseline"?'
    assert _refusal("qqq") == 'no policy "qqq"; the policies there: baseline, strict'
    assert _refusal("./sit.yml") == './sit.yml: no such file; did you mean "site.yml"?'
    assert _refusal("d.yml") == "d.yml: not a file"
    assert _refusal("gone.yml") == "gone.yml: cannot be read: No such file or directory"


def test_a_mistake_is_told_where_it_stands(write: Callable[..., None]) -> None:
    write(base="boat:\n  icc: 3\n  mode: x\n", top="extends: ./base.yml\nboat:\n  mood: y\n")
    assert _refusal("top.yml") == (
        'base.yml:2: boat.icc: must be true or false, not 3\ntop.yml:3: boat.mood: no such key; did you mean "mode"?'
    )


def test_what_was_replaced_takes_no_blame(write: Callable[..., None]) -> None:
    write(base=WAIVER, top="extends: base.yml\n\n" + WAIVER.replace("  owner: o\n", ""))
    assert _refusal("top.yml") == "top.yml:4: waivers[0].owner: is missing"


def test_a_path_is_relative_to_the_file_it_stands_in(write: Callable[..., None], tmp_path: Path) -> None:
    write(base="boat:\n  icc: true\n")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "one.yml").write_text("extends: ../base.yml\n")
    assert load_policy("sites/one.yml", [BOAT])[BoatRules].icc is True


def test_a_circle_of_three(write: Callable[..., None]) -> None:
    write(a="extends: b.yml\n", b="extends: c.yml\n", c="\nextends: a.yml\n")
    assert _refusal("a.yml") == "c.yml:2: extends: goes round in a circle: a.yml -> b.yml -> c.yml -> a.yml"


def test_extends_merges_mappings_and_replaces_the_rest(write: Callable[..., None]) -> None:
    write(
        base="boat:\n  icc: true\n  pools: [10.0.0.0/8]\n  log: {driver: journald, options: {a: x}}\n"
        "accept: [deck-swap]\n",
        top="extends: base.yml\nboat:\n  icc: null\n  pools: [172.16.0.0/12]\n  log: {options: {b: y}}\n",
    )
    policy = load_policy("./top.yml", [BOAT], ["boat-remap", " ", "boat-restart "])
    rules = policy[BoatRules]
    assert policy.name == "./top.yml"
    assert rules.icc is None
    assert rules.pools == (IPv4Network("172.16.0.0/12"),)
    assert rules.log == LogRules(driver="journald", options={"a": "x", "b": "y"})
    assert policy.accept == {"deck-swap", "boat-remap", "boat-restart"}


def test_a_name_to_accept_that_no_plan_gives_is_refused(write: Callable[..., None]) -> None:
    write(p="accept:\n  - deck-swap\n  - boat-restrat\n", q="accept: []\n")
    assert _refusal("p.yml") == (
        'p.yml:3: accept[1]: nothing to accept is called "boat-restrat"; did you mean "boat-restart"?'
    )
    with pytest.raises(PolicyError) as caught:
        load_policy("q.yml", [BOAT], ["zzz"])
    assert str(caught.value) == (
        '--data accept: nothing to accept is called "zzz"; there are: boat-remap, boat-restart, deck-swap, retry'
    )


def test_a_waiver_past_its_day_loads(write: Callable[..., None]) -> None:
    write(p=WAIVER.replace("2026-12-31", "2020-02-29"))
    (waiver,) = load_policy("p.yml", [BOAT]).waivers_for("boat.icc")
    assert waiver is not None
    assert waiver.until == datetime.date(2020, 2, 29)
    assert waiver.expired


def test_what_a_waiver_is_for_is_named_where_the_control_lists_something(tmp_path: Path) -> None:
    file = tmp_path / "p.yml"
    row = "waivers:\n  - control: {control}\n    reason: r\n    owner: o\n    until: 2099-01-01\n    only: {only}\n"
    file.write_text(row.format(control="containers.privileged", only="[backup]"))
    assert load_policy(str(file), SUBJECTS).waivers[0].only == ["backup"]
    for control, only, wrong in (
        (
            "docker.live-restore",
            "[backup]",
            "waivers[0].only: docker.live-restore lists nothing by name, so ",
        ),
        ("containers.privileged", "[]", "waivers[0].only: "),
    ):
        file.write_text(row.format(control=control, only=only))
        with pytest.raises(PolicyError) as caught:
            load_policy(str(file), SUBJECTS)
        assert f"p.yml:6: {wrong}" in str(caught.value)


def test_an_alias_in_measure_is_fine(write: Callable[..., None]) -> None:
    write(p="boat:\n  log: {driver: &d journald}\n  mode: *d\n")
    assert load_policy("p.yml", [BOAT])[BoatRules].mode == "journald"


def test_a_subject_that_is_not_named_declares_nothing(write: Callable[..., None]) -> None:
    write(p="accept: []\n")
    assert load_policy("p.yml", [BOAT])[BoatRules] == BoatRules()


def test_the_command_line_shows_the_problems_below_each_other() -> None:
    assert PolicyError(["a:1: x", "b:2: y"]).message == "the policy was refused\na:1: x\nb:2: y"


@pytest.mark.parametrize("policy", sorted(POLICIES.glob("*.yml")), ids=lambda path: path.stem)
def test_our_policies(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names are found from anywhere
    assert load_policy(policy.stem, SUBJECTS).name == policy.stem
    assert policy.read_text().startswith("# yaml-language-server: $schema=policy.schema.json\n")


def test_the_schema_names_subjects_and_controls() -> None:
    schema = policy_schema([BOAT])
    assert '"boat.pids-limit"' in schema
    assert "Whether containers on the default bridge may talk." in schema
