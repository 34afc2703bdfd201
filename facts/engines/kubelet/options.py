"""The kubelet's command line: as its process has it, and as systemd would make it at the next start."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable

UNITS = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")  # systemd.unit(5): the first that has a file counts
Word = tuple[str, str]  # and the file that it comes from
# The options that take the place of a key of KubeletConfiguration, and what kind of value that has.
KEYS: Mapping[str, tuple[str, type[Any]]] = {
    "anonymous-auth": ("authentication.anonymous.enabled", bool),
    "authorization-mode": ("authorization.mode", str),
    "client-ca-file": ("authentication.x509.clientCAFile", str),
    "read-only-port": ("readOnlyPort", int),
    "streaming-connection-idle-timeout": ("streamingConnectionIdleTimeout", str),
    "make-iptables-util-chains": ("makeIPTablesUtilChains", bool),
    "event-qps": ("eventRecordQPS", int),
    "tls-cert-file": ("tlsCertFile", str),
    "tls-private-key-file": ("tlsPrivateKeyFile", str),
    "tls-cipher-suites": ("tlsCipherSuites", list),
    "tls-min-version": ("tlsMinVersion", str),
    "rotate-certificates": ("rotateCertificates", bool),
    "rotate-server-certificates": ("serverTLSBootstrap", bool),
    "pod-max-pids": ("podPidsLimit", int),
    "seccomp-default": ("seccompDefault", bool),
    "protect-kernel-defaults": ("protectKernelDefaults", bool),
    "healthz-port": ("healthzPort", int),
    "healthz-bind-address": ("healthzBindAddress", str),
    "hostname-override": ("hostnameOverride", str),  # no key of a file: an option alone
}


@dataclass(frozen=True)
class Setting(Jsonable):
    """What a key is set to, and by which file; "" for the command line of the process."""

    value: Any
    file: str


def flags(words: Iterable[Word]) -> dict[str, Setting]:
    """By the key of KubeletConfiguration; of others (`--config`) by the option's name."""
    found: dict[str, Setting] = {}
    for name, text, file in _pairs(list(words)):
        if name == "feature-gates":
            gates = (pair.partition("=") for pair in text.split(","))
            found |= {f"featureGates.{gate.strip()}": Setting(_true(said), file) for gate, _, said in gates}
            continue
        key, kind = KEYS.get(name, (name, str))
        found[key] = Setting(_value(text, kind), file)
    return found


def _pairs(words: list[Word]) -> Iterator[tuple[str, str, str]]:
    """Options with their values; a switch alone is true. `_` in a name counts as `-`."""
    after = next((n for n, (word, _) in enumerate(words) if re.search(r"(^|/)kubelet$", word)), -1) + 1
    left = iter(zip(words[after:], [*words[after + 1 :], ("--", "")], strict=False))
    for (word, file), (following, _) in left:
        if not word.startswith("--"):
            continue
        name, equals, text = word[2:].partition("=")
        name = name.replace("_", "-")
        if not equals and KEYS.get(name, ("", str))[1] is not bool and not following.startswith("-"):
            text = following
        elif not equals:
            text = "true"
        yield name, text, file


def _value(text: str, kind: type[Any]) -> Any:
    if kind is bool:
        return _true(text)
    if kind is list:
        return [item.strip() for item in text.split(",") if item.strip()]
    number = whole_number(text) if kind is int else None
    return text if number is None else number


def _true(text: str) -> bool | str:
    """As Go reads it."""
    word = text.strip().lower()
    return True if word in ("1", "t", "true") else False if word in ("0", "f", "false") else text


# ------------------------------------------------------------------------------------------------ systemd's files


@dataclass
class _Unit:
    command: list[Word]
    environment: dict[str, Word]
    files: list[str]


def declared(unit: Block, environment: Block) -> list[Word]:
    """The words of the command that the next start runs, each with the file that it comes from."""
    made = _Unit([], {}, [])
    for path, lines in _in_order(_by_file(unit)):
        for name, text in _assignments(lines):
            _apply(made, path, name, text)
    of_files = _by_file(environment)
    for path in made.files:
        for name, text in _pieces(of_files.get(path, [])):
            made.environment[name] = (text, path)
    return [word for text, path in made.command for word in _expanded(text, path, made.environment)]


def listed(environment: Block, path: str) -> list[Word]:
    """The words of a file that has an option in each line, as MicroK8s keeps them."""
    return [(word, path) for line in _by_file(environment).get(path, []) for word in _split(line)]


def _by_file(block: Block) -> dict[str, list[str]]:
    """What grep(1) printed: lines that are no comments."""
    found: dict[str, list[str]] = {}
    for line in block.text.split("\n"):
        path, colon, text = line.partition(":")
        if colon and path.startswith("/"):
            found.setdefault(path, []).append(text)
    return found


def _in_order(files: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """The unit itself, then its drop-ins by name; of two files of one name the first one of UNITS counts."""
    chosen: dict[str, str] = {}
    for path in sorted(files, key=_place):
        folder, _, name = path.rpartition("/")
        chosen.setdefault(name if folder.endswith(".d") else "", path)
    yield from ((chosen[name], files[chosen[name]]) for name in sorted(chosen))


def _place(path: str) -> int:
    return next((n for n, start in enumerate(UNITS) if path.startswith(f"{start}/systemd/")), len(UNITS))


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines that end with a backslash go on in the next one."""
    whole: list[str] = []
    for line in lines:
        whole.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield " ".join(whole)
            whole = []
    yield " ".join(whole)


def _assignments(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    section = ""
    for line in map(str.strip, _joined(lines)):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line:
            name, _, text = line.partition("=")
            yield name.strip(), text.strip()


def _apply(unit: _Unit, path: str, name: str, text: str) -> None:
    if name == "ExecStart":
        unit.command = [(text, path)] if text else []
    elif name == "Environment":
        pairs = (word.partition("=") for word in _split(text))
        unit.environment = {**unit.environment, **{n: (v, path) for n, _, v in pairs}} if text else {}
    elif name == "EnvironmentFile":
        unit.files = [*unit.files, text.removeprefix("-").strip('"')] if text else []


def _pieces(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """NAME=VALUE, with or without quotes around the value."""
    for line in _joined(lines):
        name, equals, text = line.strip().partition("=")
        if equals:
            quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
            yield name.strip(), text[1:-1] if quoted else text


def _expanded(text: str, path: str, environment: Mapping[str, Word]) -> Iterator[Word]:
    """`$NAME` alone becomes as many words as it has, `${NAME}` a part of one: systemd.service(5)."""
    for word in _split(text):
        if whole := re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word):
            said, file = environment.get(whole[1], ("", path))
            yield from ((part, file) for part in _split(said))
            continue
        names = re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", word)
        for name in names:
            word = word.replace(f"${{{name}}}", environment.get(name, ("", ""))[0])
        yield word, next((environment[name][1] for name in names if name in environment), path)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quotation, which systemd takes as it stands
        return text.split()
